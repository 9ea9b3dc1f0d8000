//! What takes more than two seconds says that it is still at work.

use std::path::Path;

use rusqlite::Connection;
use testbed::{Bed, PATIENCE, Postgres, Process, eventually, postgres::connect};

use crate::outage::installed;

/// What a migration takes first, in PostgreSQL.
const LOCK: &str = "pg_advisory_lock(x'55506d6967726174'::bigint)";

/// Somebody else writes to the database until they commit. Others wait for five seconds.
pub fn holding(database: &Path) -> Connection {
    let other = Connection::open(database).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    other
}

#[tokio::test]
async fn a_daemon_that_waits_for_a_migration_says_so() {
    if !installed() {
        return;
    }
    let postgres = Postgres::start().await;
    let mut bed = Bed::new().await;
    let url = postgres.database().await;
    bed.text("store.url", &url);
    let other = connect(&url).await.unwrap();
    other.execute(&format!("SELECT {LOCK}"), &[]).await.unwrap();
    let daemon = bed.spawn(bed.config.serve());
    daemon.logged("still starting: at work on the store").await;
    drop(other);
    daemon.link("up").await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_command_that_waits_for_the_store_says_so() {
    let bed = Bed::new().await;
    bed.start().await.stop().await;
    let from = format!("sqlite:{}", bed.state_dir().display());
    let to = format!("sqlite:{}", bed.path("copy").display());
    let copy = ["store", "copy", "--from", &from, "--to", &to];
    for (arguments, words) in [
        (
            &["queue", "list"][..],
            "still at work on the store, for 2 s",
        ),
        (&copy[..], "still opening the stores, for 2 s"),
    ] {
        let other = holding(&bed.database());
        let mut command = bed.command(arguments);
        let log = bed.config.fresh("log");
        let mut process = Process::start_with(&mut command, &log).unwrap();
        let said = async || process.log().contains(words).then_some(());
        eventually(words, PATIENCE, said).await;
        other.execute_batch("COMMIT").unwrap();
        let status = process.exit(PATIENCE).await;
        assert_eq!(status.code(), Some(0), "{}", process.log());
    }
}
