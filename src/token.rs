//! The tokens in endpoint URLs: issued by the configured back end, opened by their form.
//!
//! A token is a bearer secret: who has it may push. It is handed out once, to its phone, and never
//! shown. Opening one authenticates it first, then looks at its expiry, then at the revocations.

mod claims;
mod compact;
mod hs256;
mod inspect;
mod issue;
mod issuers;
mod jwt;
mod jwt_claims;
mod keyring;
mod length;
mod opened;
mod paseto;
mod peers;
mod proof;
mod state_secret;
mod stored;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

pub use self::{
    inspect::{InspectError, Inspection},
    issue::{IssueError, Issued},
    issuers::{IssuersError, KeyIds, check_issuers},
    keyring::Keyring,
    length::length,
    opened::Endpoint,
    peers::{
        Import, KeyError, Peer,
        prosody_ids::{DirectoryError, Stored, read as read_prosody_storage},
    },
    proof::proof,
    state_secret::{StateSecret, StateSecretError, gen_secret},
};
use self::{
    opened::Opened,
    peers::{issued_by_prosody::IssuedByProsody, prosody_ids},
};
use crate::{
    model::{
        random::Random,
        registration::{Registration, RegistrationKey},
        revocation::{Revocation, RevocationList, Scope},
        sync::Current,
        time::{Clock, Timestamp},
    },
    store::{Generation, NewRegistration, Store, StoreError},
};

/// Longer is none of ours, since an endpoint has at most 1000 bytes. Nor is it likely Prosody's.
const MAX_TOKEN: usize = 2048;

/// How long revocations are kept at least while endpoints of other servers are accepted: nobody here
/// knows how long these live, and one that has answered 404 must not come back.
const IMPORTED_LIFE: Duration = Duration::from_secs(366 * 86400);

/// How many registrations one transaction imports.
const AT_ONCE: usize = 500;

/// Which kind of token is issued. Tokens of every kind are opened whatever this says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    Paseto,
    Jwt,
    Storage,
}

/// As in the configuration.
impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Paseto => "paseto",
            Self::Jwt => "jwt",
            Self::Storage => "storage",
        })
    }
}

/// Whose form a token has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Own(Backend),
    /// Of another server, from which someone has moved here.
    Imported(Peer),
}

/// For a person.
impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own(backend) => backend.fmt(f),
            Self::Imported(peer) => write!(f, "{peer} (imported)"),
        }
    }
}

/// How tokens are issued.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    pub backend: Backend,
    /// What a phone is told.
    pub ttl: Duration,
    /// How much longer an endpoint is accepted: a phone that comes back late finds its subscriptions
    /// alive, and what waits for it.
    pub grace: Duration,
    /// Where they are known, which is with [`Backend::Storage`].
    pub registrations_per_jid: u32,
}

/// Issues, opens and revokes. Cheap to clone.
#[derive(Clone)]
pub struct Tokens(Arc<Inner>);

