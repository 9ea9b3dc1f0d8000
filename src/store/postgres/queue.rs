//! Messages while they wait: what becomes of them, and what there is. Each
//! function runs inside whatever transaction its caller holds.

use std::{collections::HashSet, ops::RangeInclusive};

use jid::{BareJid, Jid};
use tokio_postgres::Row;

use super::{
    columns::{as_i64, bare_jid, count, full_jid, owner_key, registration},
    failure::Result,
    pool::{Connection, Parameters},
};
use crate::{
    model::{
        message::{Hold, MessageId, MessageKey},
        registration::Registration,
        revocation::Revocation,
        time::Timestamp,
    },
    store::{
        messages::{MESSAGE_OVERHEAD, Overtaken, Waiting},
        rules::{REGISTRATION_OF_MESSAGE, SET_BACK, STEP, scope_columns},
    },
};

/// A condition beside an account or a phone: the message has not expired at this value, say `$1`.
///
/// Nearly every message meets it, which PostgreSQL cannot know: it takes that for a third of them, and
/// would read the index of expiry beside the few rows that are asked for. So no index serves it.
pub fn alive(value: &str) -> String {
    format!("expires + 0 > {value}")
}

/// Deletes messages that meet a condition.
pub const DELETE: &str = "DELETE FROM unified_push_queue WHERE {}
     RETURNING key, octet_length(payload)::bigint";

/// Takes what [`DELETE`] returned off what waits.
pub fn count_deleted(db: &Connection, gone: &[Row]) -> Result<()> {
    for row in gone {
        db.count(-as_i64(MESSAGE_OVERHEAD + count(row, 1)?));
    }
    Ok(())
}

/// Deletes messages; how many they were.
pub async fn delete(db: &Connection, condition: &str, values: Parameters<'_>) -> Result<u64> {
    let sql = format!(
        "WITH gone AS (DELETE FROM unified_push_queue WHERE {condition}
         RETURNING octet_length(payload) AS size) SELECT count(*), coalesce(sum(size), 0) FROM gone"
    );
    let gone = db.one(&sql, values, |row| Ok((count(row, 0)?, count(row, 1)?)));
    let (messages, bytes) = gone.await?;
    db.count(-as_i64(bytes + messages * MESSAGE_OVERHEAD));
    Ok(messages)
}

/// Whether each was there. A single statement, which is a transaction by itself.
pub async fn acknowledge(db: &Connection, keys: &[MessageKey]) -> Result<Vec<bool>> {
    // Locked in an order, so that no two wait for each other.
    let statement = DELETE.replace(
        "{}",
        "key = ANY (ARRAY (SELECT key FROM unified_push_queue WHERE key = ANY($1)
             ORDER BY number FOR UPDATE))",
    );
    let statement = db.prepare(&statement).await?;
    let gone = db.query(&statement, &[&keys]).await?;
    count_deleted(db, &gone)?;
    let deleted = gone.iter().map(|row| Ok(row.try_get(0)?));
    let deleted = deleted.collect::<Result<HashSet<MessageKey>>>()?;
    Ok(keys.iter().map(|key| deleted.contains(key)).collect())
}

pub async fn cancel(db: &Connection, id: MessageId) -> Result<bool> {
    Ok(delete(db, "id = $1", &[&id]).await? > 0)
}

pub async fn put_back(
    db: &Connection,
    key: MessageKey,
    attempt: u16,
    owner: &Jid,
    hold: Hold,
) -> Result<Option<Jid>> {
    let whose = db
        .find(
            "UPDATE unified_push_queue SET claimed_until = 0,
             held_until = CASE WHEN owner_key = $3 THEN $4::bigint ELSE 0 END
         WHERE key = $1 AND attempts = $2 RETURNING owner",
            &[
                &key,
                &i32::from(attempt),
                &owner_key(owner.as_str()),
                &hold.end(),
            ],
            |row| full_jid(row, 0),
        )
        .await?;
    // It may come before those that are known to be next.
    if let Some(owner) = &whose {
        db.ahead().forget(owner);
    }
    Ok(whose)
}

pub async fn asked(db: &Connection, key: MessageKey, attempt: u16) -> Result<Option<Registration>> {
    let sql = format!(
        "SELECT {REGISTRATION_OF_MESSAGE} FROM unified_push_queue
         WHERE key = $1 AND attempts = $2 AND sent >= issued"
    );
    db.find(&sql, &[&key, &i32::from(attempt)], registration)
        .await
}

