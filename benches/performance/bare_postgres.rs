//! What PostgreSQL alone does: loops that insert the daemon's rows and decide nothing about them. And
//! what a message costs: how often the disk is waited for, how many statements it takes, and how many
//! round trips.

use std::time::Duration;

use testbed::{Postgres, postgres::connect, relay::Relay};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tokio_postgres::Client;
use unified_push::store::{PostgresSettings, Store};

const CONNECTIONS: usize = 16;
const TOGETHER: i64 = 100;

/// A message of 200 bytes for one of 1000 phones; `$1` is the number of the first, `$2` how many.
const INSERT: &str = "INSERT INTO unified_push_queue
     (key, id, account, owner, owner_key, application, instance, issued, registration_expires,
      urgency, payload, arrived, expires, attempts, sent, held_until)
     SELECT uuid_send(gen_random_uuid()), uuid_send(gen_random_uuid()), account, owner,
         convert_to(owner, 'UTF8'), sevens, sevens, 0, 604800000, 3,
         convert_to(repeat('x', 200), 'UTF8'), n, 9000000000000, 0, NULL, 0
     FROM generate_series($1::bigint, $1::bigint + $2::bigint - 1) AS n,
         LATERAL (SELECT 'phone' || n % 1000 || '@example.org' AS account) AS accounts,
         LATERAL (SELECT account || '/Conversations.AbCd' AS owner) AS owners,
         (SELECT decode(repeat('07', 32), 'hex') AS sevens) AS digests";

/// Messages stored per second.
#[derive(Clone, Copy)]
pub struct Alone {
    /// One in a commit, over 16 connections.
    pub single: f64,
    /// 100 in a commit, over one connection.
    pub together: f64,
}

/// In a database of their own.
pub async fn store(postgres: &Postgres, window: Duration) -> Alone {
    let url = postgres.database().await;
    drop(
        Store::connect(&url.parse().unwrap(), PostgresSettings::default())
            .await
            .unwrap(),
    );
    Alone {
        single: inserts(&url, CONNECTIONS, 1, window).await,
        together: inserts(&url, 1, TOGETHER, window).await,
    }
}

async fn inserts(url: &str, connections: usize, together: i64, window: Duration) -> f64 {
    let mut clients = Vec::new();
    for _ in 0..connections {
        let client = connect(url).await.unwrap();
        client
            .batch_execute("SET synchronous_commit = on")
            .await
            .unwrap();
        let insert = client.prepare(INSERT).await.unwrap();
        clients.push((client, insert));
    }
    let begin = Instant::now();
    let mut loops = JoinSet::new();
    for (number, (client, insert)) in (0..).zip(clients) {
        loops.spawn(async move {
            let mut stored: i64 = 0;
            while begin.elapsed() < window {
                let first = number * 1_000_000 + stored;
                client.execute(&insert, &[&first, &together]).await.unwrap();
                stored += together;
            }
            stored
        });
    }
    let stored: i64 = loops.join_all().await.into_iter().sum();
    stored as f64 / begin.elapsed().as_secs_f64()
}

/// How many messages a database has stored so far.
pub async fn stored(url: &str) -> f64 {
    let client = connect(url).await.unwrap();
    let sql = "SELECT last_value::float8 FROM unified_push_queue_number_seq";
    client.query_one(sql, &[]).await.unwrap().get(0)
}

/// The server's counters, and a way to it that counts.
pub struct Counters {
    client: Client,
    pub relay: Relay,
}

#[derive(Clone, Copy)]
pub struct Counted {
    /// How often the log was brought to the disk.
    pub fsyncs: f64,
    /// Statements, of which a round trip may carry several.
    pub statements: f64,
    /// Through the relay.
    pub trips: f64,
}

impl Counters {
    /// Restarts the server, so that it counts statements.
    pub async fn start(postgres: &Postgres) -> Self {
        let url = postgres.url("postgres");
        let client = connect(&url).await.unwrap();
        let load = "ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'";
        client.batch_execute(load).await.unwrap();
        drop(client);
        postgres.stop().await;
        postgres.launch().await;
        let client = connect(&url).await.unwrap();
        let extension = "CREATE EXTENSION pg_stat_statements";
        client.batch_execute(extension).await.unwrap();
        let relay = Relay::start(postgres.port());
        Self { client, relay }
    }

    /// Once every process has reported what it has done.
    pub async fn read(&self) -> Counted {
        sleep(Duration::from_secs(11)).await;
        let sql = "SELECT (SELECT wal_sync FROM pg_stat_wal)::float8,
             (SELECT sum(calls) FROM pg_stat_statements)::float8";
        let row = self.client.query_one(sql, &[]).await.unwrap();
        Counted {
            fsyncs: row.get(0),
            statements: row.get(1),
            trips: self.relay.trips(),
        }
    }
}

impl Counted {
    /// For each of so many messages.
    pub fn since(self, before: Self, messages: f64) -> Self {
        Self {
            fsyncs: (self.fsyncs - before.fsyncs) / messages,
            statements: (self.statements - before.statements) / messages,
            trips: (self.trips - before.trips) / messages,
        }
    }
}
