//! The statements of all but the queue. Each function runs inside whatever transaction its caller
//! holds.

use jid::BareJid;
use rusqlite::{Connection, OptionalExtension};

use super::{
    Found, Generation, Issuer, NewRegistration, Owned, Registered, Revoked, TokenHash,
    columns::{Millis, REGISTRATION, bare_jid, registration, scope, scope_columns},
    queue,
};
use crate::{
    model::{
        registration::{Registration, RegistrationKey},
        revocation::{Revocation, Scope},
        secret::KeyId,
        time::Timestamp,
    },
    store::rules::{NO_TIME_LEFT, REVOCATIONS_PER_OWNER, STEP},
};

pub(super) fn register(db: &Connection, new: &NewRegistration) -> rusqlite::Result<Registered> {
    let key = new.registration.key();
    let revoked = revoked_up_to(db, &key)?;
    let issued = new.registration.issued;
    let issued = revoked.map_or(issued, |at| issued.after(at));
    note_issuer(db, new.key, new.live_until)?;
    let soon = new.registration.issued.saturating_add(NO_TIME_LEFT);
    if let Some(live) = newest_live(db, &key, soon)? {
        if live.key != new.key {
            // It lives on beside the new one until it expires.
            return insert(db, new, issued);
        }
        let expires = live.expires.max(new.registration.expires);
        db.prepare_cached(
            "UPDATE registrations SET jid = ?, issued = ?, expires = ? WHERE rowid = ?",
        )?
        .execute((
            new.registration.owner.as_str(),
            Millis(issued),
            Millis(expires),
            live.rowid,
        ))?;
        return Ok(Registered::Stored {
            generation: live.generation,
            expires,
        });
    }
    if live_count(db, &key.owner, new.registration.issued)? >= new.limit {
        return Ok(Registered::TooMany);
    }
    insert(db, new, issued)
}

/// What was issued then or before is revoked; what is issued is issued later.
pub(super) fn revoked_up_to(
    db: &Connection,
    key: &RegistrationKey,
) -> rusqlite::Result<Option<Timestamp>> {
    let mut statement = db.prepare_cached(
        "SELECT max(at) FROM (
             SELECT at FROM revocations WHERE owner = ?1 AND application = ?2 AND instance = ?3
             UNION ALL
             SELECT at FROM revocations WHERE owner = ?1 AND application = x'' AND instance = x'')",
    )?;
    let row = (
        key.owner.as_str(),
        key.application.as_bytes(),
        key.instance.as_bytes(),
    );
    let at: Option<Millis> = statement.query_row(row, |row| row.get(0))?;
    Ok(at.map(|at| at.0))
}

/// The newest registration of what this one registered, if it is newer.
pub(super) fn renewed(
    db: &Connection,
    former: &Registration,
) -> rusqlite::Result<Option<Registration>> {
    let key = former.key();
    db.prepare_cached(&format!(
        "SELECT {REGISTRATION} FROM registrations
         WHERE owner = ? AND application = ? AND instance = ? AND issued > ? AND NOT revoked
         ORDER BY issued DESC, rowid DESC LIMIT 1"
    ))?
    .query_row(
        (
            key.owner.as_str(),
            key.application.as_bytes(),
            key.instance.as_bytes(),
            Millis(former.issued),
        ),
        registration,
    )
    .optional()
}

struct Live {
    rowid: i64,
    key: KeyId,
    generation: Generation,
    expires: Timestamp,
}

fn newest_live(
    db: &Connection,
    key: &RegistrationKey,
    beyond: Timestamp,
) -> rusqlite::Result<Option<Live>> {
    db.prepare_cached(
        "SELECT rowid, key, generation, expires FROM registrations
         WHERE owner = ? AND application = ? AND instance = ? AND expires > ? AND NOT revoked
         ORDER BY issued DESC, rowid DESC LIMIT 1",
    )?
    .query_row(
        (
            key.owner.as_str(),
            key.application.as_bytes(),
            key.instance.as_bytes(),
            Millis(beyond),
        ),
        |row| {
            Ok(Live {
                rowid: row.get(0)?,
                key: row.get(1)?,
                generation: row.get(2)?,
                expires: row.get::<_, Millis>(3)?.0,
            })
        },
    )
    .optional()
}