/// How many were held.
pub async fn release(
    db: &Connection,
    owner: &Jid,
    sent: &RangeInclusive<Timestamp>,
) -> Result<u64> {
    let released = db
        .run(
            &format!(
                "UPDATE unified_push_queue SET held_until = 0
                 WHERE owner_key = $1 AND held_until <> 0
                     AND (sent BETWEEN $2 AND $3 OR sent > $3 + {SET_BACK})"
            ),
            &[&owner_key(owner.as_str()), sent.start(), sent.end()],
        )
        .await?;
    db.ahead().forget(owner);
    Ok(released)
}

pub async fn overtake(db: &Connection, overtaken: &Overtaken) -> Result<u64> {
    let Overtaken {
        endpoint,
        topic,
        before,
    } = overtaken;
    let account = endpoint.owner.as_str();
    delete(
        db,
        "account = $1 AND application = $2 AND instance = $3 AND topic = $4 AND arrived < $5",
        &[
            &account,
            &endpoint.application,
            &endpoint.instance,
            &topic.as_str(),
            before,
        ],
    )
    .await
}

pub async fn redirect(db: &Connection, to: &Registration) -> Result<u64> {
    db.run(
        "UPDATE unified_push_queue SET owner = $2, issued = $5, registration_expires = $6,
             owner_key = $7, place = DEFAULT,
             held_until = CASE WHEN owner_key = $7 THEN held_until ELSE 0 END
         WHERE account = $1 AND application = $3 AND instance = $4 AND issued <= $5",
        &[
            &to.owner.to_bare().as_str(),
            &to.owner.as_str(),
            &to.application,
            &to.instance,
            &to.issued,
            &to.expires,
            &owner_key(to.owner.as_str()),
        ],
    )
    .await
}

pub async fn owners_waiting(db: &Connection, after: Option<&Jid>, limit: u32) -> Result<Vec<Jid>> {
    db.list(
        // Leaps over the rest of each; DISTINCT would read every row of the index.
        "WITH RECURSIVE found AS (
             (SELECT owner_key, owner FROM unified_push_queue
              WHERE owner_key > $1 ORDER BY owner_key LIMIT 1)
             UNION ALL
             SELECT next.owner_key, next.owner FROM found, LATERAL
                 (SELECT owner_key, owner FROM unified_push_queue AS waiting
                  WHERE waiting.owner_key > found.owner_key
                  ORDER BY owner_key LIMIT 1) AS next)
         SELECT owner FROM found LIMIT $2",
        &[
            &after.map(|jid| owner_key(jid.as_str())).unwrap_or_default(),
            &i64::from(limit),
        ],
        |row| full_jid(row, 0),
    )
    .await
}

/// The number of the message that was inserted last, be it committed or not; 0 before the first.
pub async fn last_number(db: &Connection) -> Result<i64> {
    let sql = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END
         FROM unified_push_queue_number_seq";
    db.value(sql, &[]).await
}

/// Whom messages with numbers from beyond one to another wait for.
pub async fn owners_between(db: &Connection, from: i64, to: i64) -> Result<Vec<Jid>> {
    let sql = "SELECT DISTINCT owner FROM unified_push_queue
         WHERE number > $1 AND number <= $2";
    match from < to {
        true => db.list(sql, &[&from, &to], |row| full_jid(row, 0)).await,
        false => Ok(Vec::new()),
    }
}

pub async fn is_waiting(db: &Connection, id: MessageId, now: Timestamp) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT FROM unified_push_queue WHERE id = $1 AND expires > $2)";
    db.value(sql, &[&id, &now]).await
}

/// Reads every row.
pub async fn waiting(db: &Connection, now: Timestamp) -> Result<Vec<Waiting>> {
    db.list(
        "SELECT account, count(*), sum(octet_length(payload)), min(arrived)
         FROM unified_push_queue WHERE expires > $1 GROUP BY account ORDER BY account",
        &[&now],
        |row| {
            Ok(Waiting {
                owner: bare_jid(row, 0)?,
                messages: u32::try_from(count(row, 1)?).unwrap_or(u32::MAX),
                bytes: count(row, 2)?,
                oldest: row.try_get(3)?,
            })
        },
    )
    .await
}

/// Deletes some of an account's messages; zero when none are left.
pub async fn drop_step(db: &Connection, owner: &BareJid) -> Result<u64> {
    let condition = format!(
        "number IN (SELECT number FROM unified_push_queue WHERE account = $1 LIMIT {STEP})"
    );
    delete(db, &condition, &[&owner.as_str()]).await
}

/// Deletes what waits for what was revoked; says how many messages that were.
pub async fn drop_revoked(db: &Connection, revoked: &Revocation) -> Result<u64> {
    let (owner, application, instance) = scope_columns(&revoked.scope);
    delete(
        db,
        "account = $1 AND ($2 = ''::bytea OR (application = $2 AND instance = $3))
         AND issued <= $4",
        &[&owner, &application, &instance, &revoked.at],
    )
    .await
}
