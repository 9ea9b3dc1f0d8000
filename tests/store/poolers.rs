//! What operators put between the daemons and PostgreSQL.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use futures::future::join_all;
use testbed::{
    PgBouncer, Postgres, eventually,
    postgres::{PASSWORD, USER, connect},
    tests,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::Instant,
};
use unified_push::store::{News, PostgresSettings, Silence, Store};

use crate::{
    PostgresTest,
    messages::{ORCHARD, full, message, message_to, put},
    replicas::{PATIENCE, news},
};

pub fn tests() -> Vec<PostgresTest> {
    tests![
        &a_pooler_that_lends_for_less_than_a_session_is_refused,
        three_daemons_fit_into_a_pool_of_twenty,
    ]
}

/// Those that need no pooler.
pub fn tests_without() -> Vec<PostgresTest> {
    tests![
        &a_daemon_that_hears_nothing_says_so_and_looks,
        what_nobody_was_notified_of_is_found,
        messages_that_come_together_share_a_commit,
        the_host_that_takes_writes_is_chosen,
    ]
}

async fn open(url: &str) -> Result<Store, String> {
    let opened = Store::connect(&url.parse().unwrap(), PostgresSettings::default()).await;
    opened.map_err(|error| error.to_string())
}

async fn a_pooler_that_lends_for_less_than_a_session_is_refused(postgres: &Postgres) {
    for mode in ["transaction", "statement"] {
        let url = postgres.database().await;
        let pooler = PgBouncer::start(&url, mode).await;
        let begun = Instant::now();
        let said = open(&pooler.url).await.unwrap_err();
        assert!(begun.elapsed() < Duration::from_secs(5), "{mode}");
        assert!(said.contains(&format!("for each {mode} only")), "{said}");
        assert!(said.contains("pool_mode = session"), "{said}");
        let client = connect(&url).await.unwrap();
        let left = "SELECT (SELECT count(*) FROM pg_locks, pg_database
                 WHERE locktype = 'advisory' AND oid = database AND datname = current_database())
             + (SELECT count(*) FROM pg_tables WHERE tablename LIKE 'unified%')";
        let left: i64 = client.query_one(left, &[]).await.unwrap().get(0);
        assert_eq!(left, 0, "{mode}");
        let pooled = connect(&pooler.url).await.unwrap();
        let set = pooled.simple_query("SHOW statement_timeout").await.unwrap();
        assert!(!format!("{set:?}").contains("2500"), "{set:?}");
    }
}

async fn three_daemons_fit_into_a_pool_of_twenty(postgres: &Postgres) {
    let url = postgres.database().await;
    let pooler = PgBouncer::start(&url, "session").await;
    let mut stores = Vec::new();
    for _ in 0..3 {
        let store = open(&pooler.url).await.unwrap();
        assert_eq!(news(&store).await, News::Rescan);
        stores.push(store);
    }
    let all = (0..300).map(|serial| {
        let owner = format!("user{}@example.org/x", serial % 50);
        put(&stores[serial as usize % 3], message_to(&owner, 1, serial))
    });
    join_all(all).await;
    assert!(matches!(news(&stores[0]).await, News::Stored { .. }));
    let client = connect(&url).await.unwrap();
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'unified-push'";
    let connections: i64 = client.query_one(sql, &[]).await.unwrap().get(0);
    assert!((3..=18).contains(&connections), "{connections}");
}

