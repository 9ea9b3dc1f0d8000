//! A PostgreSQL that goes away, hangs, and comes back.

use std::time::Duration;

use futures::future::join_all;
use testbed::{Postgres, eventually, postgres::connect, tests};
use tokio::time::Instant;
use unified_push::store::{News, PostgresSettings, Store, StoreError, TokenHash};

use crate::{
    PostgresTest, connected,
    messages::{AMPLE, NOW, ORCHARD, after, claim, id, key, message, put},
    registrations::romeo,
    replicas::{PATIENCE, news},
};

/// What the store promises, and what a busy machine adds.
const LIMIT: Duration = Duration::from_secs(5);

pub fn tests() -> Vec<PostgresTest> {
    tests![
        &what_was_answered_outlives_a_crash,
        a_store_that_is_away_fails_and_comes_back,
        a_store_that_hangs_fails_and_comes_back,
        a_store_that_takes_no_messages_is_known_to_fail,
        commits_that_hang_take_no_more_connections,
        whoever_listens_looks_again_after_a_restart,
        a_registered_store_survives_a_restart,
    ]
}

async fn what_was_answered_outlives_a_crash(postgres: &Postgres) {
    let store = connected(postgres).await;
    for serial in 0..5 {
        put(&store, message(serial)).await;
        postgres.kill().await;
        postgres.launch().await;
        works_again(&store).await;
        assert!(store.is_waiting(id(serial), NOW).await.unwrap(), "{serial}");
    }
}

/// Every kind of work, and none takes long.
async fn fails(store: &Store) {
    for round in 0..2 {
        let begun = Instant::now();
        let (found, stored, claimed, pinged, sizes) = tokio::join!(
            store.find(TokenHash::from_bytes([1; 32])),
            store.enqueue(message(100), AMPLE, NOW),
            claim_of(store),
            store.ping(),
            store.sizes(),
        );
        let taken = begun.elapsed();
        assert!(taken < LIMIT, "{taken:?}");
        assert!(found.is_err() && stored.is_err() && claimed.is_err() && sizes.is_err());
        assert!(
            matches!(pinged, Err(StoreError::Failed(_))),
            "{round}: {pinged:?}"
        );
    }
}

async fn claim_of(store: &Store) -> Result<(), StoreError> {
    let owner = crate::messages::full(ORCHARD);
    store.claim(None, &owner, NOW, after(60)).await.map(drop)
}

async fn works_again(store: &Store) {
    let ping = async || store.ping().await.ok();
    eventually("the store works again", PATIENCE, ping).await;
}

async fn a_store_that_is_away_fails_and_comes_back(postgres: &Postgres) {
    let store = connected(postgres).await;
    put(&store, message(1)).await;
    // So that there are connections to lose.
    let all = (0..20).map(|_| store.is_waiting(id(1), NOW));
    assert!(
        join_all(all)
            .await
            .iter()
            .all(|waits| matches!(waits, Ok(true)))
    );
    postgres.kill().await;
    fails(&store).await;
    postgres.launch().await;
    works_again(&store).await;
    let all = (0..20).map(|_| store.is_waiting(id(1), NOW));
    assert!(
        join_all(all)
            .await
            .iter()
            .all(|waits| matches!(waits, Ok(true)))
    );
    put(&store, message(2)).await;
    assert!(store.acknowledge(key(1)).await.unwrap());
}

async fn a_store_that_hangs_fails_and_comes_back(postgres: &Postgres) {
    let store = connected(postgres).await;
    put(&store, message(1)).await;
    postgres.freeze();
    fails(&store).await;
    // More than there are connections.
    let begun = Instant::now();
    let all = (0..50).map(|_| store.is_waiting(id(1), NOW));
    assert!(join_all(all).await.iter().all(Result::is_err));
    assert!(begun.elapsed() < LIMIT);
    let pinged = store.ping().await;
    assert!(matches!(pinged, Err(StoreError::Failed(_))), "{pinged:?}");
    postgres.thaw();
    works_again(&store).await;
    assert!(store.is_waiting(id(1), NOW).await.unwrap());
    let waits = store.is_waiting(id(100), NOW).await.unwrap();
    let claim = claim(&store, ORCHARD, after(200)).await;
    // It was told that neither had happened; what the server had been sent may have.
    assert!(
        matches!(claim, unified_push::store::Claim::Message(_)),
        "{waits}"
    );
}

