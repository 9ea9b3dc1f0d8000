//! The secrets that issued tokens.

use super::{failure::Result, pool::Connection};
use crate::{
    model::{secret::KeyId, time::Timestamp},
    store::registrations::Issuer,
};

/// Touches the row only when it changes something: all replicas share it.
pub async fn note(db: &Connection, key: KeyId, live_until: Timestamp) -> Result<()> {
    db.run(
        "INSERT INTO unified_push_issuers AS known (key, live_until) SELECT $1, $2
         WHERE NOT EXISTS
             (SELECT FROM unified_push_issuers WHERE key = $1 AND live_until >= $2)
         ON CONFLICT (key) DO UPDATE
         SET live_until = greatest(known.live_until, excluded.live_until)",
        &[&key, &live_until],
    )
    .await?;
    Ok(())
}

pub async fn all(db: &Connection) -> Result<Vec<Issuer>> {
    // A pooler that spreads what is read over standbys leaves a volatile function to the primary, and
    // a standby may not know of an issuer yet.
    let sql = "SELECT key, live_until, pg_is_in_recovery() FROM unified_push_issuers";
    db.list(sql, &[], |row| {
        Ok(Issuer {
            key: row.try_get(0)?,
            live_until: row.try_get(1)?,
        })
    })
    .await
}

/// Until when a token of any secret may live.
pub async fn latest(db: &Connection) -> Result<Option<Timestamp>> {
    db.value("SELECT max(live_until) FROM unified_push_issuers", &[])
        .await
}

/// False when there is no such issuer.
pub async fn forget(db: &Connection, key: KeyId) -> Result<bool> {
    let sql = "DELETE FROM unified_push_issuers WHERE key = $1";
    Ok(db.run(sql, &[&key]).await? > 0)
}