/// What the owner has registered, each once, even if it has rows under several keys.
fn live_count(db: &Connection, owner: &BareJid, now: Timestamp) -> rusqlite::Result<u32> {
    db.prepare_cached(
        "SELECT count(*) FROM (SELECT DISTINCT application, instance FROM registrations
         WHERE owner = ? AND expires > ? AND NOT revoked)",
    )?
    .query_row((owner.as_str(), Millis(now)), |row| row.get(0))
}

/// A row that another one of the same registration replaces, under another key, does not count.
pub(super) fn longest_unrenewed(
    db: &Connection,
    owner: &BareJid,
    now: Timestamp,
) -> rusqlite::Result<Option<Registration>> {
    db.prepare_cached(&format!(
        "SELECT {REGISTRATION} FROM registrations AS this
         WHERE owner = ?1 AND expires > ?2 AND NOT revoked AND NOT EXISTS (
             SELECT 1 FROM registrations AS newer
             WHERE newer.owner = this.owner AND newer.application = this.application
                 AND newer.instance = this.instance AND newer.issued > this.issued
                 AND newer.expires > ?2 AND NOT newer.revoked)
         ORDER BY issued, rowid LIMIT 1"
    ))?
    .query_row((owner.as_str(), Millis(now)), registration)
    .optional()
}

fn insert(
    db: &Connection,
    new: &NewRegistration,
    issued: Timestamp,
) -> rusqlite::Result<Registered> {
    let registration = &new.registration;
    db.prepare_cached(
        "INSERT INTO registrations
         (id, key, generation, owner, jid, application, instance, issued, expires)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute((
        new.id,
        new.key,
        new.generation,
        registration.owner.to_bare().as_str(),
        registration.owner.as_str(),
        registration.application.as_bytes(),
        registration.instance.as_bytes(),
        Millis(issued),
        Millis(registration.expires),
    ))?;
    Ok(Registered::Stored {
        generation: new.generation,
        expires: registration.expires,
    })
}

pub(super) fn find(db: &Connection, id: &TokenHash) -> rusqlite::Result<Option<Found>> {
    db.prepare_cached(&format!(
        "SELECT {REGISTRATION}, revoked FROM registrations WHERE id = ?"
    ))?
    .query_row([id], |row| {
        Ok(Found {
            registration: registration(row)?,
            revoked: row.get(5)?,
        })
    })
    .optional()
}

pub(super) fn revoke(
    db: &Connection,
    scope: Scope,
    at: Timestamp,
    min_until: Timestamp,
) -> rusqlite::Result<Revoked> {
    let latest: Option<Millis> =
        db.query_row("SELECT max(live_until) FROM issuers", [], |row| row.get(0))?;
    let until = latest.map_or(min_until, |latest| latest.0.max(min_until));
    let mut revocation = Revocation { scope, at, until };
    if let Scope::Registration(key) = &revocation.scope
        && held(db, &key.owner)? >= REVOCATIONS_PER_OWNER
    {
        revocation.scope = Scope::Owner(key.owner.clone());
    }
    if let Scope::Owner(owner) = &revocation.scope {
        revocation.until = take_in(db, owner, at)?.map_or(until, |longest| longest.max(until));
    }
    put_revocation(db, &revocation)?;
    let dropped = queue::drop_revoked(db, &revocation)?;
    Ok(Revoked {
        revocation,
        dropped,
    })
}

/// How many revocations the store holds of one account.
fn held(db: &Connection, owner: &BareJid) -> rusqlite::Result<u32> {
    db.prepare_cached("SELECT count(*) FROM revocations WHERE owner = ?")?
        .query_row([owner.as_str()], |row| row.get(0))
}

/// Deletes the revocations that one of the whole account at this instant covers; returns until
/// when the longest was to be kept.
fn take_in(db: &Connection, owner: &BareJid, at: Timestamp) -> rusqlite::Result<Option<Timestamp>> {
    let mut delete =
        db.prepare_cached("DELETE FROM revocations WHERE owner = ? AND at <= ? RETURNING until")?;
    let untils = delete.query_map((owner.as_str(), Millis(at)), |row| row.get::<_, Millis>(0))?;
    let untils = untils.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(untils.into_iter().map(|until| until.0).max())
}

fn put_revocation(db: &Connection, revocation: &Revocation) -> rusqlite::Result<()> {
    let Revocation { scope, at, until } = revocation;
    let (owner, application, instance) = scope_columns(scope);
    db.prepare_cached(
        "INSERT INTO revocations (owner, application, instance, at, until) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT DO UPDATE SET at = max(at, excluded.at), until = max(until, excluded.until)",
    )?
    .execute((owner, application, instance, Millis(*at), Millis(*until)))?;
    db.prepare_cached(
        "UPDATE registrations SET revoked = 1
         WHERE owner = ?1 AND (?2 = x'' OR (application = ?2 AND instance = ?3))
         AND issued <= ?4 AND NOT revoked",
    )?
    .execute((owner, application, instance, Millis(*at)))?;
    Ok(())
}

pub(super) fn revocations(db: &Connection) -> rusqlite::Result<Vec<Revocation>> {
    db.prepare_cached("SELECT owner, application, instance, at, until FROM revocations")?
        .query_map([], |row| {
            Ok(Revocation {
                scope: scope(row)?,
                at: row.get::<_, Millis>(3)?.0,
                until: row.get::<_, Millis>(4)?.0,
            })
        })?
        .collect()
}

/// Writes only when it changes something.
pub(super) fn note_issuer(
    db: &Connection,
    key: KeyId,
    live_until: Timestamp,
) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO issuers (key, live_until) VALUES (?, ?)
         ON CONFLICT DO UPDATE SET live_until = excluded.live_until
         WHERE excluded.live_until > live_until",
    )?
    .execute((key, Millis(live_until)))?;
    Ok(())
}

