//! What is said about registrations, their revocations, and the store as a whole.

use std::fmt;

use jid::BareJid;

use crate::model::{
    registration::Registration, revocation::Revocation, secret::KeyId, time::Timestamp,
    vapid::KeyHash,
};

/// Random; makes the URL of a new registration differ from any before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation([u8; 16]);

impl Generation {
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// What a registration is looked up by: a digest of its token's first half.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(redacted)")
    }
}

/// A registration as it is asked for.
#[derive(Clone)]
pub struct NewRegistration {
    /// `issued` is the present time.
    pub registration: Registration,
    /// The only key that may sign messages; a renewal replaces it, also by none.
    pub signer: Option<KeyHash>,
    /// The current secret.
    pub key: KeyId,
    /// For when a new row has to be made.
    pub generation: Generation,
    pub id: TokenHash,
    /// How many different registrations the account may hold.
    pub limit: u32,
    /// See [`Store::note_issuer`](super::Store::note_issuer).
    pub live_until: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registered {
    /// Under the generation of the row that lives already, or under the one offered.
    Stored {
        generation: Generation,
        expires: Timestamp,
    },
    TooMany,
}

/// A row. It is there until it is purged, so it may have expired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub registration: Registration,
    pub signer: Option<KeyHash>,
    pub revoked: bool,
}

/// A secret that has issued tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Issuer {
    pub key: KeyId,
    /// No token of it lives longer; may be a day too late.
    pub live_until: Timestamp,
}

/// What one account holds.
#[derive(Debug, PartialEq, Eq)]
pub struct Owned {
    pub owner: BareJid,
    pub registrations: u32,
    pub last_registered: Timestamp,
    pub latest_expiry: Timestamp,
}

/// A revocation as it was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoked {
    pub revocation: Revocation,
    /// How many messages were dropped with it.
    pub dropped: u64,
}

/// For the metrics; with what has expired but is not yet purged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    pub registrations: u64,
    /// Messages that wait for their phones.
    pub queued: u64,
    /// What they count for of [`Caps::bytes`](super::Caps::bytes).
    pub queued_bytes: u64,
    /// When the first of them was stored.
    pub oldest: Option<Timestamp>,
    /// Of the store's files, or of its tables and their indexes.
    pub bytes: u64,
}
