//! Making endpoints: a token of the configured back end for what a phone registers.

use std::{fmt, sync::atomic::Ordering, time::Duration};

use jid::{BareJid, Jid};

use super::{Backend, Policy, Tokens, jwt, keyring::Keyring, paseto, stored};
use crate::{
    model::{
        random::random_array,
        registration::{Digest, Registration},
        revocation::Scope,
        time::Timestamp,
        vapid::KeyHash,
    },
    store::{Generation, NewRegistration, Registered, StoreError},
};

/// How far ahead an issuer's life is recorded, so that the stateless back ends write once in so
/// long and not for each registration.
pub(super) const NOTE_AHEAD: Duration = Duration::from_secs(86400);

/// At its limit an account ends what it renewed longest ago to register something new, unless that was
/// so lately: what is registered in a rush must not displace itself.
const DISPLACED_AFTER: Duration = Duration::from_secs(86400);

#[derive(Clone, PartialEq, Eq)]
pub struct Issued {
    pub token: String,
    /// What it stands for.
    pub registration: Registration,
    /// When it expires as the phone is told, in whole seconds. It is accepted longer.
    pub told: Timestamp,
    /// Another registration of the account gave way, and so many of its messages were dropped.
    pub displaced: Option<u64>,
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum IssueError {
    #[error("the account holds as many registrations as it may")]
    TooMany,
    /// What expires could not be told.
    #[error("the system's clock is wrong")]
    ClockWrong,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Tokens {
    /// `signer` is the only key that may sign messages to the endpoint. With [`Backend::Storage`] a
    /// renewal changes it; the other tokens each keep their own.
    pub async fn issue(
        &self,
        owner: &Jid,
        application: Digest,
        instance: Digest,
        signer: Option<KeyHash>,
    ) -> Result<Issued, IssueError> {
        let clock = &self.0.clock;
        // First: it takes note when the system's clock was set.
        let wall = clock.wall().ok_or(IssueError::ClockWrong)?;
        let now = clock.now();
        let (keyring, policy) = (self.keyring(), *self.0.policy.read());
        let told = Timestamp::from_secs(wall.saturating_add(policy.ttl).as_secs());
        let registration = Registration {
            owner: owner.clone(),
            application,
            instance,
            issued: now,
            expires: clock.to_ours(told, now).saturating_add(policy.grace),
        };
        if policy.backend == Backend::Storage {
            return self
                .issue_stored(&keyring, registration, signer, policy)
                .await;
        }
        let registration = self.dated(&keyring, registration).await?;
        // These carry what the phone is told, as Prosody's do.
        let as_told = Registration {
            expires: told,
            ..registration.clone()
        };
        let token = match policy.backend {
            Backend::Jwt => jwt::sign(keyring.current(), &as_told, signer, &*self.0.random),
            _ => paseto::seal(keyring.current(), &as_told, signer),
        };
        Ok(Issued {
            token,
            registration,
            told,
            displaced: None,
        })
    }

    /// Before a stateless token is made: dates it after its revocations, and records that the
    /// secret has issued.
    async fn dated(
        &self,
        keyring: &Keyring,
        registration: Registration,
    ) -> Result<Registration, StoreError> {
        let (revocations, noted_until) = (&self.0.revocations, &keyring.noted_until);
        if registration.expires.as_millis() > noted_until.load(Ordering::Relaxed) {
            let until = registration.expires.saturating_add(NOTE_AHEAD);
            let key = keyring.current().id;
            self.0.store.note_issuer(key, until).await?;
            noted_until.fetch_max(until.as_millis(), Ordering::Relaxed);
        }
        let issued = revocations.issue_time(&registration.key(), registration.issued);
        Ok(Registration {
            issued,
            ..registration
        })
    }

    async fn issue_stored(
        &self,
        keyring: &Keyring,
        registration: Registration,
        signer: Option<KeyHash>,
        policy: Policy,
    ) -> Result<Issued, IssueError> {
        let key = keyring.current();
        let owner = registration.key();
        let generation = Generation::from_bytes(random_array(&*self.0.random));
        let live_until = registration.expires.saturating_add(NOTE_AHEAD);
        let new = NewRegistration {
            key: key.id,
            generation,
            id: stored::TokenId::new(key, &owner, &generation).hash(),
            limit: policy.registrations_per_jid,
            live_until,
            registration: registration.clone(),
            signer,
        };
        let mut displaced = None;
        let mut registered = self.0.store.register(new.clone()).await?;
        if registered == Registered::TooMany {
            displaced = self
                .make_room(owner.owner.clone(), registration.issued)
                .await?;
            if displaced.is_some() {
                registered = self.0.store.register(new).await?;
            }
        }
        match registered {
            Registered::Stored {
                generation,
                expires,
            } => {
                let token = stored::TokenId::new(key, &owner, &generation).token(key);
                let told = self.0.clock.to_wall(expires.saturating_sub(policy.grace));
                // It may be at another resource now, or have another key.
                self.0.opened.forget(&token);
                Ok(Issued {
                    token,
                    registration: Registration {
                        expires,
                        ..registration
                    },
                    told: Timestamp::from_secs(told.as_secs()),
                    displaced,
                })
            }
            Registered::TooMany => Err(IssueError::TooMany),
        }
    }

    /// Revokes what the account renewed longest ago, if it is old enough to give way, and says how many
    /// messages were dropped with it. What is renewed meanwhile lives.
    async fn make_room(&self, owner: BareJid, now: Timestamp) -> Result<Option<u64>, StoreError> {
        let found = self.0.store.longest_unrenewed(&owner, now).await?;
        let Some(oldest) = found.filter(|oldest| oldest.issued.until(now) >= DISPLACED_AFTER)
        else {
            return Ok(None);
        };
        let scope = Scope::Registration(oldest.key());
        let dropped = self.revoke(scope, oldest.issued, oldest.expires).await?;
        Ok(Some(dropped))
    }
}

/// A token is a bearer secret.
impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Issued(until {})", self.registration.expires)
    }
}
