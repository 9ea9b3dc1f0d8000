//! Registrations of the back end `storage`. Each function runs inside whatever transaction its
//! caller holds.

use std::collections::HashMap;

use jid::BareJid;

use super::{
    columns::{bare_jid, count, registration},
    failure::Result,
    issuers,
    pool::Connection,
    revocations,
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

pub async fn register(db: &Connection, new: &NewRegistration) -> Result<Registered> {
    let (key, now) = (new.registration.key(), new.registration.issued);
    let revoked = revocations::revoked_up_to(db, &key).await?;
    let issued = rules::issue_time(&new.registration, revoked);
    issuers::note(db, new.key, new.live_until).await?;
    let live = newest_live(db, &key, rules::renewable_after(now)).await?;
    let held = match live {
        Some(_) => 0,
        None => live_count(db, &key.owner, now).await?,
    };
    match rules::register(new, live, held) {
        Registering::Renew(row) => renew(db, new, issued, &row).await,
        Registering::Make => insert(db, new, issued).await,
        Registering::TooMany => Ok(Registered::TooMany),
    }
}

pub async fn import(db: &Connection, new: &[NewRegistration]) -> Result<usize> {
    let mut made = 0;
    for new in new {
        issuers::note(db, new.key, new.live_until).await?;
        made += usize::from(make(db, new, new.registration.issued).await?);
    }
    Ok(made)
}

/// One for each, in order. That there is none is said only by a server that takes writes: a standby
/// may not have it yet.
pub async fn find(db: &Connection, ids: &[TokenHash]) -> Result<Vec<Option<Found>>> {
    let sql = format!(
        "SELECT {REGISTRATION}, signer, revoked, id FROM unified_push_registrations WHERE id = ANY($1)"
    );
    let mut rows = db.query(&*db.prepare(&sql).await?, &[&ids]).await?;
    if rows.len() < ids.len() {
        // A pooler that spreads what is read over standbys does not do so with this one, and a
        // standby refuses it.
        let sql = format!("{sql} FOR KEY SHARE");
        rows = db.query(&*db.prepare(&sql).await?, &[&ids]).await?;
    }
    let mut found = HashMap::new();
    for row in rows {
        let id: [u8; 32] = *row.try_get::<_, TokenHash>(7)?.as_bytes();
        found.insert(id, row);
    }
    let found = |id: &TokenHash| {
        let row = found.get(id.as_bytes());
        row.map(|row| {
            Ok(Found {
                registration: registration(row)?,
                signer: row.try_get(5)?,
                revoked: row.try_get(6)?,
            })
        })
        .transpose()
    };
    ids.iter().map(found).collect()
}

pub async fn longest_unrenewed(
    db: &Connection,
    owner: &BareJid,
    now: Timestamp,
) -> Result<Option<Registration>> {
    let sql = format!(
        "SELECT {REGISTRATION} FROM unified_push_registrations AS this
         WHERE owner = $1 AND expires > $2 AND NOT revoked AND NOT EXISTS (
             SELECT 1 FROM unified_push_registrations AS newer
             WHERE newer.owner = this.owner AND newer.application = this.application
                 AND newer.instance = this.instance AND newer.issued > this.issued
                 AND newer.expires > $2 AND NOT newer.revoked)
         ORDER BY issued, number LIMIT 1"
    );
    db.find(&sql, &[&owner.as_str(), &now], registration).await
}

pub async fn owners(db: &Connection, now: Timestamp) -> Result<Vec<Owned>> {
    db.list(
        "SELECT owner, count(*), max(issued), max(expires) FROM unified_push_registrations
         WHERE expires > $1 AND NOT revoked GROUP BY owner ORDER BY owner",
        &[&now],
        |row| {
            Ok(Owned {
                owner: bare_jid(row, 0)?,
                registrations: u32::try_from(count(row, 1)?).unwrap_or(u32::MAX),
                last_registered: row.try_get(2)?,
                latest_expiry: row.try_get(3)?,
            })
        },
    )
    .await
}

/// Deletes some rows of a key; zero when none are left.
pub async fn forget_step(db: &Connection, key: KeyId) -> Result<u64> {
    let sql = format!(
        "DELETE FROM unified_push_registrations WHERE id IN
         (SELECT id FROM unified_push_registrations WHERE key = $1 LIMIT {STEP})"
    );
    db.run(&sql, &[&key]).await
}

async fn newest_live(
    db: &Connection,
    key: &RegistrationKey,
    beyond: Timestamp,
) -> Result<Option<Live>> {
    db.find(
        "SELECT id, key, generation, expires FROM unified_push_registrations
         WHERE owner = $1 AND application = $2 AND instance = $3 AND expires > $4
         AND NOT revoked ORDER BY issued DESC, number DESC LIMIT 1",
        &[
            &key.owner.as_str(),
            &key.application,
            &key.instance,
            &beyond,
        ],
        |row| {
            Ok(Live {
                id: row.try_get(0)?,
                key: row.try_get(1)?,
                generation: row.try_get(2)?,
                expires: row.try_get(3)?,
            })
        },
    )
    .await
}

/// What the owner has registered, each once, even if it has rows under several keys.
async fn live_count(db: &Connection, owner: &BareJid, now: Timestamp) -> Result<u64> {
    db.one(
        "SELECT count(*) FROM (SELECT DISTINCT application, instance
         FROM unified_push_registrations WHERE owner = $1 AND expires > $2 AND NOT revoked) AS live",
        &[&owner.as_str(), &now],
        |row| count(row, 0),
    )
    .await
}

async fn renew(
    db: &Connection,
    new: &NewRegistration,
    issued: Timestamp,
    row: &Live,
) -> Result<Registered> {
    db.run(
        "UPDATE unified_push_registrations SET jid = $1, issued = $2, expires = $3, signer = $5
         WHERE id = $4",
        &[
            &new.registration.owner.as_str(),
            &issued,
            &row.expires,
            &row.id,
            &new.signer,
        ],
    )
    .await?;
    Ok(Registered::Stored {
        generation: row.generation,
        expires: row.expires,
    })
}

async fn insert(db: &Connection, new: &NewRegistration, issued: Timestamp) -> Result<Registered> {
    make(db, new, issued).await?;
    Ok(Registered::Stored {
        generation: new.generation,
        expires: new.registration.expires,
    })
}

/// False when there is a row of this id.
async fn make(db: &Connection, new: &NewRegistration, issued: Timestamp) -> Result<bool> {
    let registration = &new.registration;
    let made = db
        .run(
            "INSERT INTO unified_push_registrations
         (id, key, generation, owner, jid, application, instance, issued, expires, signer)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (id) DO NOTHING",
            &[
                &new.id,
                &new.key,
                &new.generation,
                &registration.owner.to_bare().as_str(),
                &registration.owner.as_str(),
                &registration.application,
                &registration.instance,
                &issued,
                &registration.expires,
                &new.signer,
            ],
        )
        .await?;
    Ok(made > 0)
}