/// Between a client and PostgreSQL; keeps notifications to itself.
async fn without_notifications(server: &str) -> String {
    let (before, address) = server.split_once('@').unwrap();
    let (address, database) = address.split_once('/').unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = format!("{before}@127.0.0.1:{port}/{database}");
    let address = address.to_owned();
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let server = TcpStream::connect(&address).await.unwrap();
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            tokio::spawn(async move {
                let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
            });
            tokio::spawn(async move {
                // Each message has a letter and a length, which counts itself.
                let mut head = [0; 5];
                while from_server.read_exact(&mut head).await.is_ok() {
                    let length = u32::from_be_bytes(head[1..].try_into().unwrap());
                    let mut rest = vec![0; length as usize - 4];
                    from_server.read_exact(&mut rest).await.unwrap();
                    if head[0] != b'A' {
                        let message = [&head[..], &rest[..]].concat();
                        if to_client.write_all(&message).await.is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    url
}

async fn a_daemon_that_hears_nothing_says_so_and_looks(postgres: &Postgres) {
    let url = postgres.database().await;
    let deaf = open(&without_notifications(&url).await).await.unwrap();
    let other = open(&url).await.unwrap();
    assert_eq!(deaf.silence(), None);
    assert_eq!(news(&deaf).await, News::Rescan);
    eventually("it says so", PATIENCE, async || {
        (deaf.silence() == Some(Silence::Pooled)).then_some(())
    })
    .await;
    put(&other, message(1)).await;
    assert_eq!(news(&other).await, News::Rescan);
    assert_eq!(other.silence(), None);
    finds(&deaf, ORCHARD).await;
}

/// In the course of some seconds.
async fn finds(store: &Store, owner: &str) {
    let owners = vec![full(owner)];
    let begun = Instant::now();
    while news(store).await
        != (News::Found {
            owners: owners.clone(),
        })
    {}
    assert!(begun.elapsed() < Duration::from_secs(15));
}

async fn what_nobody_was_notified_of_is_found(postgres: &Postgres) {
    let url = postgres.database().await;
    let store = open(&url).await.unwrap();
    assert_eq!(news(&store).await, News::Rescan);
    put(&store, message(1)).await;
    finds(&store, ORCHARD).await;
    let copy = "INSERT INTO unified_push_queue
             (key, id, account, owner, owner_key, application, instance, issued,
              registration_expires, urgency, payload, arrived, expires, held_until)
         SELECT '\\x11', '\\x22', account, 'romeo@example.org/street', 'street', application,
             instance, issued, registration_expires, urgency, payload, arrived, expires, held_until
         FROM unified_push_queue";
    connect(&url)
        .await
        .unwrap()
        .batch_execute(copy)
        .await
        .unwrap();
    finds(&store, "romeo@example.org/street").await;
}

async fn messages_that_come_together_share_a_commit(postgres: &Postgres) {
    const MESSAGES: u32 = 500;
    let url = postgres.database().await;
    let store = open(&url).await.unwrap();
    let all = (0..MESSAGES).map(|serial| {
        let owner = format!("user{}@example.org/x", serial % 100);
        put(&store, message_to(&owner, 1, serial))
    });
    join_all(all).await;
    let sql = "SELECT count(*), count(DISTINCT xmin::text) FROM unified_push_queue";
    let client = connect(&url).await.unwrap();
    let row = client.query_one(sql, &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), i64::from(MESSAGES));
    // A tenth of them is what is promised.
    let commits: i64 = row.get(1);
    assert!(commits <= i64::from(MESSAGES / 10), "{commits}");
}

/// As after a failover: the former primary answers, and takes no writes.
async fn the_host_that_takes_writes_is_chosen(_: &Postgres) {
    let servers = [Postgres::start().await, Postgres::start().await];
    let mut clients = Vec::new();
    for server in &servers {
        clients.push(connect(&server.url("postgres")).await.unwrap());
    }
    let read_only = async |server: usize, on: &str| {
        let set = format!("ALTER SYSTEM SET default_transaction_read_only = {on}");
        clients[server]
            .batch_execute(
                "SET transaction_read_only = off; SET default_transaction_read_only = off",
            )
            .await
            .unwrap();
        clients[server].batch_execute(&set).await.unwrap();
        let reload = "SELECT pg_reload_conf()";
        clients[server].batch_execute(reload).await.unwrap();
    };
    let urls = [0, 1].map(|server: usize| servers[server].url("postgres"));
    // Each has its tables.
    for url in &urls {
        drop(open(url).await.unwrap());
    }
    read_only(1, "on").await;
    let port = |url: &str| {
        url.rsplit_once(':')
            .unwrap()
            .1
            .split_once('/')
            .unwrap()
            .0
            .to_owned()
    };
    let (first, second) = (port(&urls[1]), port(&urls[0]));
    let url = format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{first},127.0.0.1:{second}/postgres");
    let reloaded = async || {
        let fresh = connect(&urls[1]).await.unwrap();
        let set = fresh
            .simple_query("SHOW transaction_read_only")
            .await
            .unwrap();
        format!("{set:?}").contains("on").then_some(())
    };
    eventually("it takes no writes", PATIENCE, reloaded).await;
    let store = open(&url).await.unwrap();
    put(&store, message(1)).await;
    let count = "SELECT count(*) FROM unified_push_queue";
    let stored: i64 = clients[0].query_one(count, &[]).await.unwrap().get(0);
    assert_eq!(stored, 1, "by the second host");

    read_only(1, "off").await;
    read_only(0, "on").await;
    let begun = Instant::now();
    let serial = AtomicU32::new(2);
    // The first may still be taken by the former one, which has not read its configuration yet.
    eventually("the other one takes what comes", PATIENCE, async || {
        let message = message(serial.fetch_add(1, Ordering::Relaxed));
        let arrived = message.arrived;
        let _ = store
            .enqueue(message, crate::messages::AMPLE, arrived)
            .await;
        let stored: i64 = clients[1].query_one(count, &[]).await.unwrap().get(0);
        (stored > 0).then_some(())
    })
    .await;
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
}
