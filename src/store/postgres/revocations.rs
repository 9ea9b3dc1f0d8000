//! What was revoked, and whether another replica has revoked something.

use std::sync::atomic::Ordering;

use jid::BareJid;

use super::{
    Postgres,
    columns::{Millis, scope, scope_columns},
    connect::Connection,
    lock_account,
};
use crate::{
    model::{
        revocation::{Revocation, Scope},
        time::Timestamp,
    },
    store::{Revoked, StoreError, rules::REVOCATIONS_PER_OWNER},
};

impl Postgres {
    pub async fn revoke(
        &self,
        scope: Scope,
        at: Timestamp,
        min_until: Timestamp,
    ) -> Result<Revoked, StoreError> {
        self.within(async {
            let db = self.pool.begin().await?;
            let owner = match &scope {
                Scope::Registration(key) => &key.owner,
                Scope::Owner(owner) => owner,
            };
            lock_account(&db, owner).await?;
            let revocation = widen(&db, scope.clone(), at, min_until).await?;
            put(&db, &revocation).await?;
            let (dropped, bytes) = drop_waiting(&db, &revocation).await?;
            // Last: until the commit, every other revocation waits for this row.
            let change = note_change(&db).await?;
            db.commit().await?;
            self.left(bytes);
            // News only if another's came in between.
            let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
            let _ = self
                .changes
                .compare_exchange(change - 1, change, set, fetch);
            Ok(Revoked {
                revocation,
                dropped,
            })
        })
        .await
    }

    pub async fn revocations(&self) -> Result<Vec<Revocation>, StoreError> {
        self.at_leisure(async {
            let db = self.begin_long().await?;
            let revocations = revocations(&db).await?;
            db.commit().await?;
            Ok(revocations)
        })
        .await
    }

    pub async fn revocations_if_changed(&self) -> Result<Option<Vec<Revocation>>, StoreError> {
        let known = self.changes.load(Ordering::Relaxed);
        self.within(async {
            let db = self.pool.get().await?;
            // First: what comes in between is then read twice, not never.
            let present = changes(&db).await?;
            let changed = match present != known {
                true => Some(revocations(&db).await?),
                false => None,
            };
            db.done();
            self.changes.store(present, Ordering::Relaxed);
            Ok(changed)
        })
        .await
    }
}

/// How often something has changed that all replicas have in memory.
pub async fn changes(db: &Connection) -> Result<i64, StoreError> {
    db.value("SELECT changes FROM unified_push_changes", &[])
        .await
}

/// The number of this change.
pub async fn note_change(db: &Connection) -> Result<i64, StoreError> {
    let sql = "UPDATE unified_push_changes SET changes = changes + 1 RETURNING changes";
    db.value(sql, &[]).await
}

/// As it is to be stored: for as long as any token may live, and of the whole account if that has
/// too many.
async fn widen(
    db: &Connection,
    scope: Scope,
    at: Timestamp,
    min_until: Timestamp,
) -> Result<Revocation, StoreError> {
    let latest: Option<Millis> = db
        .value("SELECT max(live_until) FROM unified_push_issuers", &[])
        .await?;
    let until = latest.map_or(min_until, |latest| latest.0.max(min_until));
    let mut revocation = Revocation { scope, at, until };
    if let Scope::Registration(key) = &revocation.scope
        && held(db, &key.owner).await? >= i64::from(REVOCATIONS_PER_OWNER)
    {
        revocation.scope = Scope::Owner(key.owner.clone());
    }
    if let Scope::Owner(owner) = &revocation.scope {
        let longest = take_in(db, owner, at).await?;
        revocation.until = longest.map_or(until, |longest| longest.max(until));
    }
    Ok(revocation)
}

/// How many revocations the store holds of one account.
async fn held(db: &Connection, owner: &BareJid) -> Result<i64, StoreError> {
    let sql = "SELECT count(*) FROM unified_push_revocations WHERE owner = $1";
    db.value(sql, &[&owner.as_str()]).await
}

/// Deletes the revocations that one of the whole account at this instant covers; returns until
/// when the longest was to be kept.
async fn take_in(
    db: &Connection,
    owner: &BareJid,
    at: Timestamp,
) -> Result<Option<Timestamp>, StoreError> {
    let longest: Option<Millis> = db
        .value(
            "WITH gone AS (DELETE FROM unified_push_revocations WHERE owner = $1 AND at <= $2
             RETURNING until) SELECT max(until) FROM gone",
            &[&owner.as_str(), &Millis(at)],
        )
        .await?;
    Ok(longest.map(|longest| longest.0))
}

async fn put(db: &Connection, revocation: &Revocation) -> Result<(), StoreError> {
    let Revocation { scope, at, until } = revocation;
    let (owner, application, instance) = scope_columns(scope);
    db.execute(
        "INSERT INTO unified_push_revocations AS known (owner, application, instance, at, until)
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (owner, application, instance) DO UPDATE
         SET at = greatest(known.at, excluded.at), until = greatest(known.until, excluded.until)",
        &[
            &owner,
            &application,
            &instance,
            &Millis(*at),
            &Millis(*until),
        ],
    )
    .await?;
    db.execute(
        "UPDATE unified_push_registrations SET revoked = true
         WHERE owner = $1 AND ($2 = ''::bytea OR (application = $2 AND instance = $3))
         AND issued <= $4 AND NOT revoked",
        &[&owner, &application, &instance, &Millis(*at)],
    )
    .await?;
    Ok(())
}

/// Deletes the messages that wait for what was revoked; how many, and how many bytes.
async fn drop_waiting(db: &Connection, revoked: &Revocation) -> Result<(u64, u64), StoreError> {
    let (owner, application, instance) = scope_columns(&revoked.scope);
    super::queue::delete(
        db,
        "account = $1 AND ($2 = ''::bytea OR (application = $2 AND instance = $3))
         AND issued <= $4",
        &[&owner, &application, &instance, &Millis(revoked.at)],
    )
    .await
}

async fn revocations(db: &Connection) -> Result<Vec<Revocation>, StoreError> {
    let sql = "SELECT owner, application, instance, at, until FROM unified_push_revocations";
    let rows = db.query(sql, &[]).await?;
    let revocations = rows.iter().map(|row| {
        Ok(Revocation {
            scope: scope(row)?,
            at: row.try_get::<_, Millis>(3)?.0,
            until: row.try_get::<_, Millis>(4)?.0,
        })
    });
    revocations.collect()
}
