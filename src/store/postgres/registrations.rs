//! Registrations of the back end storage, and the secrets that issued tokens.

use jid::BareJid;

use super::{
    Postgres,
    columns::{Millis, REGISTRATION, array, bare_jid, key_columns, key_id, registration},
    connect::{Connection, Parameters},
    lock_account,
    revocations::note_change,
};
use crate::{
    model::{
        registration::{Registration, RegistrationKey},
        secret::KeyId,
        time::Timestamp,
    },
    store::{
        Found, Generation, Issuer, NewRegistration, Owned, Registered, StoreError, TokenHash,
        rules::{NO_TIME_LEFT, STEP},
    },
};

impl Postgres {
    pub async fn register(&self, new: NewRegistration) -> Result<Registered, StoreError> {
        self.within(async {
            let db = self.pool.begin().await?;
            lock_account(&db, &new.registration.owner.to_bare()).await?;
            let registered = register(&db, &new).await?;
            db.commit().await?;
            Ok(registered)
        })
        .await
    }

    /// A row that another one of the same registration replaces, under another key, does not count.
    pub async fn longest_unrenewed(
        &self,
        owner: BareJid,
        now: Timestamp,
    ) -> Result<Option<Registration>, StoreError> {
        self.within(async {
            let db = self.pool.get().await?;
            let sql = format!(
                "SELECT {REGISTRATION} FROM unified_push_registrations AS this
                 WHERE owner = $1 AND expires > $2 AND NOT revoked AND NOT EXISTS (
                     SELECT 1 FROM unified_push_registrations AS newer
                     WHERE newer.owner = this.owner AND newer.application = this.application
                         AND newer.instance = this.instance AND newer.issued > this.issued
                         AND newer.expires > $2 AND NOT newer.revoked)
                 ORDER BY issued, number LIMIT 1"
            );
            let row = db.find(&sql, &[&owner.as_str(), &Millis(now)]).await?;
            db.done();
            row.map(|row| registration(&row)).transpose()
        })
        .await
    }

    pub async fn find(&self, id: TokenHash) -> Result<Option<Found>, StoreError> {
        self.within(async {
            let db = self.pool.get().await?;
            let sql = format!(
                "SELECT {REGISTRATION}, revoked FROM unified_push_registrations WHERE id = $1"
            );
            let row = db.find(&sql, &[&&id[..]]).await?;
            db.done();
            row.map(|row| {
                Ok(Found {
                    registration: registration(&row)?,
                    revoked: row.try_get(5)?,
                })
            })
            .transpose()
        })
        .await
    }

    pub async fn note_issuer(&self, key: KeyId, live_until: Timestamp) -> Result<(), StoreError> {
        self.within(async {
            let db = self.pool.get().await?;
            note_issuer(&db, key, live_until).await?;
            db.done();
            Ok(())
        })
        .await
    }

    pub async fn issuers(&self) -> Result<Vec<Issuer>, StoreError> {
        self.within(async {
            let db = self.pool.get().await?;
            let sql = "SELECT key, live_until FROM unified_push_issuers";
            let rows = db.query(sql, &[]).await?;
            db.done();
            let issuers = rows.iter().map(|row| {
                Ok(Issuer {
                    key: key_id(row, 0)?,
                    live_until: row.try_get::<_, Millis>(1)?.0,
                })
            });
            issuers.collect()
        })
        .await
    }

    pub async fn forget_key(&self, key: KeyId) -> Result<Option<usize>, StoreError> {
        let mut forgotten = 0;
        loop {
            match self.within(self.forget_step(key)).await? {
                0 => break,
                some => forgotten += some,
            }
        }
        self.within(async {
            let db = self.pool.begin().await?;
            // Last, so that a half-done work still stops the daemon from starting without the
            // secret.
            let sql = "DELETE FROM unified_push_issuers WHERE key = $1";
            let known = db.execute(sql, &[&&key.as_bytes()[..]]).await? > 0;
            note_change(&db).await?;
            db.commit().await?;
            Ok(known.then_some(usize::try_from(forgotten).unwrap_or(usize::MAX)))
        })
        .await
    }

    /// Deletes some rows of a key; zero when none are left.
    async fn forget_step(&self, key: KeyId) -> Result<u64, StoreError> {
        let db = self.pool.get().await?;
        let sql = format!(
            "DELETE FROM unified_push_registrations WHERE id IN
             (SELECT id FROM unified_push_registrations WHERE key = $1 LIMIT {STEP})"
        );
        let deleted = db.execute(&sql, &[&&key.as_bytes()[..]]).await?;
        db.done();
        Ok(deleted)
    }

    pub async fn owners(&self, now: Timestamp) -> Result<Vec<Owned>, StoreError> {
        self.at_leisure(async {
            let db = self.begin_long().await?;
            let sql = "SELECT owner, count(*), max(issued), max(expires)
                 FROM unified_push_registrations
                 WHERE expires > $1 AND NOT revoked GROUP BY owner ORDER BY owner";
            let rows = db.query(sql, &[&Millis(now)]).await?;
            db.commit().await?;
            let owners = rows.iter().map(|row| {
                Ok(Owned {
                    owner: bare_jid(row, 0)?,
                    registrations: u32::try_from(row.try_get::<_, i64>(1)?).unwrap_or(u32::MAX),
                    last_registered: row.try_get::<_, Millis>(2)?.0,
                    latest_expiry: row.try_get::<_, Millis>(3)?.0,
                })
            });
            owners.collect()
        })
        .await
    }
}

