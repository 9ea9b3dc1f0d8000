//! The secrets that issued tokens.

use rusqlite::{Connection, Result};

use super::statements::Statements;
use crate::{
    model::{secret::KeyId, time::Timestamp},
    store::registrations::Issuer,
};

/// Writes only when it changes something.
pub fn note(db: &Connection, key: KeyId, live_until: Timestamp) -> Result<()> {
    db.run(
        "INSERT INTO issuers (key, live_until) VALUES (?, ?)
         ON CONFLICT DO UPDATE SET live_until = excluded.live_until
         WHERE excluded.live_until > live_until",
        (key, live_until),
    )?;
    Ok(())
}

pub fn all(db: &Connection) -> Result<Vec<Issuer>> {
    db.list("SELECT key, live_until FROM issuers", [], |row| {
        Ok(Issuer {
            key: row.get(0)?,
            live_until: row.get(1)?,
        })
    })
}

/// Until when a token of any secret may live.
pub fn latest(db: &Connection) -> Result<Option<Timestamp>> {
    db.value("SELECT max(live_until) FROM issuers", [])
}

/// False when there is no such issuer.
pub fn forget(db: &Connection, key: KeyId) -> Result<bool> {
    Ok(db.run("DELETE FROM issuers WHERE key = ?", [key])? > 0)
}
