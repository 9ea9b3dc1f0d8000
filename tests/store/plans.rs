//! What PostgreSQL reads for one phone while many wait.

use std::{fs, io, time::Duration};

use testbed::{Postgres, eventually, postgres::connect, tests};
use tokio_postgres::Client;
use unified_push::store::{Claim, PostgresSettings, Store};

use crate::{PostgresTest, messages::*};

pub fn tests() -> Vec<PostgresTest> {
    tests![
        &one_phone_costs_no_look_at_all_that_wait,
        no_statement_is_compiled
    ]
}

/// To 200 accounts, as many to each.
pub const WAITING: &str = "INSERT INTO unified_push_queue
         (key, id, account, owner, owner_key, application, instance, issued,
          registration_expires, urgency, payload, arrived, expires, held_until)
     SELECT uuid_send(gen_random_uuid()), uuid_send(gen_random_uuid()),
         replace(account, 'romeo', 'waiting-' || n / 100), owner,
         convert_to('waiting-' || n / 100, 'UTF8'), application, instance, issued,
         registration_expires, urgency, payload, arrived + n, expires, held_until
     FROM unified_push_queue, generate_series(1, 20000) AS n";

async fn one_phone_costs_no_look_at_all_that_wait(postgres: &Postgres) {
    let url = postgres.database().await;
    let store = Store::connect(&url.parse().unwrap(), PostgresSettings::default())
        .await
        .unwrap();
    let client = connect(&url).await.unwrap();
    put(&store, message(1)).await;
    client.batch_execute(WAITING).await.unwrap();
    let analyze = "VACUUM ANALYZE unified_push_queue";
    client.batch_execute(analyze).await.unwrap();
    // PostgreSQL chooses for all values alike once it has seen a few.
    for serial in 2..20 {
        put(&store, message(serial)).await;
    }
    for _ in 1..20 {
        let owner = full(ORCHARD);
        let (_, claim) = store.claim(None, &owner, after(30), NOW).await.unwrap();
        assert!(matches!(claim, Claim::Message(_)), "{claim:?}");
    }
    // What a connection has read is counted at its end at the latest.
    drop(store);
    let patience = Duration::from_secs(20);
    eventually("the reads are counted", patience, async || {
        (scans(&client, "by_place").await >= 37).then_some(())
    })
    .await;
    assert_eq!(scans(&client, "by_expiry").await, 0);
}

/// How often an index of the queue was looked into.
async fn scans(client: &Client, index: &str) -> i64 {
    let sql = "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = $1";
    let name = format!("unified_push_queue_{index}");
    client.query_one(sql, &[&name]).await.unwrap().get(0)
}

/// On a server that would compile even the smallest.
async fn no_statement_is_compiled(postgres: &Postgres) {
    let url = postgres.database().await;
    let name = url.rsplit('/').next().unwrap();
    let compile =
        format!("ALTER DATABASE {name} SET jit = on; ALTER DATABASE {name} SET jit_above_cost = 0");
    let client = connect(&url).await.unwrap();
    client.batch_execute(&compile).await.unwrap();
    let can = client.query_one("SELECT pg_jit_available()", &[]).await;
    let can: bool = can.unwrap().get(0);

    let other = connect(&url).await.unwrap();
    let own = "SELECT pg_backend_pid() FROM generate_series(1, 2) AS n WHERE n > 1";
    let own: i32 = other.query_one(own, &[]).await.unwrap().get(0);
    match has_compiled(own) {
        Ok(compiled) => assert_eq!(compiled, can),
        Err(error) => return println!("left out: the server's processes cannot be seen: {error}"),
    }

    let store = Store::connect(&url.parse().unwrap(), PostgresSettings::default())
        .await
        .unwrap();
    put(&store, message(1)).await;
    let owner = full(ORCHARD);
    let (_, claim) = store.claim(None, &owner, after(30), NOW).await.unwrap();
    assert!(matches!(claim, Claim::Message(_)), "{claim:?}");
    let processes = "SELECT pid FROM pg_stat_activity
         WHERE datname = current_database() AND application_name = 'unified-push'";
    let processes = client.query(processes, &[]).await.unwrap();
    assert!(!processes.is_empty());
    for process in processes {
        // One that is closed meanwhile cannot be seen any more.
        assert!(!has_compiled(process.get(0)).unwrap_or(false));
    }
}

/// Whether a process of the server has loaded its compiler.
fn has_compiled(process: i32) -> io::Result<bool> {
    let maps = fs::read_to_string(format!("/proc/{process}/maps"))?;
    Ok(maps.contains("/llvmjit"))
}
