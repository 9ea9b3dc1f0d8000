//! The schema, brought to the present version by the first who comes. Several daemons may start at
//! once: each takes a lock, which goes with its transaction.
//!
//! The tables lie where the connection's `search_path` puts them, not in a schema of their own: an
//! administrator who has granted one schema only has done enough, and one who wants them elsewhere
//! says so in the URL (`options=-csearch_path%3D...`). Their names cannot be mistaken.

use tracing::info;

use super::{failure::Result, pool::Connection};

/// Each brings the schema from its position in this list to the next.
pub const MIGRATIONS: &[&str] = &[
    include_str!("schema/1.sql"),
    include_str!("schema/2.sql"),
    include_str!("schema/3.sql"),
    include_str!("schema/4.sql"),
    include_str!("schema/5.sql"),
    include_str!("schema/6.sql"),
    include_str!("schema/7.sql"),
];

/// Whoever migrates holds this one, until its transaction ends; spells "UPmigrat".
const LOCK: &str = "SELECT pg_advisory_xact_lock(x'55506d6967726174'::bigint)";

/// The version that was found and the one that is known; changes nothing when that is lower.
pub async fn migrate(db: &Connection) -> Result<(u32, u32)> {
    // A daemon that starts gives up by itself after an hour.
    db.batch("BEGIN; SET LOCAL statement_timeout = 0").await?;
    db.batch(LOCK).await?;
    let (found, known) = (version(db).await?, known());
    let missing = MIGRATIONS.get(found as usize..).unwrap_or_default();
    for (number, migration) in (found + 1..).zip(missing) {
        if found > 0 {
            let before = number - 1;
            info!("bringing the database from schema {before} to {number} of {known}");
        }
        db.batch(&format!(
            "{migration}
             CREATE TABLE IF NOT EXISTS unified_push_schema (version integer NOT NULL);
             DELETE FROM unified_push_schema;
             INSERT INTO unified_push_schema VALUES ({number})"
        ))
        .await?;
    }
    db.batch("COMMIT").await?;
    Ok((found, known))
}

/// The present version.
pub fn known() -> u32 {
    u32::try_from(MIGRATIONS.len()).expect("a handful")
}

/// 0 for a database that is not ours yet.
pub async fn version(db: &Connection) -> Result<u32> {
    let ours = "SELECT to_regclass('unified_push_schema')::text";
    if db.text(ours).await?.is_none() {
        return Ok(0);
    }
    let version = db.text("SELECT version FROM unified_push_schema").await?;
    Ok(version.and_then(|text| text.parse().ok()).unwrap_or(0))
}
