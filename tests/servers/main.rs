//! Tests against real XMPP servers: Debian's Prosody and ejabberd, started on loopback with data
//! directories of their own. A test whose server is not installed is left out and named; with
//! `UNIFIED_PUSH_TEST_REQUIRE` set, as `test.sh` does, it fails instead.

#![expect(clippy::unwrap_used, reason = "a failed test says what failed")]

mod abuse;
mod backup;
mod bed;
mod caps;
#[path = "../common/mod.rs"]
mod common;
mod component;
mod daemon;
mod ejabberd;
mod fixtures;
mod lifecycle;
mod line;
mod link;
mod login;
mod phone;
mod prosody;
mod pushes;
mod queue;
mod quiet;
mod reader;
mod registrations;
mod resources;
mod secrecy;
mod server;
mod service;
mod xml;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    pin::Pin,
    process::ExitCode,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use crate::{
    bed::{Bed, Servers},
    common::{http, process},
    server::Kind,
};

/// The tests mostly wait, so more of them run at once than there are cores.
const THREADS: usize = 6;

/// No test takes longer.
const LIMIT: Duration = Duration::from_secs(120);

type Run = fn(Rc<Bed>) -> Pin<Box<dyn Future<Output = ()>>>;

pub struct Test {
    name: &'static str,
    run: Run,
    /// What it needs beside the server.
    program: Option<&'static str>,
}

/// A list of [`Test`]s out of async functions that take an `Rc<Bed>`.
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        vec![$($crate::Test::new(stringify!($name), |bed| Box::pin($name(bed)))),*]
    };
}
pub(crate) use tests;

impl Test {
    fn new(name: &'static str, run: Run) -> Self {
        Self {
            name,
            run,
            program: None,
        }
    }

    /// The name of a program that is not there.
    fn missing(&self, kind: Kind) -> Option<String> {
        let program = self.program.filter(|path| !Path::new(path).exists());
        let program = program.and_then(|path| path.rsplit('/').next());
        let server = (!kind.installed()).then(|| kind.to_string());
        server.or(program.map(str::to_owned))
    }

    fn trial(self, kind: Kind, servers: Arc<Servers>) -> Trial {
        let name = format!("{kind}::{}", self.name);
        Trial::ignorable_test(name, move || match (self.missing(kind), required()) {
            (None, _) => perform(kind, self.run, servers).map(|()| Completion::Completed),
            (Some(it), false) => Ok(Completion::ignored_with(format!("needs {it}"))),
            (Some(it), true) => Err(format!("{it} is not installed: run ./test.sh").into()),
        })
    }
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    let servers = Arc::new(Servers::default());
    let mut trials = Vec::new();
    let mut missing = Vec::new();
    for kind in Kind::ALL {
        for test in tests_on(kind) {
            missing.extend(test.missing(kind));
            trials.push(test.trial(kind, servers.clone()));
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    if !missing.is_empty() && !required() && !arguments.list {
        let count = missing.len();
        missing.sort();
        missing.dedup();
        let programs = missing.join(", ");
        println!("left out: {count} tests that need {programs}; run ./test.sh\n");
    }
    conclusion.exit_code()
}

fn tests_on(kind: Kind) -> Vec<Test> {
    let mut tests = [
        fixtures::on_both(),
        pushes::on_both(),
        queue::on_both(),
        caps::on_both(),
        quiet::on_both(),
        resources::on_both(),
        registrations::on_both(),
        link::on_both(),
        abuse::on_both(),
        service::on_both(),
        lifecycle::on_both(),
        secrecy::on_both(),
    ];
    let mut of_prosody = [
        backup::on_prosody(),
        fixtures::on_prosody(),
        registrations::on_prosody(),
        secrecy::on_prosody(),
    ];
    if kind == Kind::Ejabberd {
        of_prosody = Default::default();
    }
    tests
        .iter_mut()
        .chain(&mut of_prosody)
        .flat_map(std::mem::take)
        .collect()
}

/// Set by the test command: nothing may be left out.
fn required() -> bool {
    std::env::var_os("UNIFIED_PUSH_TEST_REQUIRE").is_some_and(|value| value == "1")
}

fn perform(kind: Kind, run: Run, servers: Arc<Servers>) -> Result<(), Failed> {
    let mut bed = Rc::new(Bed::new(kind, servers));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let test = run(bed.clone());
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async { tokio::time::timeout(LIMIT, test).await })
    }));
    // Whatever the test left running holds the bed no longer.
    drop(runtime);
    let mut report = || Rc::get_mut(&mut bed).map_or_else(String::new, Bed::report);
    match outcome {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(format!("not done within {LIMIT:?}\n{}", report()).into()),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| s.to_string()));
            Err(format!("{}\n{}", text.unwrap_or_default(), report()).into())
        }
    }
}
