//! The program with PostgreSQL as operators run it: with poolers and proxies before it, with
//! standbys and failover, and with everything that goes wrong there. `tests/postgres.sh` installs
//! what this needs.

#![expect(clippy::unwrap_used, reason = "a failed test says what failed")]

mod bouncer;
mod failing;
mod group;
mod hanging;
mod patroni;
mod pgpool;
mod replication;
mod traffic;

use std::{process::ExitCode, time::Duration};

use testbed::{
    Missing, PgBouncer, postgres,
    suite::{self, Failed, Suite},
};
use tokio::runtime::Runtime;

type Test = suite::Test<()>;

/// No test takes longer.
const LIMIT: Duration = Duration::from_secs(240);

/// In several threads: a test may block one of them.
fn perform(test: impl Future<Output = ()>) -> Result<(), Failed> {
    let limited = Runtime::new()?.block_on(async { tokio::time::timeout(LIMIT, test).await });
    limited.map_err(|_| format!("not done within {LIMIT:?}").into())
}

/// What installs the programs also says which PostgreSQL is meant.
fn missing_script() -> Option<Missing> {
    let named = std::env::var_os(postgres::PROGRAMS).is_some();
    let missing = || Missing::package("what operators put beside PostgreSQL");
    (!named).then(|| missing().instead("tests/postgres.sh", false))
}

fn main() -> ExitCode {
    // Times are measured, and there are more processes than cores as it is.
    let mut suite = Suite::from_args(Some(1));
    let parts: [(_, Option<Missing>, Vec<Test>); 7] = [
        ("bouncer", PgBouncer::missing(), bouncer::tests()),
        ("failing", None, failing::tests()),
        (
            "failing",
            failing::missing_newer(),
            failing::tests_of_newer(),
        ),
        ("hanging", None, hanging::tests()),
        ("patroni", patroni::missing(), patroni::tests()),
        ("pgpool", pgpool::missing(), pgpool::tests()),
        ("replication", replication::missing(), replication::tests()),
    ];
    for (part, missing, tests) in parts {
        let missing = missing_script().or(missing);
        for Test { name, run, .. } in tests {
            let name = format!("{part}::{name}");
            suite.add(name, missing.clone(), Box::new(move || perform(run(()))));
        }
    }
    suite.run()
}
