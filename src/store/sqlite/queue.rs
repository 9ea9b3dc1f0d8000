//! Messages while they wait: what becomes of them, and what there is. Each
//! function runs inside whatever transaction its caller holds.

#[cfg(test)]
mod tests;

use std::ops::RangeInclusive;

use jid::{BareJid, Jid};
use rusqlite::{Connection, Result};

use super::{
    columns::{bare_jid, count, full_jid, registration},
    statements::Statements,
};
use crate::{
    model::{
        message::{Hold, MessageId, MessageKey},
        registration::Registration,
        revocation::Revocation,
        time::Timestamp,
    },
    store::{
        messages::{Overtaken, Waiting},
        rules::{REGISTRATION_OF_MESSAGE, SET_BACK, STEP, scope_columns},
    },
};

pub fn acknowledge(db: &Connection, key: MessageKey) -> Result<bool> {
    Ok(db.run("DELETE FROM queue WHERE key = ?", [key])? > 0)
}

pub fn cancel(db: &Connection, id: MessageId) -> Result<bool> {
    Ok(db.run("DELETE FROM queue WHERE id = ?", [id])? > 0)
}

pub fn put_back(
    db: &Connection,
    key: MessageKey,
    attempt: u16,
    owner: &Jid,
    hold: Hold,
) -> Result<Option<Jid>> {
    db.find(
        "UPDATE queue SET claimed_until = 0, held_until = CASE WHEN owner = ? THEN ? ELSE 0 END
         WHERE key = ? AND attempts = ? RETURNING owner",
        (owner.as_str(), hold.end(), key, attempt),
        |row| full_jid(row, 0),
    )
}

pub fn asked(db: &Connection, key: MessageKey, attempt: u16) -> Result<Option<Registration>> {
    let sql = format!(
        "SELECT {REGISTRATION_OF_MESSAGE} FROM queue
         WHERE key = ? AND attempts = ? AND sent >= issued"
    );
    db.find(&sql, (key, attempt), registration)
}

pub fn release(db: &Connection, owner: &Jid, sent: &RangeInclusive<Timestamp>) -> Result<()> {
    let sql = format!(
        "UPDATE queue SET held_until = 0 WHERE owner = ?1 AND held_until != 0
             AND (sent BETWEEN ?2 AND ?3 OR sent > ?3 + {SET_BACK})"
    );
    db.run(&sql, (owner.as_str(), *sent.start(), *sent.end()))?;
    Ok(())
}

pub fn overtake(db: &Connection, overtaken: &Overtaken) -> Result<u64> {
    let Overtaken {
        endpoint,
        topic,
        before,
    } = overtaken;
    db.run(
        "DELETE FROM queue
         WHERE account = ? AND application = ? AND instance = ? AND topic = ? AND arrived < ?",
        (
            endpoint.owner.as_str(),
            endpoint.application,
            endpoint.instance,
            topic.as_str(),
            before,
        ),
    )
}

pub fn redirect(db: &Connection, to: &Registration) -> Result<u64> {
    db.run(
        "UPDATE queue SET owner = ?2, issued = ?5, registration_expires = ?6,
             held_until = CASE WHEN owner = ?2 THEN held_until ELSE 0 END
         WHERE account = ?1 AND application = ?3 AND instance = ?4 AND issued <= ?5",
        (
            to.owner.to_bare().as_str(),
            to.owner.as_str(),
            to.application,
            to.instance,
            to.issued,
            to.expires,
        ),
    )
}

pub fn owners_waiting(db: &Connection, after: Option<&Jid>, limit: u32) -> Result<Vec<Jid>> {
    // Leaps over the rest of each; DISTINCT would read every row of the index.
    let next = "SELECT owner FROM queue WHERE owner > ? ORDER BY owner LIMIT 1";
    let mut owners: Vec<Jid> = Vec::new();
    while owners.len() < limit as usize {
        let last = owners.last().or(after).map_or("", |jid| jid.as_str());
        let Some(owner) = db.find(next, [last], |row| full_jid(row, 0))? else {
            break;
        };
        owners.push(owner);
    }
    Ok(owners)
}

pub fn is_waiting(db: &Connection, id: MessageId, now: Timestamp) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM queue WHERE id = ? AND expires > ?)";
    db.value(sql, (id, now))
}

/// Reads every row.
pub fn waiting(db: &Connection, now: Timestamp) -> Result<Vec<Waiting>> {
    db.list(
        "SELECT account, count(*), sum(length(payload)), min(arrived) FROM queue
         WHERE expires > ? GROUP BY account ORDER BY account",
        [now],
        |row| {
            Ok(Waiting {
                owner: bare_jid(row, 0)?,
                messages: row.get(1)?,
                bytes: count(row, 2)?,
                oldest: row.get(3)?,
            })
        },
    )
}

/// Deletes some of an account's messages; zero when none are left.
pub fn drop_step(db: &Connection, owner: &BareJid) -> Result<u64> {
    db.run(
        "DELETE FROM queue WHERE seq IN (SELECT seq FROM queue WHERE account = ? LIMIT ?)",
        (owner.as_str(), STEP),
    )
}

/// Deletes what waits for what was revoked; says how many messages that were.
pub fn drop_revoked(db: &Connection, revoked: &Revocation) -> Result<u64> {
    let (owner, application, instance) = scope_columns(&revoked.scope);
    db.run(
        "DELETE FROM queue
         WHERE account = ?1 AND (?2 = x'' OR (application = ?2 AND instance = ?3))
         AND issued <= ?4",
        (owner, application, instance, revoked.at),
    )
}

/// How many messages there are, and what they count for of
/// [`Caps::bytes`](crate::store::Caps::bytes).
pub fn totals(db: &Connection) -> Result<(u64, u64)> {
    let sql = "SELECT messages, bytes FROM queue_totals";
    db.one(sql, [], |row| Ok((count(row, 0)?, count(row, 1)?)))
}

/// When the first of them was stored.
pub fn oldest(db: &Connection) -> Result<Option<Timestamp>> {
    let sql = "SELECT arrived FROM queue WHERE seq = (SELECT min(seq) FROM queue)";
    db.find(sql, [], |row| row.get(0))
}
