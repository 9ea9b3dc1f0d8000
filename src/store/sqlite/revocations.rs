//! What was revoked, and whether another process has revoked something.

use jid::BareJid;
use rusqlite::{Connection, Result};

use super::{
    columns::{count, scope},
    issuers, queue,
    statements::Statements,
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

pub fn revoke(
    db: &Connection,
    scope: Scope,
    at: Timestamp,
    min_until: Timestamp,
) -> Result<Revoked> {
    let latest = issuers::latest(db)?;
    let held = match &scope {
        Scope::Registration(key) => held(db, &key.owner)?,
        Scope::Owner(_) => 0,
    };
    let mut revocation = rules::widen(scope, at, min_until, latest, held);
    if let Scope::Owner(owner) = &revocation.scope
        && let Some(longest) = take_in(db, owner, at)?
    {
        revocation.until = revocation.until.max(longest);
    }
    put(db, &revocation)?;
    let dropped = queue::drop_revoked(db, &revocation)?;
    Ok(Revoked {
        revocation,
        dropped,
    })
}

pub fn all(db: &Connection) -> Result<Vec<Revocation>> {
    let sql = "SELECT owner, application, instance, at, until FROM revocations";
    db.list(sql, [], |row| {
        Ok(Revocation {
            scope: scope(row)?,
            at: row.get(3)?,
            until: row.get(4)?,
        })
    })
}

/// Another number once another connection has changed something.
pub fn changes(db: &Connection) -> Result<i64> {
    db.value("PRAGMA data_version", [])
}

/// What was issued then or before is revoked; what is issued is issued later.
pub fn revoked_up_to(db: &Connection, key: &RegistrationKey) -> Result<Option<Timestamp>> {
    db.value(
        "SELECT max(at) FROM (
             SELECT at FROM revocations WHERE owner = ?1 AND application = ?2 AND instance = ?3
             UNION ALL
             SELECT at FROM revocations WHERE owner = ?1 AND application = x'' AND instance = x'')",
        (key.owner.as_str(), key.application, key.instance),
    )
}

/// How many revocations the store holds of one account.
fn held(db: &Connection, owner: &BareJid) -> Result<u64> {
    let sql = "SELECT count(*) FROM revocations WHERE owner = ?";
    db.one(sql, [owner.as_str()], |row| count(row, 0))
}

/// Deletes the revocations that one of the whole account at this instant covers; returns until
/// when the longest was to be kept.
fn take_in(db: &Connection, owner: &BareJid, at: Timestamp) -> Result<Option<Timestamp>> {
    let sql = "DELETE FROM revocations WHERE owner = ? AND at <= ? RETURNING until";
    let untils: Vec<Timestamp> = db.list(sql, (owner.as_str(), at), |row| row.get(0))?;
    Ok(untils.into_iter().max())
}

fn put(db: &Connection, revocation: &Revocation) -> Result<()> {
    let Revocation { scope, at, until } = revocation;
    let (owner, application, instance) = scope_columns(scope);
    db.run(
        "INSERT INTO revocations (owner, application, instance, at, until) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT DO UPDATE SET at = max(at, excluded.at), until = max(until, excluded.until)",
        (owner, application, instance, at, until),
    )?;
    db.run(
        "UPDATE registrations SET revoked = 1
         WHERE owner = ?1 AND (?2 = x'' OR (application = ?2 AND instance = ?3))
         AND issued <= ?4 AND NOT revoked",
        (owner, application, instance, at),
    )?;
    db.run(
        "DELETE FROM registrations WHERE rowid IN
         (SELECT rowid FROM registrations WHERE owner = ? AND revoked
          ORDER BY issued DESC LIMIT ? OFFSET ?)",
        (owner, STEP, REVOKED_KEPT),
    )?;
    Ok(())
}
