//! A message comes in: what it replaces, who gives way to it, and whether it fits.

use rusqlite::{Connection, Result, Row};

use super::{columns::count, queue, registrations, revocations, statements::Statements};
use crate::{
    model::{
        registration::{Registration, RegistrationKey},
        time::Timestamp,
    },
    store::{
        messages::{Caps, Enqueued, NewMessage},
        rules::{self, Leaving, Living, Room},
    },
};

/// Writes nothing unless it stores the message.
pub fn enqueue(
    db: &Connection,
    message: &NewMessage,
    caps: Caps,
    now: Timestamp,
) -> Result<Enqueued> {
    let (former, key) = (&message.registration, message.registration.key());
    let renewed = registrations::renewed(db, former)?;
    let registration = renewed.as_ref().unwrap_or(former);
    if rules::is_revoked(registration, revocations::revoked_up_to(db, &key)?) {
        return Ok(Enqueued::Revoked);
    }
    let room = match make_room(db, &key, message, caps, now)? {
        Ok(room) => room,
        Err(refused) => return Ok(refused),
    };
    let (_, waiting) = queue::totals(db)?;
    if !room.fits(message, waiting, caps) {
        return Ok(Enqueued::Full);
    }
    for row in &room.leaving {
        db.run("DELETE FROM queue WHERE seq = ?", [row.number])?;
    }
    insert(db, message, registration)?;
    Ok(room.stored(renewed.map(|renewed| renewed.owner)))
}

/// What [`leaving`] reads, in this order.
const LEAVING: &str = "seq, urgency, arrived, length(payload)";

fn leaving(row: &Row<'_>) -> Result<Leaving> {
    Ok(Leaving {
        number: row.get(0)?,
        urgency: row.get(1)?,
        arrived: row.get(2)?,
        size: rules::size(count(row, 3)?),
    })
}

/// What has to leave first, or why the message is refused.
fn make_room(
    db: &Connection,
    key: &RegistrationKey,
    message: &NewMessage,
    caps: Caps,
    now: Timestamp,
) -> Result<std::result::Result<Room, Enqueued>> {
    if let Some(topic) = &message.topic
        && let Some(earlier) = with_topic(db, key, topic.as_str())?
    {
        return Ok(rules::replace(message, earlier, now));
    }
    let living = living(db, key, now)?;
    let least = least_urgent(db, key, now, rules::excess(living, caps))?;
    Ok(rules::make_room(message, living, caps, least))
}

fn with_topic(db: &Connection, key: &RegistrationKey, topic: &str) -> Result<Option<Leaving>> {
    let sql = format!(
        "SELECT {LEAVING} FROM queue
         WHERE account = ? AND application = ? AND instance = ? AND topic = ?"
    );
    let endpoint = (key.owner.as_str(), key.application, key.instance, topic);
    db.find(&sql, endpoint, leaving)
}

fn living(db: &Connection, key: &RegistrationKey, now: Timestamp) -> Result<Living> {
    db.one(
        "SELECT count(*), count(*) FILTER (WHERE application = ? AND instance = ?)
         FROM queue WHERE account = ? AND expires > ?",
        (key.application, key.instance, key.owner.as_str(), now),
        |row| {
            Ok(Living {
                of_account: count(row, 0)?,
                of_endpoint: count(row, 1)?,
            })
        },
    )
}

/// Of the endpoint's living messages, those that give way first.
fn least_urgent(
    db: &Connection,
    key: &RegistrationKey,
    now: Timestamp,
    limit: u64,
) -> Result<Vec<Leaving>> {
    if limit == 0 {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT {LEAVING} FROM queue
         WHERE account = ? AND application = ? AND instance = ? AND expires > ?
         ORDER BY urgency, arrived, seq LIMIT ?"
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let endpoint = (
        key.owner.as_str(),
        key.application,
        key.instance,
        now,
        limit,
    );
    db.list(&sql, endpoint, leaving)
}

fn insert(db: &Connection, message: &NewMessage, registration: &Registration) -> Result<()> {
    db.run(
        "INSERT INTO queue
         (key, id, account, owner, application, instance, issued, registration_expires, topic,
          urgency, payload, arrived, expires, attempts, sent, held_until)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            message.key,
            message.id,
            registration.owner.to_bare().as_str(),
            registration.owner.as_str(),
            registration.application,
            registration.instance,
            registration.issued,
            registration.expires,
            message.topic.as_ref().map(|topic| topic.as_str()),
            message.urgency.rank(),
            message.payload.as_bytes(),
            message.arrived,
            message.expires,
            // The one attempt before it came here.
            message.sent.is_some(),
            message.sent,
            message.hold_for(&registration.owner).end(),
        ),
    )?;
    Ok(())
}
