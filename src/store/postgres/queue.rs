//! Messages while they wait: what is sent next, what becomes of it, and what there is. Each
//! function runs inside whatever transaction its caller holds.

use std::time::Duration;

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
        messages::{Claim, Claimed, MESSAGE_OVERHEAD, Waiting},
        rules::{REGISTRATION_OF_MESSAGE, STEP, scope_columns},
    },
};

/// No lease is as long.
const LONGEST_LEASE: Duration = Duration::from_secs(600);

/// A condition beside an account or a phone: the message has not expired at this value, say `$1`.
///
/// Nearly every message meets it, which PostgreSQL cannot know: it takes that for a third of them, and
/// would read the index of expiry beside the few rows that are asked for. So no index serves it.
pub fn alive(value: &str) -> String {
    format!("expires + 0 > {value}")
}

pub async fn claim(
    db: &Connection,
    owner: &Jid,
    now: Timestamp,
    lease: Timestamp,
) -> Result<Claim> {
    let owner = owner_key(owner);
    let alive = alive("$2");
    // A lease that ends later was given by a clock that has been set back since: if its daemon is gone,
    // nobody ends it. Clocks that differ by minutes are respected.
    let longest = now.saturating_add(LONGEST_LEASE);
    // The first condition admits the index.
    let lease_of_another = format!(
        "SELECT max(claimed_until) FROM unified_push_queue
         WHERE claimed_until > 0 AND owner_key = $1 AND claimed_until > $2 AND claimed_until <= $3
             AND {alive}"
    );
    let claim_next = format!(
        "UPDATE unified_push_queue
         SET attempts = least(attempts + 1, 65535), sent = $2, claimed_until = $3
         WHERE number = coalesce(
             (SELECT number FROM unified_push_queue
              WHERE owner_key = $1 AND {alive} AND held_until = 0
              ORDER BY urgency DESC, arrived, number LIMIT 1),
             (SELECT number FROM unified_push_queue
              WHERE owner_key = $1 AND {alive} AND held_until <= $2
              ORDER BY urgency DESC, arrived, number LIMIT 1))
         AND held_until <= $2
         RETURNING {REGISTRATION_OF_MESSAGE}, key, payload, attempts, expires"
    );
    let soonest =
        format!("SELECT min(held_until) FROM unified_push_queue WHERE owner_key = $1 AND {alive}");
    loop {
        if let Some(until) = db
            .value(&lease_of_another, &[&owner, &now, &longest])
            .await?
        {
            return Ok(Claim::Later(until));
        }
        let values: Parameters<'_> = &[&owner, &now, &lease];
        if let Some(claimed) = db.find(&claim_next, values, claimed).await? {
            return Ok(Claim::Message(claimed));
        }
        match db.value(&soonest, &[&owner, &now]).await? {
            None => return Ok(Claim::Empty),
            Some(until) if until > now => return Ok(Claim::Later(until)),
            // The message was acknowledged or put back at this very moment; there are others.
            Some(_) => {}
        }
    }
}

fn claimed(row: &Row) -> Result<Claimed> {
    Ok(Claimed {
        registration: registration(row)?,
        key: row.try_get(5)?,
        payload: row.try_get(6)?,
        attempt: u16::try_from(row.try_get::<_, i32>(7)?).unwrap_or(u16::MAX),
        expires: row.try_get(8)?,
    })
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

pub async fn acknowledge(db: &Connection, key: MessageKey) -> Result<bool> {
    Ok(delete(db, "key = $1", &[&key]).await? > 0)
}

pub async fn cancel(db: &Connection, id: MessageId) -> Result<bool> {
    Ok(delete(db, "id = $1", &[&id]).await? > 0)
}

pub async fn put_back(
    db: &Connection,
    key: MessageKey,
    attempt: u16,
    hold: Hold,
) -> Result<Option<Jid>> {
    db.find(
        "UPDATE unified_push_queue SET claimed_until = 0, held_until = $3
         WHERE key = $1 AND attempts = $2 RETURNING owner",
        &[&key, &i32::from(attempt), &hold.end()],
        |row| full_jid(row, 0),
    )
    .await
}

pub async fn asked(db: &Connection, key: MessageKey, attempt: u16) -> Result<Option<Registration>> {
    let sql = format!(
        "SELECT {REGISTRATION_OF_MESSAGE} FROM unified_push_queue
         WHERE key = $1 AND attempts = $2 AND sent >= issued"
    );
    db.find(&sql, &[&key, &i32::from(attempt)], registration)
        .await
}

pub async fn release(db: &Connection, owner: &Jid, since: Timestamp) -> Result<()> {
    db.run(
        "UPDATE unified_push_queue SET held_until = 0
         WHERE owner_key = $1 AND held_until <> 0 AND sent >= $2",
        &[&owner_key(owner), &since],
    )
    .await?;
    Ok(())
}

pub async fn redirect(db: &Connection, to: &Registration) -> Result<u64> {
    db.run(
        "UPDATE unified_push_queue
         SET owner = $2, issued = $5, registration_expires = $6, owner_key = $7
         WHERE account = $1 AND application = $3 AND instance = $4 AND issued <= $5",
        &[
            &to.owner.to_bare().as_str(),
            &to.owner.as_str(),
            &to.application,
            &to.instance,
            &to.issued,
            &to.expires,
            &owner_key(&to.owner),
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
        &[&after.map(owner_key).unwrap_or_default(), &i64::from(limit)],
        |row| full_jid(row, 0),
    )
    .await
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
