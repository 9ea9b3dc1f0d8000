//! The crash harness: messages are sent to phones that come and go, while the daemon is killed, its
//! server restarts, its link is cut and its disk fails, at moments that depend on a seed. Whatever
//! was accepted must arrive.
//!
//! `cargo test --test faults` runs a short form on every server. The long one is
//! `cargo test --test faults -- --faults 1000 --on prosody --seed 7`.

#![expect(clippy::unwrap_used, reason = "a failed test says what failed")]

#[expect(dead_code, reason = "the other tests use the rest")]
#[path = "../common/mod.rs"]
mod common;
mod daemon;
mod device;
mod disk;
mod durability;
#[path = "../servers/ejabberd.rs"]
mod ejabberd;
mod faults;
mod host;
mod inject;
mod ledger;
#[path = "../servers/login.rs"]
mod login;
mod loopback;
#[expect(dead_code, reason = "the other tests use the rest")]
#[path = "../servers/phone.rs"]
mod phone;
#[expect(dead_code, reason = "the other tests use the rest")]
#[path = "../common/postgres.rs"]
mod postgres;
#[path = "../servers/prosody.rs"]
mod prosody;
mod proxy;
mod random;
#[path = "../servers/reader.rs"]
mod reader;
mod report;
mod run;
mod sender;
#[expect(dead_code, reason = "the other tests use the rest")]
#[path = "../servers/server.rs"]
mod server;
mod world;
#[expect(dead_code, reason = "the other tests use the rest")]
#[path = "../servers/xml.rs"]
mod xml;

use std::process::ExitCode;

use clap::Parser;
use libtest_mimic::{Arguments, Completion, Failed, Trial};

use crate::{
    common::{http, process},
    host::On,
    postgres::Postgres,
    world::{Setup, Store},
};

/// The short form, on each server.
const SHORT: usize = 30;
const SEED: u64 = 1;

#[derive(Parser)]
struct Options {
    #[command(flatten)]
    arguments: Arguments,
    /// One run with so many faults, instead of the short form.
    #[arg(long)]
    faults: Option<usize>,
    #[arg(long, value_parser = on)]
    on: Option<On>,
    #[arg(long)]
    store: Option<Store>,
    #[arg(long)]
    replicas: Option<usize>,
    #[arg(long)]
    seed: Option<u64>,
    /// Of each message that arrived twice, what happened to it.
    #[arg(long)]
    tell: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let setup = Setup {
        on: options.on.unwrap_or(On::Loopback),
        store: options.store.unwrap_or(Store::Sqlite),
        replicas: options.replicas.unwrap_or(1),
        faults: options.faults.unwrap_or(SHORT),
        seed: options.seed.unwrap_or(SEED),
        tell: options.tell,
    };
    if setup.replicas > 1 && setup.store == Store::Sqlite {
        println!("several daemons share a store: --store postgres");
        return ExitCode::FAILURE;
    }
    let one = options.faults.is_some() || options.on.is_some() || options.seed.is_some();
    if one || options.store.is_some() || options.replicas.is_some() {
        return match run::run(setup, true) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                println!("{failure}");
                ExitCode::FAILURE
            }
        };
    }
    let mut trials = durability::trials();
    for on in On::ALL {
        trials.push(trial(Setup { on, ..setup }));
        trials.push(trial(Setup {
            on,
            store: Store::Postgres,
            replicas: 2,
            ..setup
        }));
    }
    libtest_mimic::run(&options.arguments, trials).exit_code()
}

fn trial(setup: Setup) -> Trial {
    let name = format!("{}::{:?}", setup.on, setup.store).to_lowercase();
    let server = (!setup.on.installed()).then(|| setup.on.to_string());
    let database = setup.store == Store::Postgres && !Postgres::installed();
    let missing = server.or(database.then(|| "postgresql".to_owned()));
    unless_missing(name, missing.or(disk::missing()), move || {
        Ok(run::run(setup, false)?)
    })
}

/// A test that is left out, or fails, for want of something that is not installed.
fn unless_missing(
    name: String,
    missing: Option<String>,
    test: impl FnOnce() -> Result<(), Failed> + Send + 'static,
) -> Trial {
    Trial::ignorable_test(name, move || match (missing, required()) {
        (None, _) => test().map(|()| Completion::Completed),
        (Some(it), false) => Ok(Completion::ignored_with(format!("needs {it}"))),
        (Some(it), true) => Err(format!("{it} is not installed: run ./test.sh").into()),
    })
}

/// Set by the test command: nothing may be left out.
fn required() -> bool {
    std::env::var_os("UNIFIED_PUSH_TEST_REQUIRE").is_some_and(|value| value == "1")
}

fn on(name: &str) -> Result<On, String> {
    let known = On::ALL.into_iter().find(|on| on.to_string() == name);
    known.ok_or_else(|| "expected: loopback, prosody or ejabberd".to_owned())
}
