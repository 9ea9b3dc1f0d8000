//! What was revoked, and whether another replica has revoked something.

use jid::BareJid;

use super::{
    columns::{count, scope},
    failure::Result,
    issuers,
    pool::Connection,
    queue,
};
use crate::{
    model::{
        registration::RegistrationKey,
        revocation::{Revocation, Scope},
        time::Timestamp,
    },
    store::{
        registrations::Revoked,
        rules::{self, REVOKED_KEPT, STEP, scope_columns},
    },
};

pub async fn revoke(
    db: &Connection,
    scope: Scope,
    at: Timestamp,
    min_until: Timestamp,
) -> Result<Revoked> {
    let latest = issuers::latest(db).await?;
    let held = match &scope {
        Scope::Registration(key) => held(db, &key.owner).await?,
        Scope::Owner(_) => 0,
    };
    let mut revocation = rules::widen(scope, at, min_until, latest, held);
    if let Scope::Owner(owner) = &revocation.scope
        && let Some(longest) = take_in(db, owner, at).await?
    {
        revocation.until = revocation.until.max(longest);
    }
    put(db, &revocation).await?;
    let dropped = queue::drop_revoked(db, &revocation).await?;
    Ok(Revoked {
        revocation,
        dropped,
    })
}

pub async fn all(db: &Connection) -> Result<Vec<Revocation>> {
    let sql = "SELECT owner, application, instance, at, until FROM unified_push_revocations";
    db.list(sql, &[], |row| {
        Ok(Revocation {
            scope: scope(row)?,
            at: row.try_get(3)?,
            until: row.try_get(4)?,
        })
    })
    .await
}

/// How often something has changed that all replicas have in memory.
pub async fn changes(db: &Connection) -> Result<i64> {
    db.value("SELECT changes FROM unified_push_changes", &[])
        .await
}

/// The number of this change. Last in a transaction: until the commit, every other one that changes
/// something waits for this row.
pub async fn note_change(db: &Connection) -> Result<i64> {
    let sql = "UPDATE unified_push_changes SET changes = changes + 1 RETURNING changes";
    db.value(sql, &[]).await
}

/// What was issued then or before is revoked; what is issued is issued later.
pub async fn revoked_up_to(db: &Connection, key: &RegistrationKey) -> Result<Option<Timestamp>> {
    db.value(
        "SELECT max(at) FROM unified_push_revocations WHERE owner = $1
         AND ((application = $2 AND instance = $3) OR (application = '' AND instance = ''))",
        &[&key.owner.as_str(), &key.application, &key.instance],
    )
    .await
}

/// How many revocations the store holds of one account.
async fn held(db: &Connection, owner: &BareJid) -> Result<u64> {
    let sql = "SELECT count(*) FROM unified_push_revocations WHERE owner = $1";
    db.one(sql, &[&owner.as_str()], |row| count(row, 0)).await
}

/// Deletes the revocations that one of the whole account at this instant covers; returns until
/// when the longest was to be kept.
async fn take_in(db: &Connection, owner: &BareJid, at: Timestamp) -> Result<Option<Timestamp>> {
    db.value(
        "WITH gone AS (DELETE FROM unified_push_revocations WHERE owner = $1 AND at <= $2
         RETURNING until) SELECT max(until) FROM gone",
        &[&owner.as_str(), &at],
    )
    .await
}

async fn put(db: &Connection, revocation: &Revocation) -> Result<()> {
    let Revocation { scope, at, until } = revocation;
    let (owner, application, instance) = scope_columns(scope);
    db.run(
        "INSERT INTO unified_push_revocations AS known (owner, application, instance, at, until)
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (owner, application, instance) DO UPDATE
         SET at = greatest(known.at, excluded.at), until = greatest(known.until, excluded.until)",
        &[&owner, &application, &instance, at, until],
    )
    .await?;
    db.run(
        "UPDATE unified_push_registrations SET revoked = true
         WHERE owner = $1 AND ($2 = ''::bytea OR (application = $2 AND instance = $3))
         AND issued <= $4 AND NOT revoked",
        &[&owner, &application, &instance, at],
    )
    .await?;
    let sql = format!(
        "DELETE FROM unified_push_registrations WHERE id IN
         (SELECT id FROM unified_push_registrations WHERE owner = $1 AND revoked
          ORDER BY issued DESC LIMIT {STEP} OFFSET {REVOKED_KEPT})"
    );
    db.run(&sql, &[&owner]).await?;
    Ok(())
}
