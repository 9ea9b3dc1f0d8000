//! Tokens of the back end `storage`: short, and opened with the help of the store.
//!
//! A token is a name of 20 bytes, 160 bits that nobody can guess, and a tag of 12 bytes that shows
//! it to be ours: a made-up token costs no look-up, and one whose row is gone is still known to
//! have been good once. The name is computed from the registration and a random generation, so
//! that the same row always gives the same URL without the URL lying in the store.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{digest, hmac};
use subtle::ConstantTimeEq;

use super::{
    decode,
    keyring::{Key, Keyring},
};
use crate::{
    model::{registration::RegistrationKey, secret::KeyId},
    store::{Generation, TokenHash},
};

const NAME: usize = 20;
const TAG: usize = 12;

/// The half of a token that names its row.
pub(super) struct TokenId([u8; NAME]);

impl TokenId {
    pub(super) fn new(key: &Key, registration: &RegistrationKey, generation: &Generation) -> Self {
        let mut mac = hmac::Context::with_key(&key.stored_name);
        // The only part of variable length comes last, so that no two inputs read alike.
        mac.update(registration.application.as_bytes());
        mac.update(registration.instance.as_bytes());
        mac.update(generation.as_bytes());
        mac.update(registration.owner.as_str().as_bytes());
        Self(first(mac.sign().as_ref()))
    }

    /// What the row is keyed by.
    pub(super) fn hash(&self) -> TokenHash {
        TokenHash::from_bytes(first(digest::digest(&digest::SHA256, &self.0).as_ref()))
    }

    pub(super) fn token(&self, key: &Key) -> String {
        let mut bytes = [0; NAME + TAG];
        bytes[..NAME].copy_from_slice(&self.0);
        bytes[NAME..].copy_from_slice(&self.tag(key));
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn tag(&self, key: &Key) -> [u8; TAG] {
        first(hmac::sign(&key.stored_tag, &self.0).as_ref())
    }
}

/// None unless one of our keys made it.
pub(super) fn verify(keyring: &Keyring, token: &str) -> Option<(KeyId, TokenId)> {
    let bytes = decode(token)?;
    let (name, tag) = bytes.split_at_checked(NAME)?;
    let name = TokenId(name.try_into().ok()?);
    let key = keyring.all().find(|key| name.tag(key).ct_eq(tag).into())?;
    Some((key.id, name))
}

fn first<const N: usize>(bytes: &[u8]) -> [u8; N] {
    *bytes.first_chunk().expect("SHA-256 gives 32 bytes")
}
