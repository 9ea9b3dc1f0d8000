//! The crash harness: messages are sent to phones that come and go, while the daemon is killed,
//! reloaded and upgraded, its server restarts, its link is cut, its disk fails, its clock jumps, the
//! proxy before it alters paths and its PostgreSQL meets what operators know, at moments that depend on
//! a seed. Whatever was accepted must arrive, soon after the last fault and in the order of its topic,
//! and no sender may be told that an endpoint is gone: every one that a phone was given takes a push
//! in the end.
//!
//! `cargo test --test faults` runs a short form on every server. The long one is
//! `cargo test --test faults -- --faults 1000 --on prosody --seed 7`.

#![expect(clippy::unwrap_used, reason = "a failed test says what failed")]

mod daemon;
mod database;
mod device;
mod disk;
mod durability;
mod faults;
mod front;
mod growth;
mod host;
mod inject;
mod ledger;
mod measures;
mod proxy;
mod report;
mod run;
mod sender;
mod upkeep;
mod world;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;
use testbed::{
    PgBouncer, Postgres,
    suite::{self, Arguments, Suite, Test},
};

use crate::{
    host::On,
    world::{Setup, Store},
};

/// The short form, on each server. What operators put beside PostgreSQL, and do to it, needs the long one.
pub const SHORT: usize = 30;
const SEED: u64 = 1;
/// More faults than there can be in a second.
const AT_MOST_PER_SECOND: usize = 4;

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
    /// One run that ends after so many seconds, whichever faults are still to come.
    #[arg(long, conflicts_with = "faults")]
    seconds: Option<u64>,
    /// Leaves out the faults that end a daemon's process: it lives through the run, and must not grow.
    #[arg(long)]
    lasting: bool,
    /// Of each message that arrived twice, what happened to it.
    #[arg(long)]
    tell: bool,
    /// The program of an earlier version, which the run's daemons begin with.
    #[arg(long)]
    old_program: Option<PathBuf>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let seconds = options.seconds;
    let setup = Setup {
        on: options.on.unwrap_or(On::Loopback),
        store: options.store.unwrap_or(Store::Sqlite),
        replicas: options.replicas.unwrap_or(1),
        faults: options.faults.unwrap_or(match seconds {
            Some(seconds) => seconds as usize * AT_MOST_PER_SECOND,
            None => SHORT,
        }),
        limit: seconds.map(Duration::from_secs),
        lasting: options.lasting,
        seed: options.seed.unwrap_or(SEED),
        tell: options.tell,
        old: options
            .old_program
            .map(|path| &*Box::leak(path.into_boxed_path())),
    };
    if setup.replicas > 1 && setup.store == Store::Sqlite {
        println!("several daemons share a store: --store postgres");
        return ExitCode::FAILURE;
    }
    let one = options.faults.is_some() || options.on.is_some() || options.seed.is_some();
    let one = one || seconds.is_some() || setup.lasting || setup.old.is_some();
    if one || options.store.is_some() || options.replicas.is_some() {
        return match run::run(setup, true) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                println!("{failure}");
                ExitCode::FAILURE
            }
        };
    }
    let mut suite = Suite::new(options.arguments);
    for Test { name, run, .. } in durability::tests() {
        let name = format!("durability::{name}");
        let test = async move || run(durability::Bed::new().await).await;
        let run = move || suite::perform(test(), String::new);
        suite.add(name, disk::missing(), Box::new(run));
    }
    for (name, check) in growth::CHECKS {
        let run = move || {
            check();
            Ok(())
        };
        suite.add(format!("growth::{name}"), None, Box::new(run));
    }
    for on in On::ALL {
        add(&mut suite, Setup { on, ..setup });
        let shared = Setup {
            on,
            store: Store::Postgres,
            replicas: 2,
            ..setup
        };
        add(&mut suite, shared);
    }
    suite.run()
}

fn add(suite: &mut Suite, setup: Setup) {
    let name = format!("{}::{:?}", setup.on, setup.store).to_lowercase();
    let database = match setup.store {
        Store::Sqlite => None,
        Store::Postgres => Postgres::missing().or(PgBouncer::missing()),
    };
    let missing = setup.on.missing().or(database).or(disk::missing());
    suite.add(name, missing, Box::new(move || Ok(run::run(setup, false)?)));
}

fn on(name: &str) -> Result<On, String> {
    let known = On::ALL.into_iter().find(|on| on.to_string() == name);
    known.ok_or_else(|| "expected: loopback, prosody or ejabberd".to_owned())
}
