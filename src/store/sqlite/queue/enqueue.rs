//! A message comes in: what it replaces, who gives way to it, and whether it fits.

use rusqlite::{Connection, OptionalExtension, Row};

use super::{
    super::{
        columns::Millis,
        statements::{renewed, revoked_up_to},
    },
    totals,
};
use crate::{
    model::{
        registration::{Registration, RegistrationKey},
        time::Timestamp,
    },
    store::{Caps, Enqueued, MESSAGE_OVERHEAD, NewMessage},
};

/// Writes nothing unless it stores the message.
pub fn enqueue(
    db: &Connection,
    message: &NewMessage,
    caps: Caps,
    now: Timestamp,
) -> rusqlite::Result<Enqueued> {
    let former = &message.registration;
    let renewed = renewed(db, former)?;
    let registration = renewed.as_ref().unwrap_or(former);
    let revoked = revoked_up_to(db, &former.key())?;
    if revoked.is_some_and(|at| registration.issued <= at) {
        return Ok(Enqueued::Revoked);
    }
    let (mut stored, leaving) = make_room(db, message, caps, now)?;
    let Enqueued::Stored { redirected, .. } = &mut stored else {
        return Ok(stored);
    };
    let freed: u64 = leaving.iter().map(|row| row.size).sum();
    let (_, bytes) = totals(db)?;
    let size = MESSAGE_OVERHEAD + message.payload.len() as u64;
    if bytes.saturating_sub(freed) + size > caps.bytes {
        return Ok(Enqueued::Full);
    }
    for row in leaving {
        db.prepare_cached("DELETE FROM queue WHERE seq = ?")?
            .execute([row.seq])?;
    }
    insert(db, message, registration)?;
    *redirected = renewed.map(|renewed| renewed.owner);
    Ok(stored)
}

/// A row that is to make room for a new one.
struct Leaving {
    seq: i64,
    urgency: u8,
    arrived: Timestamp,
    /// As [`Caps::bytes`] counts.
    size: u64,
}

/// What [`Leaving::read`] reads.
const LEAVING: &str = "seq, urgency, arrived, length(payload)";

impl Leaving {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            seq: row.get(0)?,
            urgency: row.get(1)?,
            arrived: row.get::<_, Millis>(2)?.0,
            size: MESSAGE_OVERHEAD + u64::from(row.get::<_, u32>(3)?),
        })
    }
}

/// What to answer, but for the cap on bytes, and which rows have to leave first.
fn make_room(
    db: &Connection,
    message: &NewMessage,
    caps: Caps,
    now: Timestamp,
) -> rusqlite::Result<(Enqueued, Vec<Leaving>)> {
    let key = message.registration.key();
    if let Some(topic) = &message.topic
        && let Some(earlier) = with_topic(db, &key, topic.as_str())?
    {
        if earlier.arrived > message.arrived {
            return Ok((Enqueued::Superseded, Vec::new()));
        }
        let replaced = Enqueued::Stored {
            replaced: 1,
            evicted: 0,
            redirected: None,
        };
        return Ok((replaced, vec![earlier]));
    }
    let (of_account, of_endpoint) = live(db, &key, now)?;
    // More than one only when the cap was lowered.
    let excess = (of_endpoint + 1).saturating_sub(caps.per_endpoint);
    if excess == 0 && of_account >= caps.per_account {
        return Ok((Enqueued::AccountFull, Vec::new()));
    }
    let least = least_urgent(db, &key, now, excess)?;
    let urgency = message.urgency.rank();
    if least.len() < excess as usize || least.last().is_some_and(|row| row.urgency > urgency) {
        return Ok((Enqueued::Outranked, Vec::new()));
    }
    let stored = Enqueued::Stored {
        replaced: 0,
        evicted: excess,
        redirected: None,
    };
    Ok((stored, least))
}

fn with_topic(
    db: &Connection,
    key: &RegistrationKey,
    topic: &str,
) -> rusqlite::Result<Option<Leaving>> {
    db.prepare_cached(&format!(
        "SELECT {LEAVING} FROM queue
         WHERE account = ? AND application = ? AND instance = ? AND topic = ?"
    ))?
    .query_row(
        (
            key.owner.as_str(),
            key.application.as_bytes(),
            key.instance.as_bytes(),
            topic,
        ),
        Leaving::read,
    )
    .optional()
}

/// How many messages of the account live, and how many of these are the endpoint's.
fn live(db: &Connection, key: &RegistrationKey, now: Timestamp) -> rusqlite::Result<(u32, u32)> {
    db.prepare_cached(
        "SELECT count(*), count(*) FILTER (WHERE application = ? AND instance = ?)
         FROM queue WHERE account = ? AND expires > ?",
    )?
    .query_row(
        (
            key.application.as_bytes(),
            key.instance.as_bytes(),
            key.owner.as_str(),
            Millis(now),
        ),
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

/// Of the endpoint's living messages, those that give way first.
fn least_urgent(
    db: &Connection,
    key: &RegistrationKey,
    now: Timestamp,
    limit: u32,
) -> rusqlite::Result<Vec<Leaving>> {
    if limit == 0 {
        return Ok(Vec::new());
    }
    db.prepare_cached(&format!(
        "SELECT {LEAVING} FROM queue
         WHERE account = ? AND application = ? AND instance = ? AND expires > ?
         ORDER BY urgency, arrived, seq LIMIT ?"
    ))?
    .query_map(
        (
            key.owner.as_str(),
            key.application.as_bytes(),
            key.instance.as_bytes(),
            Millis(now),
            limit,
        ),
        Leaving::read,
    )?
    .collect()
}

fn insert(
    db: &Connection,
    message: &NewMessage,
    registration: &Registration,
) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO queue
         (key, id, account, owner, application, instance, issued, registration_expires, topic,
          urgency, payload, arrived, expires, attempts, sent, held_until)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute((
        message.key,
        message.id.as_bytes(),
        registration.owner.to_bare().as_str(),
        registration.owner.as_str(),
        registration.application.as_bytes(),
        registration.instance.as_bytes(),
        Millis(registration.issued),
        Millis(registration.expires),
        message.topic.as_ref().map(|topic| topic.as_str()),
        message.urgency.rank(),
        message.payload.as_bytes(),
        Millis(message.arrived),
        Millis(message.expires),
        // The one attempt before it came here.
        message.sent.is_some(),
        message.sent.map(Millis),
        Millis(message.hold.end()),
    ))?;
    Ok(())
}