struct Inner {
    keyring: Current<Arc<Keyring>>,
    opened: Opened,
    policy: Current<Policy>,
    prosody_ids: IssuedByProsody,
    store: Store,
    revocations: RevocationList,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

/// What became of registrations that were imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Imported {
    pub new: usize,
    /// From an earlier import.
    pub known: usize,
    /// Their grace is over, too.
    pub expired: usize,
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum OpenError {
    /// Made up, or of a secret that is gone.
    #[error("no token of ours, or of a secret that is gone")]
    Forged,
    /// Authentic, but expired or revoked.
    #[error("authentic, but expired or revoked")]
    Dead,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Tokens {
    /// Reads the revocations. See also [`check_issuers`], which is for the start of the daemon.
    pub async fn load(
        keyring: Keyring,
        policy: Policy,
        store: Store,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, StoreError> {
        let tokens = Self(Arc::new(Inner {
            keyring: Current::new(Arc::new(keyring)),
            opened: Opened::new(&*random),
            policy: Current::new(policy),
            prosody_ids: IssuedByProsody::default(),
            store,
            revocations: RevocationList::default(),
            clock,
            random,
        }));
        tokens.take_over(tokens.0.store.revocations().await?);
        Ok(tokens)
    }

    /// Issues under another secret, or otherwise, from now on, and opens what the secrets of
    /// `keyring` have issued. See also [`check_issuers`].
    pub fn reconfigure(&self, keyring: Keyring, policy: Policy) {
        self.0.keyring.set(Arc::new(keyring));
        self.0.policy.set(policy);
        // Some may be of a secret that is gone.
        self.0.opened.forget_all();
    }

    /// What a token stands for, if it lives.
    pub async fn open(&self, token: &str) -> Result<Endpoint, OpenError> {
        let Inspection {
            endpoint,
            expired,
            revoked,
            ..
        } = self.inspect(token).await.map_err(|error| match error {
            InspectError::Forged => OpenError::Forged,
            InspectError::Store(error) => OpenError::Store(error),
        })?;
        match endpoint {
            Some(endpoint) if !expired && !revoked => Ok(endpoint),
            Some(_) | None => Err(OpenError::Dead),
        }
    }

    /// Kills what was issued up to `at`, first in the store, and says how many messages were dropped
    /// with it. `min_until` is the expiry of the token at hand, or the present time.
    pub async fn revoke(
        &self,
        scope: Scope,
        at: Timestamp,
        min_until: Timestamp,
    ) -> Result<u64, StoreError> {
        let min_until = match self.keyring().has_imports() {
            true => min_until.max(self.0.clock.now().saturating_add(IMPORTED_LIFE)),
            false => min_until,
        };
        let revoked = self.0.store.revoke(scope, at, min_until).await?;
        self.0.revocations.insert(revoked.revocation);
        Ok(revoked.dropped)
    }

    /// The phone says goodbye: kills what it has registered, whatever is registered next. Says how
    /// many messages were dropped.
    pub async fn unregister(&self, key: RegistrationKey) -> Result<u64, StoreError> {
        let now = self.0.clock.now();
        let at = self.0.revocations.issue_time(&key, now);
        self.revoke(Scope::Registration(key), at, now).await
    }

    /// How many revocations are kept.
    pub fn revocations(&self) -> usize {
        self.0.revocations.count()
    }

    /// Takes over what another process, the command line's, has revoked or forgotten. To be called
    /// each second.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        if let Some(revocations) = self.0.store.revocations_if_changed().await? {
            self.keyring().noted_until.store(0, Ordering::Relaxed);
            self.0.opened.forget_all();
            self.take_over(revocations);
            self.0.prosody_ids.forget();
        }
        Ok(())
    }

    /// Takes registrations of Prosody's back end `storage` into the store; what is known stays as it
    /// is. May be repeated.
    pub async fn import(&self, found: Vec<Stored>) -> Result<Imported, StoreError> {
        let (now, grace) = (self.0.clock.now(), self.0.policy.read().grace);
        let count = found.len();
        let living = found.into_iter().filter_map(|Stored { id, registration }| {
            let told = self.0.clock.to_ours(registration.expires, now);
            let expires = told.saturating_add(grace);
            (expires > now).then(|| NewRegistration {
                registration: Registration {
                    expires,
                    ..registration
                },
                signer: None,
                key: prosody_ids::KEY,
                generation: Generation::from_bytes([0; 16]),
                id,
                limit: u32::MAX,
                live_until: expires,
            })
        });
        let living: Vec<_> = living.collect();
        let mut imported = Imported {
            new: 0,
            known: 0,
            expired: count - living.len(),
        };
        for some in living.chunks(AT_ONCE) {
            let new = self.0.store.import(some.to_vec()).await?;
            imported.new += new;
            imported.known += some.len() - new;
        }
        Ok(imported)
    }

    /// The system's clock was set: what others were told of is to be read anew.
    pub fn clock_was_set(&self) {
        self.0.opened.forget_all();
    }

    /// Forgets what has expired, and says how many messages that were. To be called now and then.
    pub async fn purge(&self) -> Result<u64, StoreError> {
        let now = self.0.clock.now();
        self.0.revocations.purge(now);
        self.0.store.purge(now).await
    }

    fn keyring(&self) -> Arc<Keyring> {
        self.0.keyring.read().clone()
    }

    fn take_over(&self, revocations: Vec<Revocation>) {
        for revocation in revocations {
            self.0.revocations.insert(revocation);
        }
    }
}

/// A part of a token, which has neither padding nor bits that are left over.
fn decode(part: &str) -> Option<Vec<u8>> {
    base64_simd::URL_SAFE_NO_PAD.decode_to_vec(part).ok()
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens")
            .field("keyring", &*self.keyring())
            .field("policy", &*self.0.policy.read())
            .finish_non_exhaustive()
    }
}
