//! Many registrations or messages, put into a store's file faster than in earnest.

use rusqlite::Connection;
use tempfile::TempDir;
use testbed::{SECRET, postgres};
use unified_push::{
    model::{
        secret::Secret,
        time::{Clock, SystemClock},
    },
    store::{PostgresSettings, Store},
};

pub const MILLION: u32 = 1_000_000;

/// The store's, in its state directory.
pub const FILE: &str = "unified-push.db";

/// A message.
pub const INSERT: &str = "INSERT INTO queue
     (key, id, account, owner, application, instance, issued, registration_expires, topic,
      urgency, payload, arrived, expires, attempts, sent, held_until)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

/// A state directory whose store holds that many registrations, of accounts with four each.
pub fn state_with(count: u32) -> TempDir {
    filled(|db, now| fill_registrations(db, count, now))
}

/// One whose store holds that many messages, 500 for each phone, all of them held.
pub fn queue_with(count: u32) -> TempDir {
    filled(|db, now| fill_queue(db, count, 500, now))
}

/// One whose store holds a message for each of that many phones.
pub fn waiting_phones(count: u32) -> TempDir {
    filled(|db, now| fill_queue(db, count, 1, now))
}

/// Puts the same into an empty database.
pub async fn fill_database(url: &str, count: u32) {
    drop(
        Store::connect(&url.parse().unwrap(), PostgresSettings::default())
            .await
            .unwrap(),
    );
    let client = postgres::connect(url).await.unwrap();
    let now = SystemClock.now().as_millis() as i64;
    let fill = format!(
        "INSERT INTO unified_push_queue
             (key, id, account, owner, owner_key, application, instance, issued,
              registration_expires, urgency, payload, arrived, expires, attempts, sent, held_until)
         SELECT uuid_send(gen_random_uuid()), uuid_send(gen_random_uuid()), account, owner,
             convert_to(owner, 'UTF8'), zeros, zeros, {now}, {now} + 604800000, 2,
             substring(decode(repeat(md5(n::text), 13), 'hex') FOR 200), {now} + n,
             {now} + 604800000, 1, {now}, {now} + 604800000
         FROM generate_series(1, {count}) AS n,
             LATERAL (SELECT 'waiting-' || n / 500 || '@example.org' AS account) AS accounts,
             LATERAL (SELECT account || '/Conversations.AbCd' AS owner) AS owners,
             (SELECT decode(repeat('00', 32), 'hex') AS zeros) AS digests;
         VACUUM ANALYZE unified_push_queue"
    );
    // VACUUM wants no transaction around it.
    for statement in fill.split(';') {
        client.batch_execute(statement).await.unwrap();
    }
}

fn filled(fill: impl FnOnce(&Connection, i64) -> rusqlite::Result<usize>) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    drop(Store::open(dir.path()).unwrap());
    let db = Connection::open(dir.path().join(FILE)).unwrap();
    let now = SystemClock.now().as_millis() as i64;
    db.execute_batch("PRAGMA synchronous = OFF; PRAGMA cache_size = -200000; BEGIN")
        .unwrap();
    fill(&db, now).unwrap();
    db.execute_batch("COMMIT; PRAGMA wal_checkpoint(TRUNCATE)")
        .unwrap();
    dir
}

fn fill_registrations(db: &Connection, count: u32, now: i64) -> rusqlite::Result<usize> {
    db.execute(
        "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?1)
         INSERT INTO registrations
             (id, key, generation, owner, jid, application, instance, issued, expires)
         SELECT randomblob(32), ?2, randomblob(16), 'owner-' || (n / 4) || '@example.org',
             'owner-' || (n / 4) || '@example.org/Conversations.AbCd',
             randomblob(32), randomblob(32), ?3, ?3 + 604800000 FROM numbers",
        (count, Secret::new(SECRET).id().as_bytes(), now),
    )
}

// In SQLite || binds stronger than /.
fn fill_queue(db: &Connection, count: u32, of_each: u32, now: i64) -> rusqlite::Result<usize> {
    db.execute(
        "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?1)
         INSERT INTO queue
             (key, id, account, owner, application, instance, issued, registration_expires, topic,
              urgency, payload, arrived, expires, attempts, sent, held_until)
         SELECT randomblob(16), randomblob(16), 'waiting-' || (n / ?3) || '@example.org',
             'waiting-' || (n / ?3) || '@example.org/Conversations.AbCd',
             zeroblob(32), zeroblob(32), ?2, ?2 + 604800000, NULL,
             2, randomblob(200), ?2 + n, ?2 + 604800000, 1, ?2, ?2 + 604800000 FROM numbers",
        (count, now, of_each),
    )
}
