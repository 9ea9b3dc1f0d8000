//! What a JWT says (RFC 7519), ours or Prosody's, once its signature is verified.

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::claims::{Number, Said, Subject, timestamp};
use crate::model::{
    secret::KeyId,
    time::Timestamp,
    vapid::{self, KeyHash},
};

#[derive(Serialize, Deserialize)]
pub(super) struct Claims {
    #[serde(flatten)]
    pub subject: Subject,
    /// Seconds.
    pub exp: Number,
    /// Seconds, to the millisecond.
    #[serde(default)]
    pub iat: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// The hash of the only key that may sign pushes, in base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vapid: Option<String>,
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
