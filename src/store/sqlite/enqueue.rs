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
        rules::{self, Leaving, Room, STEP, There},
    },
};

/// Says besides how many messages of the account it has deleted that had expired. Writes nothing else
/// unless it stores the message.
pub fn enqueue(
    db: &Connection,
    message: &NewMessage,
    caps: Caps,
    now: Timestamp,
) -> Result<(Enqueued, u64)> {
    let key = message.registration.key();
    let (there, swept) = sweep(db, &key, now)?;
    Ok((store(db, &key, message, there, caps, now)?, swept))
}

fn store(
    db: &Connection,
    key: &RegistrationKey,
    message: &NewMessage,
    there: There,
    caps: Caps,
    now: Timestamp,
) -> Result<Enqueued> {
    let former = &message.registration;
    let renewed = registrations::renewed(db, former)?;
    let registration = renewed.as_ref().unwrap_or(former);
    if rules::is_revoked(registration, revocations::revoked_up_to(db, key)?) {
        return Ok(Enqueued::Revoked);
    }
    let room = match make_room(db, key, message, there, caps, now)? {
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
    there: There,
    caps: Caps,
    now: Timestamp,
) -> Result<std::result::Result<Room, Enqueued>> {
    if let Some(topic) = &message.topic
        && let Some(earlier) = with_topic(db, key, topic.as_str())?
    {
        return Ok(rules::replace(message, earlier, now));
    }
    let least = least_urgent(db, key, now, rules::excess(there, caps))?;
    Ok(rules::make_room(message, there, caps, least))
}

fn with_topic(db: &Connection, key: &RegistrationKey, topic: &str) -> Result<Option<Leaving>> {
    let sql = format!(
        "SELECT {LEAVING} FROM queue
         WHERE account = ? AND application = ? AND instance = ? AND topic = ?"
    );
    let endpoint = (key.owner.as_str(), key.application, key.instance, topic);
    db.find(&sql, endpoint, leaving)
}

/// Deletes some of the account's messages that have expired; counts the others, and the deleted.
fn sweep(db: &Connection, key: &RegistrationKey, now: Timestamp) -> Result<(There, u64)> {
    let owner = key.owner.as_str();
    let (there, dead) = db.one(
        "SELECT count(*), count(*) FILTER (WHERE application = ?1 AND instance = ?2 AND expires > ?4),
             count(*) FILTER (WHERE expires <= ?4)
         FROM queue WHERE account = ?3",
        (key.application, key.instance, owner, now),
        |row| {
            let there = There {
                of_account: count(row, 0)?,
                of_endpoint: count(row, 1)?,
            };
            Ok((there, count(row, 2)?))
        },
    )?;
    if dead == 0 {
        return Ok((there, 0));
    }
    let swept = db.run(
        "DELETE FROM queue WHERE seq IN
         (SELECT seq FROM queue WHERE account = ? AND expires <= ? LIMIT ?)",
        (owner, now, STEP),
    )?;
    let of_account = there.of_account.saturating_sub(swept);
    Ok((
        There {
            of_account,
            ..there
        },
        swept,
    ))
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
