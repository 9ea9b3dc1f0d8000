//! What a JWT says (RFC 7519), ours or Prosody's, once its signature is verified.
//!
//! Its parts are read here, once each: jsonwebtoken would read the header and the claims twice, and set its
//! key up for each token.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Number;
use signature::Verifier;

use super::{
    claims::{Said, Subject, seconds, timestamp},
    decode,
    hs256::Hs256,
};
use crate::model::{
    secret::KeyId,
    time::Timestamp,
    vapid::{self, KeyHash},
};

#[derive(Serialize, Deserialize)]
pub(super) struct Claims<'a> {
    // Not one field that is flattened: serde would read them into a map first.
    #[serde(borrow)]
    pub sub: Cow<'a, str>,
    #[serde(borrow)]
    pub application: Cow<'a, str>,
    #[serde(borrow)]
    pub instance: Cow<'a, str>,
    /// Seconds.
    pub exp: Number,
    /// Seconds, to the millisecond.
    #[serde(default)]
    pub iat: Option<f64>,
    /// It makes each token another one, and says nothing.
    #[serde(skip_deserializing)]
    pub jti: Option<String>,
    /// The hash of the only key that may sign pushes, in base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vapid: Option<String>,
}

/// A JWT that says to be signed with HS256.
pub(super) struct Unverified<'a> {
    /// The key that it says to be signed by.
    pub key: Option<String>,
    /// The header and the claims, as they are signed.
    message: &'a str,
    claims: &'a str,
    signature: &'a str,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
}

impl<'a> Unverified<'a> {
    /// None when it is no JWT with HS256.
    pub fn read(token: &'a str) -> Option<Self> {
        let (message, signature) = token.rsplit_once('.')?;
        let (header, claims) = message.split_once('.')?;
        let header = text(header)?;
        let header: Header = serde_json::from_str(&header).ok()?;
        (header.alg == "HS256").then_some(Self {
            key: header.kid,
            message,
            claims,
            signature,
        })
    }

    /// What it says, as JSON, if this key signed it.
    pub fn verify(&self, key: &Hs256) -> Option<String> {
        let signature = decode(self.signature)?;
        key.verify(self.message.as_bytes(), &signature).ok()?;
        text(self.claims)
    }

    /// The same for an endpoint. `id` is the key's.
    pub fn open(&self, key: &Hs256, id: KeyId) -> Option<Said> {
        let claims = self.verify(key)?;
        let claims: Claims = serde_json::from_str(&claims).ok()?;
        let subject = Subject::new(claims.sub, claims.application, claims.instance);
        // Without a date of issue, any revocation is later.
        let issued = claims.iat.map_or(Timestamp::from_millis(0), timestamp);
        Some(Said {
            key: id,
            registration: subject.into_registration(issued, seconds(&claims.exp))?,
            signer: match claims.vapid {
                None => None,
                // One that cannot be read must not open the endpoint to everybody.
                Some(hash) => Some(KeyHash::from_bytes(vapid::decode(&hash)?.try_into().ok()?)),
            },
        })
    }
}

fn text(part: &str) -> Option<String> {
    String::from_utf8(decode(part)?).ok()
}
