//! Tests of `contrib/proxies` with the real programs: each sample file is accepted, and pushes pass
//! through it over TLS to the daemon. A test whose program is not installed is left out and named;
//! with `UNIFIED_PUSH_TEST_REQUIRE` set, as `test.sh` does, it fails instead. Traefik, which Debian does
//! not have, is built and tested by `tests/traefik.sh`.

#![expect(clippy::unwrap_used, reason = "a failed test says what failed")]

#[expect(dead_code, reason = "tests/commands does more with it")]
#[path = "../commands/bed.rs"]
mod bed;
#[expect(dead_code, reason = "tests/commands does more with it")]
#[path = "../common/mod.rs"]
mod common;
mod front;
mod names;
mod outages;
mod program;
mod pushes;
mod restarts;
mod upstreams;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    process::ExitCode,
    time::Duration,
};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use crate::{
    common::{http, process},
    program::Program,
};

/// The tests mostly wait, so more of them run at once than there are cores.
const THREADS: usize = 6;

/// No test takes longer.
const LIMIT: Duration = Duration::from_secs(120);

type Run = fn(Program) -> Pin<Box<dyn Future<Output = ()>>>;

pub struct Test {
    name: &'static str,
    run: Run,
}

/// A list of [`Test`]s out of async functions that take a [`Program`].
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        vec![$(crate::Test {
            name: stringify!($name),
            run: |program| Box::pin($name(program)),
        }),*]
    };
}
pub(crate) use tests;

impl Test {
    fn trial(self, program: Program) -> Trial {
        let name = format!("{program}::{}", self.name);
        Trial::ignorable_test(name, move || match (program.missing(), program.remedy()) {
            (None, _) => perform(program, self.run).map(|()| Completion::Completed),
            (Some(it), (_, false)) => Ok(Completion::ignored_with(format!("needs {it}"))),
            (Some(it), (how, true)) => Err(format!("{it} is not installed: run {how}").into()),
        })
    }
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    let mut trials = Vec::new();
    let mut left_out = Vec::new();
    for program in Program::ALL {
        let tests = tests_of(program);
        if let (Some(it), (how, false)) = (program.missing(), program.remedy()) {
            let count = tests.len();
            left_out.push(format!("left out: {count} tests that need {it}; run {how}"));
        }
        trials.extend(tests.into_iter().map(|test| test.trial(program)));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    if !arguments.list {
        for line in left_out {
            println!("{line}\n");
        }
    }
    conclusion.exit_code()
}

fn tests_of(program: Program) -> Vec<Test> {
    let mut tests = pushes::all();
    tests.extend(outages::all());
    tests.extend(restarts::all());
    tests.extend(names::of(program));
    tests.extend(upstreams::of(program));
    tests
}

fn perform(program: Program, run: Run) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async { tokio::time::timeout(LIMIT, run(program)).await })
    }));
    match outcome {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(format!("not done within {LIMIT:?}").into()),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| s.to_string()));
            Err(text.unwrap_or_default().into())
        }
    }
}
