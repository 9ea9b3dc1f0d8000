//! The queue's statements. Each function runs inside whatever transaction its caller holds.

mod enqueue;
#[cfg(test)]
mod tests;

use jid::{BareJid, Jid};
use rusqlite::{Connection, OptionalExtension};

pub(super) use self::enqueue::enqueue;
use super::{
    Claim, Waiting,
    columns::{Millis, bare_jid, full_jid, payload, registration, scope_columns},
};
use crate::{
    model::{
        message::{Hold, MessageId, MessageKey},
        registration::Registration,
        revocation::Revocation,
        time::Timestamp,
    },
    store::{Claimed, rules::STEP},
};

/// What [`registration`] reads, in this order.
const REGISTRATION: &str = "owner, application, instance, issued, registration_expires";

/// Ends every claim: the daemon that made them is gone.
pub(super) fn void_claims(db: &Connection) -> rusqlite::Result<()> {
    db.execute(
        "UPDATE queue SET claimed_until = 0 WHERE claimed_until > 0",
        [],
    )?;
    Ok(())
}

pub(super) fn claim(
    db: &Connection,
    owner: &Jid,
    now: Timestamp,
    lease: Timestamp,
) -> rusqlite::Result<Claim> {
    if let Some(until) = claimed_until(db, owner, now)? {
        return Ok(Claim::Later(until));
    }
    let claimed = db
        .prepare_cached(&format!(
            "UPDATE queue SET attempts = min(attempts + 1, 65535), sent = ?2, claimed_until = ?3
             WHERE seq = coalesce(
                 (SELECT seq FROM queue WHERE owner = ?1 AND expires > ?2 AND held_until = 0
                  ORDER BY urgency DESC, arrived, seq LIMIT 1),
                 (SELECT seq FROM queue WHERE owner = ?1 AND expires > ?2 AND held_until <= ?2
                  ORDER BY urgency DESC, arrived, seq LIMIT 1))
             RETURNING {REGISTRATION}, key, payload, attempts, expires"
        ))?
        .query_row((owner.as_str(), Millis(now), Millis(lease)), |row| {
            Ok(Claimed {
                registration: registration(row)?,
                key: row.get(5)?,
                payload: payload(row, 6)?,
                attempt: row.get(7)?,
                expires: row.get::<_, Millis>(8)?.0,
            })
        })
        .optional()?;
    if let Some(claimed) = claimed {
        return Ok(Claim::Message(claimed));
    }
    let held = held_until(db, owner, now)?;
    Ok(held.map_or(Claim::Empty, Claim::Later))
}

/// When the last lease of this full JID ends, if one lasts.
fn claimed_until(
    db: &Connection,
    owner: &Jid,
    now: Timestamp,
) -> rusqlite::Result<Option<Timestamp>> {
    db.prepare_cached(
        // The first condition admits the index.
        "SELECT max(claimed_until) FROM queue
         WHERE claimed_until > 0 AND owner = ?1 AND claimed_until > ?2 AND expires > ?2",
    )?
    .query_row((owner.as_str(), Millis(now)), |row| {
        row.get::<_, Option<Millis>>(0)
    })
    .map(|until| until.map(|until| until.0))
}

/// When the first message of this full JID is no longer held.
fn held_until(db: &Connection, owner: &Jid, now: Timestamp) -> rusqlite::Result<Option<Timestamp>> {
    db.prepare_cached("SELECT min(held_until) FROM queue WHERE owner = ? AND expires > ?")?
        .query_row((owner.as_str(), Millis(now)), |row| {
            row.get::<_, Option<Millis>>(0)
        })
        .map(|until| until.map(|until| until.0))
}

pub(super) fn acknowledge(db: &Connection, key: &MessageKey) -> rusqlite::Result<bool> {
    let deleted = db
        .prepare_cached("DELETE FROM queue WHERE key = ?")?
        .execute([key])?;
    Ok(deleted > 0)
}

pub(super) fn put_back(
    db: &Connection,
    key: &MessageKey,
    attempt: u16,
    hold: Hold,
) -> rusqlite::Result<Option<Jid>> {
    db.prepare_cached(
        "UPDATE queue SET claimed_until = 0, held_until = ? WHERE key = ? AND attempts = ?
         RETURNING owner",
    )?
    .query_row((Millis(hold.end()), key, attempt), |row| full_jid(row, 0))
    .optional()
}

pub(super) fn asked(
    db: &Connection,
    key: &MessageKey,
    attempt: u16,
) -> rusqlite::Result<Option<Registration>> {
    db.prepare_cached(&format!(
        // Within one millisecond, the registration came first.
        "SELECT {REGISTRATION} FROM queue WHERE key = ? AND attempts = ? AND sent >= issued"
    ))?
    .query_row((key, attempt), registration)
    .optional()
}

