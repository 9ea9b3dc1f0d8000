//! What a token says, dead or alive.

use std::sync::Arc;

use memchr::memchr_iter;

use super::{
    Backend, Format, Inner, MAX_TOKEN, Tokens,
    claims::Said,
    jwt,
    opened::{Content, Endpoint, Miss},
    paseto,
    peers::{Peer, prosody_ids},
    stored,
};
use crate::{
    model::secret::KeyId,
    store::{StoreError, TokenHash},
};

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
    pub format: Format,
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
    /// Whether one of our secrets made a token, or an imported one, dead or alive. Nothing is looked
    /// up, so that of Prosody's back end `storage` none is authentic here.
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
            || keyring.open_imported(token).is_some()
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
                if !known.revoked || known.format != Format::Own(Backend::Storage) {
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
            Backend::Storage => {
                // Boxed, since every push in flight would hold room for it.
                if let Some(row) = Box::pin(self.row(token)).await? {
                    return Box::pin(self.look_up(row, miss)).await;
                }
                None
            }
        };
        let said = said.map(|said| (Format::Own(backend), said));
        let imported = || {
            let (peer, said) = keyring.open_imported(token)?;
            Some((Format::Imported(peer), said))
        };
        let (format, said) = said.or_else(imported).ok_or(InspectError::Forged)?;
        let Said {
            key,
            mut registration,
            signer,
        } = said;
        let grace = self.0.policy.read().grace;
        // What its phone was told.
        let told = registration.expires;
        let told = self.0.clock.to_ours(told, registration.issued);
        registration.expires = told.saturating_add(grace);
        let content = Content {
            format,
            key,
            endpoint: Endpoint {
                registration: Arc::new(registration),
                signer,
            },
        };
        opened.insert(content.clone(), miss);
        Ok(self.judge(content, false))
    }

    /// Where the store has a token. None: it is none that the store may have.
    pub(super) async fn row(&self, token: &str) -> Result<Option<Row>, StoreError> {
        if let Some((key, name)) = stored::verify(&self.keyring(), token) {
            return Ok(Some(Row {
                format: Format::Own(Backend::Storage),
                key,
                id: name.hash(),
            }));
        }
        let Some(id) = prosody_ids::hash(token) else {
            return Ok(None);
        };
        let may_be = self.0.prosody_ids.may_be_known(&self.0.store).await?;
        Ok(may_be.then_some(Row {
            format: Format::Imported(Peer::ProsodyStorage),
            key: prosody_ids::KEY,
            id,
        }))
    }

    async fn look_up(&self, row: Row, miss: Miss) -> Result<Inspection, InspectError> {
        let Inner { opened, store, .. } = &*self.0;
        let Row { format, key, id } = row;
        let Some(row) = store.find(id).await? else {
            return match format {
                Format::Own(_) => Ok(Inspection {
                    format,
                    key,
                    endpoint: None,
                    expired: true,
                    revoked: false,
                }),
                // Anybody can make up such a name.
                Format::Imported(_) => Err(InspectError::Forged),
            };
        };
        let content = Content {
            format,
            key,
            endpoint: Endpoint {
                registration: Arc::new(row.registration),
                signer: row.signer,
            },
        };
        // Of what another replica registers anew nobody tells.
        if !row.revoked && !store.is_shared() {
            opened.insert(content.clone(), miss);
        }
        Ok(self.judge(content, row.revoked))
    }

    fn judge(&self, content: Content, revoked: bool) -> Inspection {
        let Content {
            format,
            key,
            endpoint,
        } = content;
        let registration = &endpoint.registration;
        Inspection {
            format,
            key,
            expired: registration.expires <= self.0.clock.now(),
            revoked: revoked || self.0.revocations.contains(registration),
            endpoint: Some(endpoint),
        }
    }
}

/// A row of the store that a token stands for.
pub(super) struct Row {
    format: Format,
    key: KeyId,
    id: TokenHash,
}

/// Whose token it is, if it is any of ours.
fn form(token: &str) -> Backend {
    if token.starts_with(paseto::PREFIX) {
        Backend::Paseto
    } else if token.starts_with("eyJ") && memchr_iter(b'.', token.as_bytes()).count() == 2 {
        Backend::Jwt
    } else {
        Backend::Storage
    }
}
