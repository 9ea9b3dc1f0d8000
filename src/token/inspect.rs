//! What a token says, dead or alive.

use std::sync::Arc;

use super::{
    Backend, Inner, MAX_TOKEN, Tokens,
    claims::Said,
    jwt,
    opened::{Content, Endpoint, Miss},
    paseto, stored,
};
use crate::{model::secret::KeyId, store::StoreError};

#[derive(Clone, Debug, thiserror::Error)]
pub enum InspectError {
    /// Made up, or of a secret that is gone.
    #[error("no token of ours, or of a secret that is gone")]
    Forged,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What there is to say about an authentic token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    pub backend: Backend,
    /// The secret that it rests on.
    pub key: KeyId,
    /// None: of [`Backend::Storage`], and the store has it no longer. It has expired, and nothing
    /// more is known.
    pub endpoint: Option<Endpoint>,
    /// Not accepted any more: the grace is over, too.
    pub expired: bool,
    pub revoked: bool,
}

impl Tokens {
    /// Whether one of our secrets made a token, dead or alive. Nothing is looked up.
    pub fn is_authentic(&self, token: &str) -> bool {
        if token.len() > MAX_TOKEN {
            return false;
        }
        let keyring = &*self.keyring();
        self.0.opened.get(token).is_ok()
            || match form(token) {
                Backend::Paseto => paseto::open(keyring, token).is_some(),
                Backend::Jwt => jwt::open(keyring, token).is_some(),
                Backend::Storage => stored::verify(keyring, token).is_some(),
            }
    }

    /// What a token says, dead or alive.
    pub async fn inspect(&self, token: &str) -> Result<Inspection, InspectError> {
        if token.len() > MAX_TOKEN {
            return Err(InspectError::Forged);
        }
        let opened = &self.0.opened;
        let miss = match opened.get(token) {
            Ok(content) => {
                let known = self.judge(content, false);
                if !known.revoked || known.backend != Backend::Storage {
                    return Ok(known);
                }
                // The phone may be registering anew at this moment.
                opened.forget(token)
            }
            Err(miss) => miss,
        };
        let keyring = &*self.keyring();
        let backend = form(token);
        let said = match backend {
            Backend::Paseto => paseto::open(keyring, token),
            Backend::Jwt => jwt::open(keyring, token),
            Backend::Storage => return self.look_up(token, miss).await,
        };
        let Said {
            key,
            mut registration,
            signer,
        } = said.ok_or(InspectError::Forged)?;
        let grace = self.0.policy.read().grace;
        // What its phone was told.
        let told = registration.expires;
        let told = self.0.clock.to_ours(told, registration.issued);
        registration.expires = told.saturating_add(grace);
        let content = Content {
            backend,
            key,
            endpoint: Endpoint {
                registration: Arc::new(registration),
                signer,
            },
        };
        opened.insert(token, content.clone(), miss);
        Ok(self.judge(content, false))
    }

    async fn look_up(&self, token: &str, miss: Miss) -> Result<Inspection, InspectError> {
        let Inner { opened, store, .. } = &*self.0;
        let backend = Backend::Storage;
        let (key, name) = stored::verify(&self.keyring(), token).ok_or(InspectError::Forged)?;
        let Some(row) = store.find(name.hash()).await? else {
            return Ok(Inspection {
                backend,
                key,
                endpoint: None,
                expired: true,
                revoked: false,
            });
        };
        let content = Content {
            backend,
            key,
            endpoint: Endpoint {
                registration: Arc::new(row.registration),
                signer: row.signer,
            },
        };
        // Of what another replica registers anew nobody tells.
        if !row.revoked && !store.is_shared() {
            opened.insert(token, content.clone(), miss);
        }
        Ok(self.judge(content, row.revoked))
    }

    fn judge(&self, content: Content, revoked: bool) -> Inspection {
        let Content {
            backend,
            key,
            endpoint,
        } = content;
        let registration = &endpoint.registration;
        Inspection {
            backend,
            key,
            expired: registration.expires <= self.0.clock.now(),
            revoked: revoked || self.0.revocations.contains(registration),
            endpoint: Some(endpoint),
        }
    }
}

/// Whose token it is, if it is any.
fn form(token: &str) -> Backend {
    if token.starts_with(paseto::PREFIX) {
        Backend::Paseto
    } else if token.starts_with("eyJ") && token.matches('.').count() == 2 {
        Backend::Jwt
    } else {
        Backend::Storage
    }
}
