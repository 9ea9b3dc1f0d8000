//! A message comes in: what it replaces, who gives way to it, and whether it fits.

use tokio_postgres::Row;

use super::{
    columns::{as_i64, count, owner_key},
    failure::Result,
    pool::Connection,
    queue::{alive, delete},
    registrations, revocations,
};
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

/// Writes nothing unless it stores the message; `waiting` is what waits, as [`Caps::bytes`] counts.
pub async fn enqueue(
    db: &Connection,
    message: &NewMessage,
    caps: Caps,
    now: Timestamp,
    waiting: u64,
) -> Result<Enqueued> {
    let (former, key) = (&message.registration, message.registration.key());
    let renewed = registrations::renewed(db, former).await?;
    let registration = renewed.as_ref().unwrap_or(former);
    if rules::is_revoked(registration, revocations::revoked_up_to(db, &key).await?) {
        return Ok(Enqueued::Revoked);
    }
    let room = match make_room(db, &key, message, caps, now).await? {
        Ok(room) => room,
        Err(refused) => return Ok(refused),
    };
    if !room.fits(message, waiting, caps) {
        return Ok(Enqueued::Full);
    }
    if !room.leaving.is_empty() {
        let numbers: Vec<i64> = room.leaving.iter().map(|row| row.number).collect();
        delete(db, "number = ANY($1)", &[&numbers]).await?;
    }
    insert(db, message, registration).await?;
    Ok(room.stored(renewed.map(|renewed| renewed.owner)))
}

/// What [`leaving`] reads, in this order.
const LEAVING: &str = "number, urgency, arrived, octet_length(payload)::bigint";

fn leaving(row: &Row) -> Result<Leaving> {
    Ok(Leaving {
        number: row.try_get(0)?,
        urgency: u8::try_from(row.try_get::<_, i16>(1)?).unwrap_or(u8::MAX),
        arrived: row.try_get(2)?,
        size: rules::size(count(row, 3)?),
    })
}

/// What has to leave first, or why the message is refused.
async fn make_room(
    db: &Connection,
    key: &RegistrationKey,
    message: &NewMessage,
    caps: Caps,
    now: Timestamp,
) -> Result<std::result::Result<Room, Enqueued>> {
    if let Some(topic) = &message.topic
        && let Some(earlier) = with_topic(db, key, topic.as_str()).await?
    {
        return Ok(rules::replace(message, earlier, now));
    }
    let living = living(db, key, now).await?;
    let least = least_urgent(db, key, now, rules::excess(living, caps)).await?;
    Ok(rules::make_room(message, living, caps, least))
}

async fn with_topic(
    db: &Connection,
    key: &RegistrationKey,
    topic: &str,
) -> Result<Option<Leaving>> {
    let sql = format!(
        "SELECT {LEAVING} FROM unified_push_queue
         WHERE account = $1 AND application = $2 AND instance = $3 AND topic = $4"
    );
    db.find(
        &sql,
        &[&key.owner.as_str(), &key.application, &key.instance, &topic],
        leaving,
    )
    .await
}

async fn living(db: &Connection, key: &RegistrationKey, now: Timestamp) -> Result<Living> {
    let sql = format!(
        "SELECT count(*), count(*) FILTER (WHERE application = $2 AND instance = $3)
         FROM unified_push_queue WHERE account = $1 AND {}",
        alive("$4")
    );
    db.one(
        &sql,
        &[&key.owner.as_str(), &key.application, &key.instance, &now],
        |row| {
            Ok(Living {
                of_account: count(row, 0)?,
                of_endpoint: count(row, 1)?,
            })
        },
    )
    .await
}

/// Of the endpoint's living messages, those that give way first.
async fn least_urgent(
    db: &Connection,
    key: &RegistrationKey,
    now: Timestamp,
    limit: u64,
) -> Result<Vec<Leaving>> {
    if limit == 0 {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT {LEAVING} FROM unified_push_queue
         WHERE account = $1 AND application = $2 AND instance = $3 AND {}
         ORDER BY urgency, arrived, number LIMIT $5",
        alive("$4")
    );
    let limit = as_i64(limit);
    db.list(
        &sql,
        &[
            &key.owner.as_str(),
            &key.application,
            &key.instance,
            &now,
            &limit,
        ],
        leaving,
    )
    .await
}

async fn insert(db: &Connection, message: &NewMessage, registration: &Registration) -> Result<()> {
    db.run(
        "INSERT INTO unified_push_queue
         (key, id, account, owner, application, instance, issued, registration_expires, topic,
          urgency, payload, arrived, expires, attempts, sent, held_until, owner_key)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
        &[
            &message.key,
            &message.id,
            &registration.owner.to_bare().as_str(),
            &registration.owner.as_str(),
            &registration.application,
            &registration.instance,
            &registration.issued,
            &registration.expires,
            &message.topic.as_ref().map(|topic| topic.as_str()),
            &i16::from(message.urgency.rank()),
            &message.payload.as_bytes(),
            &message.arrived,
            &message.expires,
            // The one attempt before it came here.
            &i32::from(message.sent.is_some()),
            &message.sent,
            &message.hold.end(),
            &owner_key(&registration.owner),
        ],
    )
    .await?;
    db.count(as_i64(rules::size(message.payload.len() as u64)));
    Ok(())
}
