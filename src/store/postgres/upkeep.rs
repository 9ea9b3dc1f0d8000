//! What has to be done now and then: delete what has expired, count, see that it works.

use std::sync::atomic::Ordering;

use super::{
    Postgres,
    columns::{Millis, count},
    connect::Connection,
    queue::delete,
};
use crate::{
    model::time::Timestamp,
    store::{MESSAGE_OVERHEAD, Sizes, StoreError, rules::STEP},
};

/// Every table of ours.
const TABLES: [&str; 6] = [
    "unified_push_schema",
    "unified_push_registrations",
    "unified_push_revocations",
    "unified_push_issuers",
    "unified_push_changes",
    "unified_push_queue",
];

/// What waits.
pub struct Queued {
    pub messages: u64,
    pub bytes: u64,
    pub oldest: Option<Timestamp>,
}

impl Postgres {
    /// Several replicas may do it at once: each passes over the rows that another has at hand.
    pub async fn purge(&self, now: Timestamp) -> Result<u64, StoreError> {
        for (table, end) in [
            ("unified_push_registrations", "expires"),
            ("unified_push_revocations", "until"),
            ("unified_push_issuers", "live_until"),
        ] {
            let sql = format!("DELETE FROM {table} WHERE {}", expired(table, end));
            while self.within(self.purge_step(&sql, now)).await? > 0 {}
        }
        let mut messages = 0;
        loop {
            match self.within(self.purge_messages(now)).await? {
                0 => return Ok(messages),
                some => messages += some,
            }
        }
    }

    /// Deletes some of what has expired; zero when nothing is left.
    async fn purge_step(&self, sql: &str, now: Timestamp) -> Result<u64, StoreError> {
        let db = self.pool.get().await?;
        let deleted = db.execute(sql, &[&Millis(now)]).await?;
        db.done();
        Ok(deleted)
    }

    async fn purge_messages(&self, now: Timestamp) -> Result<u64, StoreError> {
        let db = self.pool.get().await?;
        let condition = expired("unified_push_queue", "expires");
        let (messages, left) = delete(&db, &condition, &[&Millis(now)]).await?;
        db.done();
        self.left(left);
        Ok(messages)
    }

    pub async fn sizes(&self) -> Result<Sizes, StoreError> {
        self.within(async {
            let db = self.pool.get().await?;
            let queued = queued(&db).await?;
            let bytes = i64::try_from(queued.bytes).unwrap_or(i64::MAX);
            self.queued_bytes.store(bytes, Ordering::Relaxed);
            let registrations: i64 = db
                .value("SELECT count(*) FROM unified_push_registrations", &[])
                .await?;
            let on_disk: i64 = db
                .value(
                    "SELECT sum(pg_total_relation_size(name::regclass))::bigint
                     FROM unnest($1::text[]) AS name",
                    &[&&TABLES[..]],
                )
                .await?;
            db.done();
            Ok(Sizes {
                registrations: registrations.unsigned_abs(),
                queued: queued.messages,
                queued_bytes: queued.bytes,
                oldest: queued.oldest,
                bytes: on_disk.unsigned_abs(),
            })
        })
        .await
    }

    pub async fn ping(&self) -> Result<(), StoreError> {
        let was_failing = self.failing.load(Ordering::Relaxed);
        let sql = match was_failing {
            true => "UPDATE unified_push_changes SET changes = changes",
            false => "SELECT changes FROM unified_push_changes",
        };
        let pinged = self.within(async {
            let db = self.pool.get().await?;
            db.execute(sql, &[]).await?;
            db.done();
            Ok(())
        });
        match pinged.await {
            Ok(()) if was_failing => {
                self.failing.store(false, Ordering::Relaxed);
                Ok(())
            }
            // Every connection waits for a database that does not answer.
            Err(StoreError::Busy) if was_failing => {
                Err(StoreError::failed("no connection to PostgreSQL is free"))
            }
            done => done,
        }
    }
}

/// A condition for [`STEP`] rows that have expired at $1 and that nobody else writes.
fn expired(table: &str, end: &str) -> String {
    format!(
        "ctid = ANY (ARRAY (SELECT ctid FROM {table} WHERE {end} <= $1 LIMIT {STEP}
         FOR UPDATE SKIP LOCKED))"
    )
}

/// What waits, with what has expired.
pub async fn queued(db: &Connection) -> Result<Queued, StoreError> {
    let sql = "SELECT count(*), coalesce(sum(octet_length(payload)), 0),
             (SELECT arrived FROM unified_push_queue ORDER BY number LIMIT 1)
         FROM unified_push_queue";
    let Some(row) = db.find(sql, &[]).await? else {
        return Err(StoreError::failed("no count"));
    };
    let messages = count(&row, 0)?;
    Ok(Queued {
        messages,
        bytes: count(&row, 1)? + messages * MESSAGE_OVERHEAD,
        oldest: row.try_get::<_, Option<Millis>>(2)?.map(|oldest| oldest.0),
    })
}
