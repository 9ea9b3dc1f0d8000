//! Claims: the message that is sent next to a phone, leased so that it is sent once at a time. Each
//! function runs inside whatever transaction its caller holds.

use jid::Jid;
use rusqlite::{Connection, Result, Row};

use super::{columns::registration, statements::Statements};
use crate::{
    model::time::Timestamp,
    store::{
        messages::{Claim, Claimed},
        rules::REGISTRATION_OF_MESSAGE,
    },
};

/// Ends every claim: the daemon that made them is gone.
pub fn void_claims(db: &Connection) -> Result<()> {
    db.run(
        "UPDATE queue SET claimed_until = 0 WHERE claimed_until > 0",
        [],
    )?;
    Ok(())
}

pub fn claim(db: &Connection, owner: &Jid, now: Timestamp, lease: Timestamp) -> Result<Claim> {
    // The first condition admits the index.
    let lease_of_another = "SELECT max(claimed_until) FROM queue
         WHERE claimed_until > 0 AND owner = ?1 AND claimed_until > ?2 AND expires > ?2";
    if let Some(until) = db.value(lease_of_another, (owner.as_str(), now))? {
        return Ok(Claim::Later(until));
    }
    let claim_next = format!(
        "UPDATE queue SET attempts = min(attempts + 1, 65535), sent = ?2, claimed_until = ?3
         WHERE seq = coalesce(
             (SELECT seq FROM queue WHERE owner = ?1 AND expires > ?2 AND held_until = 0
              ORDER BY urgency DESC, arrived, seq LIMIT 1),
             (SELECT seq FROM queue WHERE owner = ?1 AND expires > ?2 AND held_until <= ?2
              ORDER BY urgency DESC, arrived, seq LIMIT 1))
         RETURNING {REGISTRATION_OF_MESSAGE}, key, payload, attempts, expires"
    );
    if let Some(claimed) = db.find(&claim_next, (owner.as_str(), now, lease), claimed)? {
        return Ok(Claim::Message(claimed));
    }
    let soonest = "SELECT min(held_until) FROM queue WHERE owner = ? AND expires > ?";
    let held: Option<Timestamp> = db.value(soonest, (owner.as_str(), now))?;
    Ok(held.map_or(Claim::Empty, Claim::Later))
}

fn claimed(row: &Row<'_>) -> Result<Claimed> {
    Ok(Claimed {
        registration: registration(row)?,
        key: row.get(5)?,
        payload: row.get(6)?,
        attempt: row.get(7)?,
        expires: row.get(8)?,
    })
}
