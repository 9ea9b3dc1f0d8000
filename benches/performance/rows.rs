//! Many registrations, put into a store's file faster than by registering.

use std::path::Path;

use rusqlite::Connection;
use tempfile::TempDir;
use unified_push::{
    clock::{Clock, SystemClock},
    secret::Secret,
    store::Store,
};

use crate::daemon::SECRET;

pub const MILLION: u32 = 1_000_000;

/// A state directory whose store holds that many, of accounts with four each.
pub fn state_with(count: u32) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    drop(Store::open(dir.path()).unwrap());
    fill(dir.path(), count).unwrap();
    dir
}

fn fill(state_dir: &Path, count: u32) -> rusqlite::Result<()> {
    let db = Connection::open(state_dir.join("unified-push.db"))?;
    db.execute_batch("PRAGMA synchronous = OFF; PRAGMA cache_size = -200000; BEGIN")?;
    let now = SystemClock.now().as_millis() as i64;
    db.execute(
        "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?1)
         INSERT INTO registrations
             (id, key, generation, owner, jid, application, instance, issued, expires)
         SELECT randomblob(32), ?2, randomblob(16), 'owner-' || n / 4 || '@example.org',
             'owner-' || n / 4 || '@example.org/Conversations.AbCd',
             randomblob(32), randomblob(32), ?3, ?3 + 604800000 FROM numbers",
        (count, Secret::new(SECRET).id().as_bytes(), now),
    )?;
    db.execute_batch("COMMIT; PRAGMA wal_checkpoint(TRUNCATE)")
}
