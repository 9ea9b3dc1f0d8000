//! The endpoints of other push servers, which stay valid after a move: whoever has the key that they
//! rest on can open them.
//!
//! Nothing is ever issued in these formats. A token is tried here only when it is none of ours.

pub mod issued_by_prosody;
mod key;
pub mod lua;
pub mod prosody_ids;
mod v3_local;

use std::fmt;

use pasetors::{
    Local,
    keys::SymmetricKey,
    token::UntrustedToken,
    version2::{LocalToken, V2},
};
use serde::Deserialize;
use serde_json::Number;

pub use self::key::KeyError;
use super::{
    claims::{Said, Subject, milliseconds, seconds},
    hs256::Hs256,
    jwt_claims::Unverified,
};
use crate::model::{secret::KeyId, time::Timestamp};

/// A push server whose endpoints are accepted beside ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Prosody 13's mod_unified_push, by default.
    ProsodyPaseto,
    /// The same with `unified_push_backend = "jwt"`.
    ProsodyJwt,
    /// The same with `unified_push_backend = "storage"`: these are in the store, after
    /// `unified-push import`.
    ProsodyStorage,
    /// The server of Conversations' author.
    Up,
    /// ejabberd-contrib's mod_unified_push.
    Ejabberd,
}

impl Peer {
    /// Those whose keys can be configured.
    pub const WITH_KEY: [Self; 4] = [
        Self::ProsodyPaseto,
        Self::ProsodyJwt,
        Self::Up,
        Self::Ejabberd,
    ];
}

/// As in the configuration.
impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ProsodyPaseto => "prosody-paseto",
            Self::ProsodyJwt => "prosody-jwt",
            Self::ProsodyStorage => "prosody-storage",
            Self::Up => "up",
            Self::Ejabberd => "ejabberd",
        })
    }
}

/// A key of a peer, which opens what that peer has issued.
#[derive(Clone)]
pub struct Import {
    pub(super) id: KeyId,
    key: Key,
    is_strong: bool,
}

#[derive(Clone)]
enum Key {
    ProsodyPaseto(v3_local::Key),
    ProsodyJwt(Hs256),
    Up(SymmetricKey<V2>),
    Ejabberd(Hs256),
}

impl Import {
    /// The key as the peer writes it, or the file that the peer keeps it in.
    pub fn new(peer: Peer, written: &[u8]) -> Result<Self, KeyError> {
        let secret = key::read(peer, written)?;
        let bytes = secret.as_bytes();
        let key = match peer {
            Peer::ProsodyPaseto => Key::ProsodyPaseto(v3_local::Key(key::exactly_32(bytes)?)),
            Peer::ProsodyJwt => Key::ProsodyJwt(Hs256::from_secret(bytes)),
            Peer::Up => Key::Up(SymmetricKey::from(bytes).map_err(|_| KeyError::Length)?),
            Peer::Ejabberd => Key::Ejabberd(Hs256::from_secret(bytes)),
            Peer::ProsodyStorage => return Err(KeyError::None),
        };
        Ok(Self {
            id: secret.id(),
            is_strong: secret.is_strong(),
            key,
        })
    }

    /// Long enough that nobody finds it out from a token.
    pub fn is_strong(&self) -> bool {
        self.is_strong
    }

    pub fn peer(&self) -> Peer {
        match self.key {
            Key::ProsodyPaseto(_) => Peer::ProsodyPaseto,
            Key::ProsodyJwt(_) => Peer::ProsodyJwt,
            Key::Up(_) => Peer::Up,
            Key::Ejabberd(_) => Peer::Ejabberd,
        }
    }

    /// None unless this key made it, for an endpoint.
    pub(super) fn open(&self, token: &str) -> Option<Said> {
        match &self.key {
            Key::ProsodyPaseto(key) => {
                let claims: Claims = serde_json::from_slice(&key.open(token)?).ok()?;
                claims.said(self.id, seconds)
            }
            Key::ProsodyJwt(key) => Unverified::read(token)?.open(key, self.id),
            Key::Up(key) => {
                let token = UntrustedToken::<Local, V2>::try_from(token).ok()?;
                if !token.untrusted_footer().is_empty() {
                    return None;
                }
                let opened = LocalToken::decrypt(key, &token, None).ok()?;
                let claims: Claims = serde_json::from_str(opened.payload()).ok()?;
                // Not seconds, nor the date that the standard asks for.
                claims.said(self.id, milliseconds)
            }
            Key::Ejabberd(key) => {
                let claims = Unverified::read(token)?.verify(key)?;
                let Short { o, a, i, e } = serde_json::from_str(&claims).ok()?;
                let subject = Subject::new(o, a, i);
                Claims { subject, exp: e }.said(self.id, seconds)
            }
        }
    }
}

#[derive(Deserialize)]
struct Claims {
    #[serde(flatten)]
    subject: Subject<'static>,
    exp: Number,
}

impl Claims {
    /// Without a date of issue, any revocation is later.
    fn said(self, key: KeyId, expiry: fn(&Number) -> Timestamp) -> Option<Said> {
        let issued = Timestamp::from_millis(0);
        Some(Said {
            key,
            registration: self.subject.into_registration(issued, expiry(&self.exp))?,
            signer: None,
        })
    }
}

/// ejabberd's names for owner, application, instance and expiry.
#[derive(Deserialize)]
struct Short {
    o: String,
    a: String,
    i: String,
    e: Number,
}

impl fmt::Debug for Import {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Import({}, {})", self.peer(), self.id)
    }
}
