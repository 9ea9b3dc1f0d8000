//! Registrations of the back end `storage`. Each function runs inside whatever transaction its
//! caller holds.

use std::sync::LazyLock;

use jid::BareJid;
use rusqlite::{Connection, Result};

use super::{
    columns::{bare_jid, count, registration},
    issuers, revocations,
    statements::Statements,
};
use crate::{
    model::{
        registration::{Registration, RegistrationKey},
        secret::KeyId,
        time::Timestamp,
    },
    store::{
        registrations::{Found, NewRegistration, Owned, Registered, TokenHash},
        rules::{self, Live, REGISTRATION, Registering, STEP},
    },
};

pub fn register(db: &Connection, new: &NewRegistration) -> Result<Registered> {
    let (key, now) = (new.registration.key(), new.registration.issued);
    let revoked = revocations::revoked_up_to(db, &key)?;
    let issued = rules::issue_time(&new.registration, revoked);
    issuers::note(db, new.key, new.live_until)?;
    let live = newest_live(db, &key, rules::renewable_after(now))?;
    let held = match live {
        Some(_) => 0,
        None => live_count(db, &key.owner, now)?,
    };
    match rules::register(new, live, held) {
        Registering::Renew(row) => renew(db, new, issued, &row),
        Registering::Make => insert(db, new, issued),
        Registering::TooMany => Ok(Registered::TooMany),
    }
}

pub fn import(db: &Connection, new: &[NewRegistration]) -> Result<usize> {
    let mut made = 0;
    for new in new {
        issuers::note(db, new.key, new.live_until)?;
        made += usize::from(make(db, new, new.registration.issued)?);
    }
    Ok(made)
}

pub fn find(db: &Connection, id: &TokenHash) -> Result<Option<Found>> {
    // Each push may ask.
    static SQL: LazyLock<String> = LazyLock::new(|| {
        format!("SELECT {REGISTRATION}, signer, revoked FROM registrations WHERE id = ?")
    });
    db.find(&SQL, [id], |row| {
        Ok(Found {
            registration: registration(row)?,
            signer: row.get(5)?,
            revoked: row.get(6)?,
        })
    })
}

pub fn longest_unrenewed(
    db: &Connection,
    owner: &BareJid,
    now: Timestamp,
) -> Result<Option<Registration>> {
    let sql = format!(
        "SELECT {REGISTRATION} FROM registrations AS this
         WHERE owner = ?1 AND expires > ?2 AND NOT revoked AND NOT EXISTS (
             SELECT 1 FROM registrations AS newer
             WHERE newer.owner = this.owner AND newer.application = this.application
                 AND newer.instance = this.instance AND newer.issued > this.issued
                 AND newer.expires > ?2 AND NOT newer.revoked)
         ORDER BY issued, rowid LIMIT 1"
    );
    db.find(&sql, (owner.as_str(), now), registration)
}

pub fn owners(db: &Connection, now: Timestamp) -> Result<Vec<Owned>> {
    db.list(
        "SELECT owner, count(*), max(issued), max(expires) FROM registrations
         WHERE expires > ? AND NOT revoked GROUP BY owner ORDER BY owner",
        [now],
        |row| {
            Ok(Owned {
                owner: bare_jid(row, 0)?,
                registrations: row.get(1)?,
                last_registered: row.get(2)?,
                latest_expiry: row.get(3)?,
            })
        },
    )
}

/// The newest registration of what this one registered, if it is newer.
pub fn renewed(db: &Connection, former: &Registration) -> Result<Option<Registration>> {
    let key = former.key();
    db.find(
        &format!(
            "SELECT {REGISTRATION} FROM registrations
             WHERE owner = ? AND application = ? AND instance = ? AND issued > ? AND NOT revoked
             ORDER BY issued DESC, rowid DESC LIMIT 1"
        ),
        (
            key.owner.as_str(),
            key.application,
            key.instance,
            former.issued,
        ),
        registration,
    )
}

/// Deletes some rows of a key; zero when none are left.
pub fn forget_step(db: &Connection, key: KeyId) -> Result<u64> {
    db.run(
        "DELETE FROM registrations
         WHERE rowid IN (SELECT rowid FROM registrations WHERE key = ? LIMIT ?)",
        (key, STEP),
    )
}

fn newest_live(db: &Connection, key: &RegistrationKey, beyond: Timestamp) -> Result<Option<Live>> {
    db.find(
        "SELECT id, key, generation, expires FROM registrations
         WHERE owner = ? AND application = ? AND instance = ? AND expires > ? AND NOT revoked
         ORDER BY issued DESC, rowid DESC LIMIT 1",
        (key.owner.as_str(), key.application, key.instance, beyond),
        |row| {
            Ok(Live {
                id: row.get(0)?,
                key: row.get(1)?,
                generation: row.get(2)?,
                expires: row.get(3)?,
            })
        },
    )
}

/// What the owner has registered, each once, even if it has rows under several keys.
fn live_count(db: &Connection, owner: &BareJid, now: Timestamp) -> Result<u64> {
    db.one(
        "SELECT count(*) FROM (SELECT DISTINCT application, instance FROM registrations
         WHERE owner = ? AND expires > ? AND NOT revoked)",
        (owner.as_str(), now),
        |row| count(row, 0),
    )
}

fn renew(
    db: &Connection,
    new: &NewRegistration,
    issued: Timestamp,
    row: &Live,
) -> Result<Registered> {
    db.run(
        "UPDATE registrations SET jid = ?, issued = ?, expires = ?, signer = ? WHERE id = ?",
        (
            new.registration.owner.as_str(),
            issued,
            row.expires,
            new.signer,
            row.id,
        ),
    )?;
    Ok(Registered::Stored {
        generation: row.generation,
        expires: row.expires,
    })
}

fn insert(db: &Connection, new: &NewRegistration, issued: Timestamp) -> Result<Registered> {
    make(db, new, issued)?;
    Ok(Registered::Stored {
        generation: new.generation,
        expires: new.registration.expires,
    })
}

/// False when there is a row of this id.
fn make(db: &Connection, new: &NewRegistration, issued: Timestamp) -> Result<bool> {
    let registration = &new.registration;
    let made = db.run(
        "INSERT INTO registrations
         (id, key, generation, owner, jid, application, instance, issued, expires, signer)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
        (
            new.id,
            new.key,
            new.generation,
            registration.owner.to_bare().as_str(),
            registration.owner.as_str(),
            registration.application,
            registration.instance,
            issued,
            registration.expires,
            new.signer,
        ),
    )?;
    Ok(made > 0)
}
