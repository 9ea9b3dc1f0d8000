//! Rows that were deleted, and that PostgreSQL cannot remove because an old snapshot may need them.

use std::time::Duration;

use testbed::{Postgres, postgres::connect, tests};
use tokio::time::Instant;
use unified_push::store::{Claim, PostgresSettings, Store};

use crate::{PostgresTest, messages::*};

pub fn tests() -> Vec<PostgresTest> {
    tests![&a_claim_costs_no_more_among_dead_rows]
}

/// The same with as many as an hour of heavy load leaves.
pub fn long_tests() -> Vec<PostgresTest> {
    tests![&a_claim_costs_no_more_among_a_million_dead_rows]
}

const ROUNDS: u32 = 60;

async fn a_claim_costs_no_more_among_dead_rows(postgres: &Postgres) {
    compare(postgres, 100_000).await;
}

async fn a_claim_costs_no_more_among_a_million_dead_rows(postgres: &Postgres) {
    compare(postgres, 1_000_000).await;
}

async fn compare(postgres: &Postgres, dead: u32) {
    let (fresh, worn) = (postgres.database().await, postgres.database().await);
    let [fresh, before] = [open(&fresh).await, open(&worn).await];
    let client = connect(&worn).await.unwrap();
    let snapshot = connect(&worn).await.unwrap();
    let off = "ALTER TABLE unified_push_queue SET (autovacuum_enabled = off)";
    client.batch_execute(off).await.unwrap();
    let hold = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM unified_push_queue";
    snapshot.batch_execute(hold).await.unwrap();
    put(&before, message(1)).await;
    // Half of them for the phone that is tried, the others for a thousand more.
    let fill = format!(
        "INSERT INTO unified_push_queue
             (key, id, account, owner, owner_key, application, instance, issued,
              registration_expires, urgency, payload, arrived, expires, held_until)
         SELECT uuid_send(gen_random_uuid()), uuid_send(gen_random_uuid()),
             CASE n % 2 WHEN 0 THEN account ELSE 'waiting-' || n % 1000 END, owner,
             CASE n % 2 WHEN 0 THEN owner_key ELSE convert_to('waiting-' || n % 1000, 'UTF8') END,
             application, instance, issued, registration_expires, urgency, payload, arrived,
             expires, held_until
         FROM unified_push_queue, generate_series(1, {dead}) AS n;
         DELETE FROM unified_push_queue"
    );
    client.batch_execute(&fill).await.unwrap();
    drop(before);

    // A daemon that starts now finds out, and is not slow ever after.
    let worn = open(&worn).await;
    assert!(worn.owners_waiting(None, 100).await.unwrap().is_empty());
    assert_eq!(worn.sizes().await.unwrap().queued, 0);
    let mut taken = [Vec::new(), Vec::new()];
    for serial in 0..ROUNDS {
        for (store, taken) in [&fresh, &worn].into_iter().zip(&mut taken) {
            taken.push(round(store, serial).await);
        }
    }
    let [fresh, worn] = taken.map(|mut taken| {
        taken.sort_unstable();
        taken[taken.len() / 2]
    });
    println!("{dead} dead rows: {worn:?}, on a fresh table {fresh:?}");
    assert!(worn < 2 * fresh, "{worn:?}, on a fresh table {fresh:?}");
    snapshot.batch_execute("ROLLBACK").await.unwrap();
}

async fn open(url: &str) -> Store {
    let url = url.parse().unwrap();
    Store::connect(&url, PostgresSettings::default())
        .await
        .unwrap()
}

/// How long it takes to claim a message, and to learn that it was the last.
async fn round(store: &Store, serial: u32) -> Duration {
    put(store, message(serial)).await;
    let (begun, owner) = (Instant::now(), full(ORCHARD));
    let (_, claim) = store
        .claim(None, &owner, after(30), after(40))
        .await
        .unwrap();
    let Claim::Message(claimed) = claim else {
        panic!("{claim:?}")
    };
    let next = store.claim(Some(claimed.key), &owner, after(30), after(40));
    assert_eq!(next.await.unwrap(), (true, Claim::Empty));
    begun.elapsed()
}