async fn register(db: &Connection, new: &NewRegistration) -> Result<Registered, StoreError> {
    let key = new.registration.key();
    let revoked = revoked_up_to(db, &key).await?;
    let issued = new.registration.issued;
    let issued = revoked.map_or(issued, |at| issued.after(at));
    note_issuer(db, new.key, new.live_until).await?;
    let soon = new.registration.issued.saturating_add(NO_TIME_LEFT);
    if let Some(live) = newest_live(db, &key, soon).await? {
        if live.key != new.key {
            // It lives on beside the new one until it expires.
            return insert(db, new, issued).await;
        }
        let expires = live.expires.max(new.registration.expires);
        db.execute(
            "UPDATE unified_push_registrations SET jid = $1, issued = $2, expires = $3
             WHERE number = $4 AND id = $5",
            &[
                &new.registration.owner.as_str(),
                &Millis(issued),
                &Millis(expires),
                &live.number,
                &live.id,
            ],
        )
        .await?;
        return Ok(Registered::Stored {
            generation: live.generation,
            expires,
        });
    }
    if live_count(db, &key.owner, new.registration.issued).await? >= i64::from(new.limit) {
        return Ok(Registered::TooMany);
    }
    insert(db, new, issued).await
}

/// What was issued then or before is revoked; what is issued is issued later.
pub async fn revoked_up_to(
    db: &Connection,
    key: &RegistrationKey,
) -> Result<Option<Timestamp>, StoreError> {
    let (owner, application, instance) = key_columns(key);
    let at: Option<Millis> = db
        .value(
            "SELECT max(at) FROM unified_push_revocations WHERE owner = $1
             AND ((application = $2 AND instance = $3) OR (application = '' AND instance = ''))",
            &[&owner, &application, &instance],
        )
        .await?;
    Ok(at.map(|at| at.0))
}

/// The newest registration of what this one registered, if it is newer.
pub async fn renewed(
    db: &Connection,
    former: &Registration,
) -> Result<Option<Registration>, StoreError> {
    let key = former.key();
    let (owner, application, instance) = key_columns(&key);
    let sql = format!(
        "SELECT {REGISTRATION} FROM unified_push_registrations
         WHERE owner = $1 AND application = $2 AND instance = $3 AND issued > $4 AND NOT revoked
         ORDER BY issued DESC, number DESC LIMIT 1"
    );
    let values: Parameters<'_> = &[&owner, &application, &instance, &Millis(former.issued)];
    let row = db.find(&sql, values).await?;
    row.as_ref().map(registration).transpose()
}

struct Live {
    number: i64,
    id: Vec<u8>,
    key: KeyId,
    generation: Generation,
    expires: Timestamp,
}

async fn newest_live(
    db: &Connection,
    key: &RegistrationKey,
    beyond: Timestamp,
) -> Result<Option<Live>, StoreError> {
    let (owner, application, instance) = key_columns(key);
    let row = db
        .find(
            "SELECT number, id, key, generation, expires FROM unified_push_registrations
             WHERE owner = $1 AND application = $2 AND instance = $3 AND expires > $4
             AND NOT revoked ORDER BY issued DESC, number DESC LIMIT 1",
            &[&owner, &application, &instance, &Millis(beyond)],
        )
        .await?;
    row.map(|row| {
        Ok(Live {
            number: row.try_get(0)?,
            id: row.try_get(1)?,
            key: key_id(&row, 2)?,
            generation: array(&row, 3)?,
            expires: row.try_get::<_, Millis>(4)?.0,
        })
    })
    .transpose()
}

/// What the owner has registered, each once, even if it has rows under several keys.
async fn live_count(db: &Connection, owner: &BareJid, now: Timestamp) -> Result<i64, StoreError> {
    db.value(
        "SELECT count(*) FROM (SELECT DISTINCT application, instance
         FROM unified_push_registrations WHERE owner = $1 AND expires > $2 AND NOT revoked) AS live",
        &[&owner.as_str(), &Millis(now)],
    )
    .await
}

async fn insert(
    db: &Connection,
    new: &NewRegistration,
    issued: Timestamp,
) -> Result<Registered, StoreError> {
    let registration = &new.registration;
    db.execute(
        "INSERT INTO unified_push_registrations
         (id, key, generation, owner, jid, application, instance, issued, expires)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        &[
            &&new.id[..],
            &&new.key.as_bytes()[..],
            &&new.generation[..],
            &registration.owner.to_bare().as_str(),
            &registration.owner.as_str(),
            &&registration.application.as_bytes()[..],
            &&registration.instance.as_bytes()[..],
            &Millis(issued),
            &Millis(registration.expires),
        ],
    )
    .await?;
    Ok(Registered::Stored {
        generation: new.generation,
        expires: registration.expires,
    })
}

/// Touches the row only when it changes something: all replicas share it.
async fn note_issuer(db: &Connection, key: KeyId, live_until: Timestamp) -> Result<(), StoreError> {
    db.execute(
        "INSERT INTO unified_push_issuers AS known (key, live_until) SELECT $1, $2
         WHERE NOT EXISTS
             (SELECT FROM unified_push_issuers WHERE key = $1 AND live_until >= $2)
         ON CONFLICT (key) DO UPDATE
         SET live_until = greatest(known.live_until, excluded.live_until)",
        &[&&key.as_bytes()[..], &Millis(live_until)],
    )
    .await?;
    Ok(())
}
