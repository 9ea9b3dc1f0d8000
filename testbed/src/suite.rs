//! Tests that need programs: which there are, how one runs, and the one rule of what is left out.
//!
//! A test whose program is not installed is left out and named; with `UNIFIED_PUSH_TEST_REQUIRE=1`,
//! as `test.sh` has it, it fails instead.

use std::{
    collections::BTreeMap,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    pin::Pin,
    process::ExitCode,
    time::Duration,
};

pub use libtest_mimic::{Arguments, Failed};
use libtest_mimic::{Completion, Trial};

/// No test takes longer.
const LIMIT: Duration = Duration::from_secs(120);

/// Tests that mostly wait: more of them run at once than there are cores.
pub const MANY: usize = 6;

/// A program that a test needs and that is not there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Missing {
    what: String,
    remedy: &'static str,
    required: bool,
}

impl Missing {
    /// One that `test.sh` installs.
    pub fn package(name: &str) -> Self {
        let required = std::env::var_os("UNIFIED_PUSH_TEST_REQUIRE");
        Self {
            what: name.to_owned(),
            remedy: "./test.sh",
            required: required.is_some_and(|value| value == "1"),
        }
    }

    /// The first of these programs that is not there.
    pub fn of(paths: &[&str]) -> Option<Self> {
        let missing = paths.iter().find(|path| !Path::new(path).exists())?;
        Some(Self::package(missing.rsplit('/').next().unwrap()))
    }

    /// Another way to get it than `test.sh`, and whether it has to be there.
    pub fn instead(self, remedy: &'static str, required: bool) -> Self {
        Self {
            remedy,
            required,
            ..self
        }
    }

    /// Leaves the running test out, or fails it.
    pub fn leave_out(&self) {
        assert!(!self.required, "{self}");
        println!("left out: {self}");
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not installed: run {}", self.what, self.remedy)
    }
}

/// An async function that is a test, and gets `A`.
pub struct Test<A> {
    pub name: &'static str,
    /// The programs that it calls by itself.
    pub needs: &'static [&'static str],
    pub run: fn(A) -> Pin<Box<dyn Future<Output = ()>>>,
}

impl<A> Clone for Test<A> {
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

/// A list of [`Test`]s out of async functions that take an `A`, or, after an `&`, a reference to it.
#[macro_export]
macro_rules! tests {
    (& $($name:ident),* $(,)?) => {
        vec![$($crate::suite::Test {
            name: stringify!($name),
            needs: &[],
            run: |given| Box::pin(async move { $name(&given).await }),
        }),*]
    };
    ($($name:ident),* $(,)?) => {
        vec![$($crate::suite::Test {
            name: stringify!($name),
            needs: &[],
            run: |given| Box::pin($name(given)),
        }),*]
    };
}

/// What a test does.
pub type Run = Box<dyn FnOnce() -> Result<(), Failed> + Send>;

/// The tests of one program, in place of the standard library's.
pub struct Suite {
    arguments: Arguments,
    trials: Vec<Trial>,
    left_out: BTreeMap<Missing, usize>,
}

impl Suite {
    pub fn new(arguments: Arguments) -> Self {
        Self {
            arguments,
            trials: Vec::new(),
            left_out: BTreeMap::new(),
        }
    }

    /// With so many at once, unless the command line says otherwise.
    pub fn from_args(threads: Option<usize>) -> Self {
        let mut arguments = Arguments::from_args();
        arguments.test_threads = arguments.test_threads.or(threads);
        Self::new(arguments)
    }

    pub fn add(&mut self, name: String, missing: Option<Missing>, run: Run) {
        self.push(name, missing, run, false);
    }

    /// A test that takes minutes, and runs only when it is asked for (`--ignored`).
    pub fn add_long(&mut self, name: String, missing: Option<Missing>, run: Run) {
        self.push(name, missing, run, true);
    }

    fn push(&mut self, name: String, missing: Option<Missing>, run: Run, long: bool) {
        if let Some(missing) = &missing
            && !missing.required
        {
            *self.left_out.entry(missing.clone()).or_default() += 1;
        }
        let trial = Trial::ignorable_test(name, move || match missing {
            None => run().map(|()| Completion::Completed),
            Some(it) if it.required => Err(it.into()),
            Some(it) => Ok(Completion::ignored_with(it.to_string())),
        });
        self.trials.push(trial.with_ignored_flag(long));
    }

    pub fn run(self) -> ExitCode {
        let conclusion = libtest_mimic::run(&self.arguments, self.trials);
        if !self.arguments.list {
            for (missing, count) in self.left_out {
                println!("left out: {count} tests, since {missing}\n");
            }
        }
        conclusion.exit_code()
    }
}

/// Runs a test in one thread. `report` is what to tell of one that failed.
pub fn perform(
    test: impl Future<Output = ()>,
    report: impl FnOnce() -> String,
) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async { tokio::time::timeout(LIMIT, test).await })
    }));
    // What the test left running ends before its report.
    drop(runtime);
    let why = match outcome {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(_)) => format!("not done within {LIMIT:?}"),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| s.to_string()));
            text.unwrap_or_default()
        }
    };
    Err(format!("{why}\n{}", report()).into())
}
