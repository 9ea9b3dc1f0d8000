//! The queue while the disk takes no writes: what would have been written about messages that wait
//! is remembered, and written when the disk is well again.
//!
//! So phones get what waits for them although the disk is full or read-only. What is remembered is
//! lost with the process, and then a message may be sent twice. None is lost: its row is deleted
//! only after its phone has it.

#[cfg(test)]
mod tests;

use std::{collections::HashMap, ops::RangeInclusive, time::Duration};

use jid::Jid;
use rusqlite::{Connection, Result, Row};

use super::{
    columns::{full_jid, registration},
    statements::Statements,
};
use crate::{
    model::{
        message::{Hold, MessageId, MessageKey},
        registration::Registration,
        time::Timestamp,
    },
    store::{
        error::{StoreError, StoreResult},
        messages::{Claim, Claimed},
        rules::{REGISTRATION_OF_MESSAGE, SET_BACK},
    },
};

/// How many messages are remembered at most, in some 10 MB. Beyond it [`StoreError::Busy`] is the
/// answer, and what has not been sent yet waits until the disk is well again.
const LIMIT: usize = 100_000;

/// What is not written yet, by message.
#[derive(Debug, Default)]
pub struct Meanwhile(HashMap<MessageKey, Change>);

#[derive(Clone, Copy, Debug)]
enum Change {
    /// Its phone has it.
    Done,
    /// It waits, and these columns of its row have changed.
    Sent(Sent),
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    attempts: u16,
    sent: Option<Timestamp>,
    claimed_until: Timestamp,
    held_until: Timestamp,
}

/// What [`waiting`] reads, in this order.
const COLUMNS: &str = "key, attempts, sent, claimed_until, held_until";

fn waiting(row: &Row<'_>) -> Result<(MessageKey, Sent)> {
    let sent = Sent {
        attempts: row.get(1)?,
        sent: row.get(2)?,
        claimed_until: row.get(3)?,
        held_until: row.get(4)?,
    };
    Ok((row.get(0)?, sent))
}

/// The methods do what the functions of the same names do in `claim` and `queue`, on what the database says
/// together with what is remembered. They only read the database.
impl Meanwhile {
    pub fn claim(
        &mut self,
        db: &Connection,
        owner: &Jid,
        now: Timestamp,
        lease: Timestamp,
    ) -> StoreResult<Claim> {
        let rows = self.rows_of(db, owner, now)?;
        let leases = rows.iter().map(|(_, row)| row.claimed_until);
        if let Some(until) = leases.max().filter(|until| *until > now) {
            return Ok(Claim::Later(until));
        }
        let never_held = |row: &Sent| row.held_until == Hold::Free.end();
        let next = rows.iter().find(|(_, row)| never_held(row));
        let next = next.or_else(|| rows.iter().find(|(_, row)| row.held_until <= now));
        let Some(&(key, row)) = next else {
            let soonest = rows.iter().map(|(_, row)| row.held_until).min();
            return Ok(soonest.map_or(Claim::Empty, Claim::Later));
        };
        let attempt = row.attempts.saturating_add(1);
        let change = Sent {
            attempts: attempt,
            sent: Some(now),
            claimed_until: lease,
            ..row
        };
        self.remember(key, Change::Sent(change))?;
        let sql =
            format!("SELECT {REGISTRATION_OF_MESSAGE}, payload, expires FROM queue WHERE key = ?");
        let claimed = db.one(&sql, [key], |row| {
            Ok(Claimed {
                registration: registration(row)?,
                key,
                payload: row.get(5)?,
                attempt,
                expires: row.get(6)?,
            })
        })?;
        Ok(Claim::Message(claimed))
    }

    pub fn acknowledge(&mut self, db: &Connection, key: MessageKey) -> StoreResult<bool> {
        let waits = self.row(db, key)?.is_some();
        if waits {
            self.remember(key, Change::Done)?;
        }
        Ok(waits)
    }

    pub fn put_back(
        &mut self,
        db: &Connection,
        key: MessageKey,
        attempt: u16,
        owner: &Jid,
        hold: Hold,
    ) -> StoreResult<Option<Jid>> {
        let Some(row) = self.latest(db, key, attempt)? else {
            return Ok(None);
        };
        let sql = "SELECT owner FROM queue WHERE key = ?";
        let Some(owner_now) = db.find(sql, [key], |row| full_jid(row, 0))? else {
            return Ok(None);
        };
        let hold = if owner_now == *owner {
            hold
        } else {
            Hold::Free
        };
        let change = Sent {
            claimed_until: Timestamp::from_millis(0),
            held_until: hold.end(),
            ..row
        };
        self.remember(key, Change::Sent(change))?;
        Ok(Some(owner_now))
    }