/// The server answers, and everything else can be written.
async fn a_store_that_takes_no_messages_is_known_to_fail(postgres: &Postgres) {
    let url = postgres.database().await;
    let settings = PostgresSettings::default();
    let store = Store::connect(&url.parse().unwrap(), settings)
        .await
        .unwrap();
    let client = connect(&url).await.unwrap();
    let refuse = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
             $$BEGIN RAISE disk_full USING MESSAGE = 'no space left'; END$$;
         CREATE TRIGGER refuse BEFORE INSERT ON unified_push_queue EXECUTE FUNCTION refuse()";
    client.batch_execute(refuse).await.unwrap();
    store.ping().await.unwrap();
    assert!(store.enqueue(message(1), AMPLE, NOW).await.is_err());
    for _ in 0..3 {
        let said = store.ping().await.unwrap_err().to_string();
        assert!(
            said.contains("53100") && said.contains("make room"),
            "{said}"
        );
        assert!(!said.contains("backup"), "{said}");
    }
    client
        .batch_execute("DROP TRIGGER refuse ON unified_push_queue")
        .await
        .unwrap();
    works_again(&store).await;
    put(&store, message(2)).await;
    assert_eq!(store.sizes().await.unwrap().queued, 1);
}

/// As when the synchronous standby is gone: COMMIT waits for ever, even for a client that has left.
async fn commits_that_hang_take_no_more_connections(postgres: &Postgres) {
    let url = postgres.database().await;
    let client = connect(&url).await.unwrap();
    let mut stores = Vec::new();
    for _ in 0..2 {
        let url = url.parse().unwrap();
        stores.push(
            Store::connect(&url, PostgresSettings::default())
                .await
                .unwrap(),
        );
    }
    for set in [
        "ALTER SYSTEM SET synchronous_standby_names = 'gone'",
        "SELECT pg_reload_conf()",
    ] {
        client.batch_execute(set).await.unwrap();
    }
    let begun = Instant::now();
    let mut serial = 0;
    let mut most = 0;
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'unified-push'";
    while begun.elapsed() < Duration::from_secs(10) {
        for store in &stores {
            for _ in 0..20 {
                serial += 1;
                let (store, new) = (store.clone(), message(serial));
                // Nobody waits for the answer, as when senders give up.
                tokio::spawn(async move { store.enqueue(new, AMPLE, NOW).await });
            }
        }
        let connections: i64 = client.query_one(sql, &[]).await.unwrap().get(0);
        most = most.max(connections);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let allowed = 2 * PostgresSettings::default().connections as i64;
    assert!(most <= allowed, "{most} connections");
    for set in [
        "ALTER SYSTEM RESET synchronous_standby_names",
        "SELECT pg_reload_conf()",
    ] {
        client.batch_execute(set).await.unwrap();
    }
    let again = Instant::now();
    for store in &stores {
        works_again(store).await;
        serial += 1;
        put(store, message(serial)).await;
    }
    assert!(
        again.elapsed() < Duration::from_secs(10),
        "{:?}",
        again.elapsed()
    );
}

async fn whoever_listens_looks_again_after_a_restart(postgres: &Postgres) {
    let store = connected(postgres).await;
    assert_eq!(news(&store).await, News::Rescan);
    postgres.stop().await;
    postgres.launch().await;
    assert_eq!(news(&store).await, News::Rescan);
    postgres.kill().await;
    postgres.launch().await;
    assert_eq!(news(&store).await, News::Rescan);
}

async fn a_registered_store_survives_a_restart(postgres: &Postgres) {
    let store = connected(postgres).await;
    store.register(romeo(1, NOW)).await.unwrap();
    let scope = crate::registrations::scope();
    let revoked = store.revoke(scope, after(1), NOW).await.unwrap();
    postgres.stop().await;
    postgres.launch().await;
    works_again(&store).await;
    assert!(crate::registrations::found(&store, 1).await.revoked);
    assert_eq!(store.revocations().await.unwrap(), [revoked.revocation]);
}