pub(super) fn release(db: &Connection, owner: &Jid, since: Timestamp) -> rusqlite::Result<()> {
    db.prepare_cached(
        "UPDATE queue SET held_until = 0 WHERE owner = ? AND held_until != 0 AND sent >= ?",
    )?
    .execute((owner.as_str(), Millis(since)))?;
    Ok(())
}

pub(super) fn redirect(db: &Connection, to: &Registration) -> rusqlite::Result<u64> {
    let moved = db
        .prepare_cached(
            "UPDATE queue SET owner = ?2, issued = ?5, registration_expires = ?6
         WHERE account = ?1 AND application = ?3 AND instance = ?4 AND issued <= ?5",
        )?
        .execute((
            to.owner.to_bare().as_str(),
            to.owner.as_str(),
            to.application.as_bytes(),
            to.instance.as_bytes(),
            Millis(to.issued),
            Millis(to.expires),
        ))?;
    Ok(moved as u64)
}

pub(super) fn owners_waiting(
    db: &Connection,
    after: Option<&Jid>,
    limit: u32,
) -> rusqlite::Result<Vec<Jid>> {
    // Leaps over the rest of each; DISTINCT would read every row of the index.
    let mut next =
        db.prepare_cached("SELECT owner FROM queue WHERE owner > ? ORDER BY owner LIMIT 1")?;
    let mut owners: Vec<Jid> = Vec::new();
    while owners.len() < limit as usize {
        let last = owners.last().or(after).map_or("", |jid| jid.as_str());
        let Some(owner) = next.query_row([last], |row| full_jid(row, 0)).optional()? else {
            break;
        };
        owners.push(owner);
    }
    Ok(owners)
}

pub(super) fn is_waiting(
    db: &Connection,
    id: &MessageId,
    now: Timestamp,
) -> rusqlite::Result<bool> {
    db.prepare_cached("SELECT 1 FROM queue WHERE id = ? AND expires > ?")?
        .exists((id.as_bytes(), Millis(now)))
}

pub(super) fn cancel(db: &Connection, id: &MessageId) -> rusqlite::Result<bool> {
    let deleted = db
        .prepare_cached("DELETE FROM queue WHERE id = ?")?
        .execute([id.as_bytes()])?;
    Ok(deleted > 0)
}

/// Reads every row, which only the command line asks for.
pub(super) fn waiting(db: &Connection, now: Timestamp) -> rusqlite::Result<Vec<Waiting>> {
    db.prepare(
        "SELECT account, count(*), sum(length(payload)), min(arrived) FROM queue
         WHERE expires > ? GROUP BY account ORDER BY account",
    )?
    .query_map([Millis(now)], |row| {
        Ok(Waiting {
            owner: bare_jid(row, 0)?,
            messages: row.get(1)?,
            bytes: row.get::<_, i64>(2)?.unsigned_abs(),
            oldest: row.get::<_, Millis>(3)?.0,
        })
    })?
    .collect()
}

/// Deletes some of an account's messages; zero when none are left.
pub(super) fn drop_step(db: &Connection, owner: &BareJid) -> rusqlite::Result<usize> {
    db.prepare_cached(
        "DELETE FROM queue WHERE seq IN (SELECT seq FROM queue WHERE account = ? LIMIT ?)",
    )?
    .execute((owner.as_str(), STEP))
}

/// Deletes what waits for what was revoked; says how many messages that were.
pub(super) fn drop_revoked(db: &Connection, revocation: &Revocation) -> rusqlite::Result<u64> {
    let (owner, application, instance) = scope_columns(&revocation.scope);
    let dropped = db
        .prepare_cached(
            "DELETE FROM queue
             WHERE account = ?1 AND (?2 = x'' OR (application = ?2 AND instance = ?3))
             AND issued <= ?4",
        )?
        .execute((owner, application, instance, Millis(revocation.at)))?;
    Ok(dropped as u64)
}

/// Deletes some of what has expired; zero when nothing is left.
pub(super) fn purge_step(db: &Connection, now: Timestamp) -> rusqlite::Result<usize> {
    db.prepare_cached(
        "DELETE FROM queue WHERE seq IN (SELECT seq FROM queue WHERE expires <= ? LIMIT ?)",
    )?
    .execute((Millis(now), STEP))
}

/// How many messages there are, and what they count for of
/// [`Caps::bytes`](super::Caps::bytes).
pub(super) fn totals(db: &Connection) -> rusqlite::Result<(u64, u64)> {
    db.prepare_cached("SELECT messages, bytes FROM queue_totals")?
        .query_row([], |row| {
            let number = |index| row.get::<_, i64>(index).map(i64::unsigned_abs);
            Ok((number(0)?, number(1)?))
        })
}

/// When the first of them was stored.
pub(super) fn oldest(db: &Connection) -> rusqlite::Result<Option<Timestamp>> {
    db.prepare_cached("SELECT arrived FROM queue WHERE seq = (SELECT min(seq) FROM queue)")?
        .query_row([], |row| row.get::<_, Millis>(0))
        .optional()
        .map(|arrived| arrived.map(|arrived| arrived.0))
}
