//! What a store promises, tried on each engine through its public face alone.
//!
//! What takes minutes runs only when asked for: `cargo test --release --test store -- --ignored`.

#![expect(clippy::unwrap_used, reason = "a failed test says what failed")]

mod caps;
mod claims;
mod clocks;
mod databases;
mod dead_rows;
mod large;
mod messages;
mod model;
mod operations;
mod outages;
mod plans;
mod poolers;
mod queue;
mod random;
mod registrations;
mod remembered;
mod replicas;
mod revocations;
mod round_trips;
mod strategy;
mod topics;

use std::{process::ExitCode, sync::Arc};

use testbed::{
    Missing, PgBouncer, Postgres,
    suite::{self, Run, Suite},
};
use tokio::{runtime::Runtime, sync::OnceCell};
use unified_push::store::{PostgresSettings, Store};

/// Gets a store of its own with nothing in it.
type Test = suite::Test<Store>;

/// Of PostgreSQL alone.
type PostgresTest = suite::Test<Arc<Postgres>>;

/// The server that most tests share, each with a database of its own.
type Shared = Arc<OnceCell<Arc<Postgres>>>;

/// A store with nothing in it.
pub async fn connected(postgres: &Postgres) -> Store {
    let url = postgres.database().await.parse().unwrap();
    Store::connect(&url, PostgresSettings::default())
        .await
        .unwrap()
}

async fn started() -> Arc<Postgres> {
    Arc::new(Postgres::start().await)
}

/// In several threads: a test may block one of them.
fn perform(test: impl Future<Output = ()>) -> Result<(), suite::Failed> {
    Runtime::new()?.block_on(test);
    Ok(())
}

fn main() -> ExitCode {
    let mut suite = Suite::from_args(None);
    let shared = Shared::default();
    let on_both = [
        claims::tests(),
        queue::tests(),
        topics::tests(),
        caps::tests(),
        registrations::tests(),
        revocations::tests(),
        random::tests(),
    ];
    for test in on_both.concat() {
        add_on_both(&mut suite, Suite::add, &test, &shared);
    }
    for test in large::tests() {
        add_on_both(&mut suite, Suite::add_long, &test, &shared);
    }
    let on_postgres = [
        clocks::tests(),
        databases::tests(),
        dead_rows::tests(),
        plans::tests(),
        poolers::tests_without(),
        remembered::tests(),
        replicas::tests(),
        round_trips::tests(),
    ];
    for PostgresTest { name, run, .. } in on_postgres.concat() {
        let shared = shared.clone();
        let run = move || perform(async { run(shared.get_or_init(started).await.clone()).await });
        let name = format!("postgres::{name}");
        suite.add(name, Postgres::missing(), Box::new(run));
    }
    for PostgresTest { name, run, .. } in dead_rows::long_tests() {
        let shared = shared.clone();
        let run = move || perform(async { run(shared.get_or_init(started).await.clone()).await });
        suite.add_long(
            format!("postgres::{name}"),
            Postgres::missing(),
            Box::new(run),
        );
    }
    for PostgresTest { name, run, .. } in poolers::tests() {
        let shared = shared.clone();
        let run = move || perform(async { run(shared.get_or_init(started).await.clone()).await });
        let missing = Postgres::missing().or_else(PgBouncer::missing);
        suite.add(format!("postgres::{name}"), missing, Box::new(run));
    }
    // They stop their server.
    for PostgresTest { name, run, .. } in outages::tests() {
        let run = move || perform(async { run(started().await).await });
        let name = format!("postgres::{name}");
        suite.add(name, Postgres::missing(), Box::new(run));
    }
    suite.run()
}

fn add_on_both(
    suite: &mut Suite,
    add: fn(&mut Suite, String, Option<Missing>, Run),
    test: &Test,
    shared: &Shared,
) {
    let Test { name, run, .. } = *test;
    let on_sqlite = move || {
        let dir = tempfile::tempdir()?;
        let store = Store::open(dir.path())?;
        perform(run(store))
    };
    add(suite, format!("sqlite::{name}"), None, Box::new(on_sqlite));
    let shared = shared.clone();
    let on_postgres =
        move || perform(async { run(connected(shared.get_or_init(started).await).await).await });
    let name = format!("postgres::{name}");
    add(suite, name, Postgres::missing(), Box::new(on_postgres));
}
