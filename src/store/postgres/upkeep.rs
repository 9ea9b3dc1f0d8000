//! What has to be done now and then: delete what has expired, count, see that it works. Several
//! replicas may purge at once: each passes over the rows that another has at hand.

use super::{columns::count, failure::Result, pool::Connection, queue::delete};
use crate::{
    model::time::Timestamp,
    store::{messages::MESSAGE_OVERHEAD, registrations::Sizes, rules::STEP},
};

/// Every table of ours.
const TABLES: [&str; 8] = [
    "unified_push_schema",
    "unified_push_registrations",
    "unified_push_revocations",
    "unified_push_issuers",
    "unified_push_changes",
    "unified_push_queue",
    "unified_push_copy",
    "unified_push_clock",
];

/// Deletes some of what has expired, but for messages; zero when nothing is left.
pub async fn purge_step(db: &Connection, now: Timestamp) -> Result<u64> {
    let mut deleted = 0;
    for (table, end) in [
        ("unified_push_registrations", "expires"),
        ("unified_push_revocations", "until"),
        ("unified_push_issuers", "live_until"),
    ] {
        let sql = format!("DELETE FROM {table} WHERE {}", expired(table, end));
        deleted += db.run(&sql, &[&now]).await?;
    }
    Ok(deleted)
}

/// The same of messages.
pub async fn purge_messages(db: &Connection, now: Timestamp) -> Result<u64> {
    let condition = expired("unified_push_queue", "expires");
    delete(db, &condition, &[&now]).await
}

/// A condition for [`STEP`] rows that have expired at $1 and that nobody else writes.
fn expired(table: &str, end: &str) -> String {
    format!(
        "ctid = ANY (ARRAY (SELECT ctid FROM {table} WHERE {end} <= $1 LIMIT {STEP}
         FOR UPDATE SKIP LOCKED))"
    )
}

pub async fn sizes(db: &Connection) -> Result<Sizes> {
    let queued = queued(db).await?;
    let registrations = "SELECT count(*) FROM unified_push_registrations";
    let on_disk = "SELECT sum(pg_total_relation_size(name::regclass))::bigint
         FROM unnest($1::text[]) AS name";
    Ok(Sizes {
        registrations: db.one(registrations, &[], |row| count(row, 0)).await?,
        queued: queued.messages,
        queued_bytes: queued.bytes,
        oldest: queued.oldest,
        bytes: db
            .one(on_disk, &[&&TABLES[..]], |row| count(row, 0))
            .await?,
    })
}

/// What waits, with what has expired.
pub struct Queued {
    pub messages: u64,
    pub bytes: u64,
    pub oldest: Option<Timestamp>,
}

pub async fn queued(db: &Connection) -> Result<Queued> {
    let sql = "SELECT count(*), coalesce(sum(octet_length(payload)), 0),
             (SELECT arrived FROM unified_push_queue ORDER BY number LIMIT 1)
         FROM unified_push_queue";
    db.one(sql, &[], |row| {
        let messages = count(row, 0)?;
        Ok(Queued {
            messages,
            bytes: count(row, 1)? + messages * MESSAGE_OVERHEAD,
            oldest: row.try_get(2)?,
        })
    })
    .await
}

/// Reads, or shows that messages can be stored and that the disk takes a commit, which changes
/// nothing.
pub async fn touch(db: &Connection, writing: bool) -> Result<()> {
    if !writing {
        db.run("SELECT changes FROM unified_push_changes", &[])
            .await?;
        return Ok(());
    }
    db.batch(
        "BEGIN;
         UPDATE unified_push_changes SET changes = changes;
         SAVEPOINT tried;
         INSERT INTO unified_push_queue
             (key, id, account, application, instance, owner, owner_key, issued,
              registration_expires, urgency, payload, arrived, expires, held_until)
         VALUES (uuid_send(gen_random_uuid()), uuid_send(gen_random_uuid()), '', '', '', '', '', 0,
             0, 0, decode(repeat('00', 4096), 'hex'), 0, 0, 0);
         ROLLBACK TO SAVEPOINT tried;
         COMMIT",
    )
    .await
}
