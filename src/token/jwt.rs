//! JWT with HS256 (RFC 7519), as Prosody's mod_unified_push makes them: a moved Prosody's endpoints
//! keep working with its secret. Signed, not encrypted: whoever sees the endpoint reads the JID.
//!
//! Ours carry more than Prosody's: a random `jti`, else two registrations within a second were one
//! token and a revoked one could come back, `iat` and the key's id. Every check of a claim is left
//! to whoever opens a token.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, Header};

use super::{
    claims::{Said, Subject},
    jwt_claims::{Claims, Unverified},
    keyring::{Key, Keyring},
};
use crate::model::{
    random::{Random, random_array},
    registration::Registration,
    time::Timestamp,
    vapid::KeyHash,
};

pub(super) fn sign(
    key: &Key,
    registration: &Registration,
    signer: Option<KeyHash>,
    random: &dyn Random,
) -> String {
    let Subject {
        sub,
        application,
        instance,
    } = Subject::of(registration);
    let claims = Claims {
        sub,
        application,
        instance,
        exp: registration.expires.as_secs().into(),
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
    let token = Unverified::read(token)?;
    match &token.key {
        Some(kid) => {
            let key = keyring.get(kid.parse().ok()?)?;
            token.open(&key.jwt_verify, key.id)
        }
        None => keyring
            .all()
            .find_map(|key| token.open(&key.jwt_verify, key.id)),
    }
}

/// Exact until the year 287396.
fn seconds(time: Timestamp) -> f64 {
    time.as_millis() as f64 / 1000.0
}
