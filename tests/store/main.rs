//! What a store promises, tried on each engine through its public face alone.
//!
//! What takes minutes runs only when asked for: `cargo test --release --test store -- --ignored`.

#![expect(clippy::unwrap_used, reason = "a failed test says what failed")]

mod caps;
mod large;
mod messages;
mod model;
mod queue;
mod random;

use std::{pin::Pin, process::ExitCode};

use libtest_mimic::{Arguments, Trial};
use tokio::runtime::Runtime;
use unified_push::store::Store;

type Run = for<'a> fn(&'a Store) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Gets a store of its own with nothing in it.
#[derive(Clone, Copy)]
pub struct Test {
    name: &'static str,
    run: Run,
    /// It takes minutes.
    long: bool,
}

/// A list of [`Test`]s out of async functions that take a `&Store`.
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        vec![$($crate::Test::new(stringify!($name), |store| Box::pin($name(store)))),*]
    };
}
pub(crate) use tests;

impl Test {
    const fn new(name: &'static str, run: Run) -> Self {
        Self {
            name,
            run,
            long: false,
        }
    }

    fn on_sqlite(self) -> Trial {
        let trial = Trial::test(format!("sqlite::{}", self.name), move || {
            let dir = tempfile::tempdir()?;
            let store = Store::open(dir.path())?;
            // Of several threads: a test may block one of them.
            Runtime::new()?.block_on((self.run)(&store));
            Ok(())
        });
        trial.with_ignored_flag(self.long)
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let tests = [
        queue::tests(),
        caps::tests(),
        random::tests(),
        large::tests(),
    ]
    .into_iter()
    .flatten();
    let trials = tests.map(Test::on_sqlite).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}