    pub fn asked(
        &self,
        db: &Connection,
        key: MessageKey,
        attempt: u16,
    ) -> StoreResult<Option<Registration>> {
        let Some(row) = self.latest(db, key, attempt)? else {
            return Ok(None);
        };
        let sql = format!("SELECT {REGISTRATION_OF_MESSAGE} FROM queue WHERE key = ?");
        let asked = db.find(&sql, [key], registration)?;
        Ok(asked.filter(|asked| row.sent >= Some(asked.issued)))
    }

    pub fn release(
        &mut self,
        db: &Connection,
        owner: &Jid,
        sent: &RangeInclusive<Timestamp>,
    ) -> StoreResult<()> {
        let all = Timestamp::from_millis(0);
        let set_back = sent.end().saturating_add(Duration::from_millis(SET_BACK));
        for (key, row) in self.rows_of(db, owner, all)? {
            let is_meant = |at| sent.contains(&at) || at > set_back;
            if row.held_until != Hold::Free.end() && row.sent.is_some_and(is_meant) {
                let held_until = Hold::Free.end();
                self.remember(key, Change::Sent(Sent { held_until, ..row }))?;
            }
        }
        Ok(())
    }

    pub fn is_waiting(&self, db: &Connection, id: MessageId, now: Timestamp) -> StoreResult<bool> {
        let sql = format!("SELECT {COLUMNS} FROM queue WHERE id = ? AND expires > ?");
        let row = db.find(&sql, (id, now), waiting)?;
        Ok(row.is_some_and(|row| self.with_change(row).is_some()))
    }

    /// Writes it all. It may be forgotten once that is on the disk.
    pub fn write(&self, db: &Connection) -> Result<()> {
        for (key, change) in &self.0 {
            match change {
                Change::Done => db.run("DELETE FROM queue WHERE key = ?", [key])?,
                Change::Sent(row) => db.run(
                    "UPDATE queue SET attempts = ?, sent = ?, claimed_until = ?, held_until = ?
                     WHERE key = ?",
                    (
                        row.attempts,
                        row.sent,
                        row.claimed_until,
                        row.held_until,
                        key,
                    ),
                )?,
            };
        }
        Ok(())
    }

    fn remember(&mut self, key: MessageKey, change: Change) -> StoreResult<()> {
        if self.0.len() >= LIMIT && !self.0.contains_key(&key) {
            return Err(StoreError::Busy);
        }
        self.0.insert(key, change);
        Ok(())
    }

    /// None when its phone has the message.
    fn with_change(&self, (key, written): (MessageKey, Sent)) -> Option<(MessageKey, Sent)> {
        match self.0.get(&key) {
            None => Some((key, written)),
            Some(Change::Sent(row)) => Some((key, *row)),
            Some(Change::Done) => None,
        }
    }

    fn row(&self, db: &Connection, key: MessageKey) -> Result<Option<Sent>> {
        let sql = format!("SELECT {COLUMNS} FROM queue WHERE key = ?");
        let row = db.find(&sql, [key], waiting)?;
        Ok(row
            .and_then(|row| self.with_change(row))
            .map(|(_, row)| row))
    }

    /// The row, if this attempt is its latest.
    fn latest(&self, db: &Connection, key: MessageKey, attempt: u16) -> Result<Option<Sent>> {
        let row = self.row(db, key)?;
        Ok(row.filter(|row| row.attempts == attempt))
    }

    /// What lives of this full JID's, the most urgent first, of these the oldest.
    fn rows_of(
        &self,
        db: &Connection,
        owner: &Jid,
        now: Timestamp,
    ) -> Result<Vec<(MessageKey, Sent)>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM queue WHERE owner = ? AND expires > ?
             ORDER BY urgency DESC, arrived, seq"
        );
        let rows = db.list(&sql, (owner.as_str(), now), waiting)?;
        let rows = rows.into_iter().filter_map(|row| self.with_change(row));
        Ok(rows.collect())
    }
}
