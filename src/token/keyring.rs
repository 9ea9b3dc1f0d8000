//! The secrets as keys: the current one issues, the previous ones still open (rotation).

use std::{fmt, sync::atomic::AtomicU64};

use jsonwebtoken::EncodingKey;
use pasetors::{keys::SymmetricKey, version4::V4};
use ring::hmac;

use super::{
    claims::Said,
    hs256::{self, Hs256},
    peers::{Import, Peer, prosody_ids},
    proof,
};
use crate::model::secret::{KeyId, Secret};

pub struct Keyring {
    current: Key,
    previous: Vec<Key>,
    imports: Vec<Import>,
    /// Until when the store knows of tokens under the current secret, in milliseconds.
    pub(super) noted_until: AtomicU64,
}

/// One secret, split by purpose.
pub(super) struct Key {
    pub id: KeyId,
    pub paseto: SymmetricKey<V4>,
    pub jwt_sign: EncodingKey,
    pub jwt_verify: Hs256,
    /// Makes the half of a storage token that names its row.
    pub stored_name: hmac::Key,
    /// Makes the half that shows that the first one is ours.
    pub stored_tag: hmac::Key,
    /// Shows to whoever knows the secret that we know it.
    pub proof: hmac::Key,
}

impl Keyring {
    pub fn new(current: &Secret, previous: &[Secret]) -> Self {
        hs256::install();
        Self {
            current: Key::new(current),
            previous: previous.iter().map(Key::new).collect(),
            imports: Vec::new(),
            noted_until: AtomicU64::new(0),
        }
    }

    /// Opens the endpoints of other servers, too.
    pub fn with_imports(self, imports: Vec<Import>) -> Self {
        Self { imports, ..self }
    }

    /// Whether the endpoints of a key can be opened.
    pub fn contains(&self, id: KeyId) -> bool {
        // For these the store is enough.
        self.get(id).is_some() || id == prosody_ids::KEY
    }

    pub(super) fn has_imports(&self) -> bool {
        !self.imports.is_empty()
    }

    /// What a token of another server says, and whose it is. None unless one of its keys made it.
    pub(super) fn open_imported(&self, token: &str) -> Option<(Peer, Said)> {
        let mut imports = self.imports.iter();
        imports.find_map(|import| Some((import.peer(), import.open(token)?)))
    }

    pub(super) fn current(&self) -> &Key {
        &self.current
    }

    pub(super) fn get(&self, id: KeyId) -> Option<&Key> {
        self.all().find(|key| key.id == id)
    }

    /// The current one first.
    pub(super) fn all(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.current).chain(&self.previous)
    }
}

impl Key {
    fn new(secret: &Secret) -> Self {
        let mac = |purpose| hmac::Key::new(hmac::HMAC_SHA256, &*secret.derive(purpose));
        let paseto = secret.derive("endpoint/paseto/v1");
        Self {
            id: secret.id(),
            paseto: SymmetricKey::from(&*paseto).expect("a v4 key has 32 bytes"),
            // As Prosody does, so that its endpoints move here with its secret.
            jwt_sign: EncodingKey::from_secret(secret.as_bytes()),
            jwt_verify: Hs256::from_secret(secret.as_bytes()),
            stored_name: mac("endpoint/storage-name/v1"),
            stored_tag: mac("endpoint/storage-tag/v1"),
            proof: proof::key(secret),
        }
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.all().map(|key| key.id))
            .entries(&self.imports)
            .finish()
    }
}