pub(super) fn issuers(db: &Connection) -> rusqlite::Result<Vec<Issuer>> {
    db.prepare_cached("SELECT key, live_until FROM issuers")?
        .query_map([], |row| {
            Ok(Issuer {
                key: row.get(0)?,
                live_until: row.get::<_, Millis>(1)?.0,
            })
        })?
        .collect()
}

/// Deletes some rows of a key; zero when none are left.
pub(super) fn forget_step(db: &Connection, key: KeyId) -> rusqlite::Result<usize> {
    db.execute(
        "DELETE FROM registrations
         WHERE rowid IN (SELECT rowid FROM registrations WHERE key = ? LIMIT ?)",
        (key, STEP),
    )
}

/// False when there is no such issuer.
pub(super) fn forget_issuer(db: &Connection, key: KeyId) -> rusqlite::Result<bool> {
    Ok(db.execute("DELETE FROM issuers WHERE key = ?", [key])? > 0)
}

pub(super) fn owners(db: &Connection, now: Timestamp) -> rusqlite::Result<Vec<Owned>> {
    db.prepare(
        "SELECT owner, count(*), max(issued), max(expires) FROM registrations
         WHERE expires > ? AND NOT revoked GROUP BY owner ORDER BY owner",
    )?
    .query_map([Millis(now)], |row| {
        Ok(Owned {
            owner: bare_jid(row, 0)?,
            registrations: row.get(1)?,
            last_registered: row.get::<_, Millis>(2)?.0,
            latest_expiry: row.get::<_, Millis>(3)?.0,
        })
    })?
    .collect()
}

/// Writes the first page as it is.
pub(super) fn touch(db: &Connection) -> rusqlite::Result<()> {
    let version: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    db.pragma_update(None, "user_version", version)
}

/// Deletes some of what has expired; zero when nothing is left.
pub(super) fn purge_step(db: &Connection, now: Timestamp) -> rusqlite::Result<usize> {
    let mut deleted = 0;
    for (table, end) in [
        ("registrations", "expires"),
        ("revocations", "until"),
        ("issuers", "live_until"),
    ] {
        deleted += db
            .prepare_cached(&format!(
                "DELETE FROM {table}
                 WHERE rowid IN (SELECT rowid FROM {table} WHERE {end} <= ? LIMIT ?)"
            ))?
            .execute((Millis(now), STEP))?;
    }
    Ok(deleted)
}

/// Gives some free pages back to the file system; zero when there are none.
pub(super) fn shrink_step(db: &Connection) -> rusqlite::Result<usize> {
    let mut statement = db.prepare(&format!("PRAGMA incremental_vacuum({STEP})"))?;
    let mut pages = statement.query([])?;
    let mut freed = 0;
    while pages.next()?.is_some() {
        freed += 1;
    }
    Ok(freed)
}

pub(super) fn count(db: &Connection) -> rusqlite::Result<u64> {
    db.prepare_cached("SELECT count(*) FROM registrations")?
        .query_row([], |row| row.get::<_, i64>(0).map(i64::unsigned_abs))
}

/// Changes when another connection has changed something.
pub(super) fn data_version(db: &Connection) -> rusqlite::Result<i64> {
    db.prepare_cached("PRAGMA data_version")?
        .query_row([], |row| row.get(0))
}
