//! JWT with HS256 (RFC 7519), as Prosody's mod_unified_push makes them: a moved Prosody's endpoints
//! keep working with its secret. Signed, not encrypted: whoever sees the endpoint reads the JID.
//!
//! Ours carry more than Prosody's: a random `jti`, else two registrations within a second were one
//! token and a revoked one could come back, `iat` and the key's id. Every check of a claim is left
//! to whoever opens a token.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    claims::{Number, Said, Subject, timestamp},
    keyring::{Key, Keyring},
};
use crate::model::{
    random::{Random, random_array},
    registration::Registration,
    secret::KeyId,
    time::Timestamp,
    vapid::{self, KeyHash},
};

#[derive(Serialize, Deserialize)]
struct Claims {
    #[serde(flatten)]
    subject: Subject,
    /// Seconds.
    exp: Number,
    /// Seconds, to the millisecond.
    #[serde(default)]
    iat: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    jti: Option<String>,
    /// The hash of the only key that may sign pushes, in base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    vapid: Option<String>,
}

pub(super) fn sign(
    key: &Key,
    registration: &Registration,
    signer: Option<KeyHash>,
    random: &dyn Random,
) -> String {
    let claims = Claims {
        subject: Subject::of(registration),
        exp: Number::Whole(registration.expires.as_secs()),
        iat: Some(seconds(registration.issued)),
        jti: Some(URL_SAFE_NO_PAD.encode(random_array::<16>(random))),
        vapid: signer.map(|key| URL_SAFE_NO_PAD.encode(key.as_bytes())),
    };
    let header = Header {
        kid: Some(key.id.to_string()),
        ..Header::new(Algorithm::HS256)
    };
    jsonwebtoken::encode(&header, &claims, &key.jwt_sign)
        .expect("strings and finite numbers serialize, and HMAC takes any key")
}

/// None unless one of our secrets signed it, with HS256.
pub(super) fn open(keyring: &Keyring, token: &str) -> Option<Said> {
    let header = jsonwebtoken::decode_header(token).ok()?;
    match header.kid {
        Some(kid) => {
            let key = keyring.get(kid.parse().ok()?)?;
            open_with(&key.jwt_verify, key.id, token)
        }
        None => keyring
            .all()
            .find_map(|key| open_with(&key.jwt_verify, key.id, token)),
    }
}

/// None unless this key signed it, with HS256. `id` is the key's.
pub(super) fn open_with(key: &DecodingKey, id: KeyId, token: &str) -> Option<Said> {
    let claims: Claims = verify(key, token)?;
    // Without a date of issue, any revocation is later.
    let issued = claims.iat.map_or(Timestamp::from_millis(0), timestamp);
    Some(Said {
        key: id,
        registration: (claims.subject).into_registration(issued, claims.exp.seconds())?,
        signer: match claims.vapid {
            None => None,
            // One that cannot be read must not open the endpoint to everybody.
            Some(hash) => Some(KeyHash::from_bytes(vapid::decode(&hash)?.try_into().ok()?)),
        },
    })
}

/// What a token says that this key signed, with HS256.
pub(super) fn verify<C: DeserializeOwned>(key: &DecodingKey, token: &str) -> Option<C> {
    let mut signature_only = Validation::new(Algorithm::HS256);
    signature_only.required_spec_claims.clear();
    signature_only.validate_exp = false;
    signature_only.validate_aud = false;
    let opened = jsonwebtoken::decode(token, key, &signature_only);
    opened.ok().map(|token| token.claims)
}

/// Exact until the year 287396.
fn seconds(time: Timestamp) -> f64 {
    time.as_millis() as f64 / 1000.0
}
