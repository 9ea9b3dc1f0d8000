//! What a store promises, tried on each engine through its public face alone.
//!
//! What takes minutes runs only when asked for: `cargo test --release --test store -- --ignored`.

#![expect(clippy::unwrap_used, reason = "a failed test says what failed")]

mod caps;
mod databases;
mod large;
mod messages;
mod model;
mod outages;
mod plans;
#[path = "../common/postgres.rs"]
mod postgres;
#[expect(dead_code, reason = "these tests look into no log")]
#[path = "../common/process.rs"]
mod process;
mod queue;
mod random;
mod registrations;
mod replicas;

use std::{pin::Pin, process::ExitCode, sync::Arc};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use tokio::{runtime::Runtime, sync::OnceCell};
use unified_push::store::Store;

use crate::postgres::Postgres;

type Run = for<'a> fn(&'a Store) -> Pin<Box<dyn Future<Output = ()> + 'a>>;
type RunOn = for<'a> fn(&'a Postgres) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

/// The server that most tests share, each with a database of its own.
type Shared = Arc<OnceCell<Postgres>>;

/// Gets a store of its own with nothing in it.
#[derive(Clone, Copy)]
pub struct Test {
    name: &'static str,
    run: Run,
    /// It takes minutes.
    long: bool,
}

/// Of PostgreSQL alone.
pub struct PostgresTest {
    name: &'static str,
    run: RunOn,
    /// It needs a server that it may stop.
    own: bool,
}

/// A list of [`Test`]s out of async functions that take a `&Store`.
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        vec![$($crate::Test::new(stringify!($name), |store| Box::pin($name(store)))),*]
    };
}
pub(crate) use tests;

/// The same of [`PostgresTest`]s, out of async functions that take a `&Postgres`.
macro_rules! postgres_tests {
    ($own:literal: $($name:ident),* $(,)?) => {
        vec![$($crate::PostgresTest {
            name: stringify!($name),
            run: |postgres| Box::pin($name(postgres)),
            own: $own,
        }),*]
    };
}
pub(crate) use postgres_tests;

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

    fn on_postgres(self, shared: Shared) -> Trial {
        let trial = on_postgres(self.name, async move || {
            let postgres = shared.get_or_init(Postgres::start).await;
            (self.run)(&connected(postgres).await).await;
        });
        trial.with_ignored_flag(self.long)
    }
}

impl PostgresTest {
    fn trial(self, shared: Shared) -> Trial {
        on_postgres(self.name, async move || match self.own {
            true => (self.run)(&Postgres::start().await).await,
            false => (self.run)(shared.get_or_init(Postgres::start).await).await,
        })
    }
}

/// A store with nothing in it.
pub async fn connected(postgres: &Postgres) -> Store {
    let url = postgres.database().await.parse().unwrap();
    Store::connect(&url).await.unwrap()
}

fn on_postgres(name: &str, run: impl AsyncFnOnce() + Send + 'static) -> Trial {
    let run = move || -> Result<Completion, Failed> {
        match (Postgres::installed(), required()) {
            (true, _) => Runtime::new()?.block_on(run()),
            (false, false) => return Ok(Completion::ignored_with("needs postgresql")),
            (false, true) => return Err("postgresql is not installed: run ./test.sh".into()),
        }
        Ok(Completion::Completed)
    };
    Trial::ignorable_test(format!("postgres::{name}"), run)
}

/// Set by the test command: nothing may be left out.
fn required() -> bool {
    std::env::var_os("UNIFIED_PUSH_TEST_REQUIRE").is_some_and(|value| value == "1")
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let shared = Shared::default();
    let mut trials = Vec::new();
    let on_both = [
        queue::tests(),
        caps::tests(),
        registrations::tests(),
        random::tests(),
        large::tests(),
    ];
    for test in on_both.into_iter().flatten() {
        trials.push(test.on_sqlite());
        trials.push(test.on_postgres(shared.clone()));
    }
    let on_postgres = [
        databases::tests(),
        plans::tests(),
        replicas::tests(),
        outages::tests(),
    ];
    for test in on_postgres.into_iter().flatten() {
        trials.push(test.trial(shared.clone()));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}
