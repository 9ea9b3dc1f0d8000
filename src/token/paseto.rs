//! PASETO v4.local: encrypted, so that an endpoint tells nothing about its owner.
//!
//! The low-level API, since the high-level one brings its own clock. It checks no claim: whoever
//! opens a token looks at the expiry.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pasetors::{
    token::UntrustedToken,
    version4::{LocalToken, V4},
};
use serde::{Deserialize, Serialize};

use super::{
    claims::Subject,
    keyring::{Key, Keyring},
};
use crate::model::{registration::Registration, secret::KeyId, time::Timestamp};

pub(super) const PREFIX: &str = "v4.local.";

/// Binds a token to its purpose, at no length. It names no domain: a moved domain must not kill
/// endpoints.
pub(super) const ASSERTION: &[u8] = b"unified-push/endpoint/v1";

const MAX_FOOTER: usize = 64;

#[derive(Serialize, Deserialize)]
struct Claims {
    #[serde(flatten)]
    subject: Subject,
    /// RFC 3339, as are all times in PASETO; with milliseconds.
    iat: String,
    exp: String,
}

#[derive(Serialize, Deserialize)]
struct Footer {
    kid: String,
}

pub(super) fn seal(key: &Key, registration: &Registration) -> String {
    let claims = Claims {
        subject: Subject::of(registration),
        iat: write_time(registration.issued),
        exp: write_time(registration.expires),
    };
    let footer = Footer {
        kid: key.id.to_string(),
    };
    let json = "strings always serialize";
    let claims = serde_json::to_vec(&claims).expect(json);
    let footer = serde_json::to_vec(&footer).expect(json);
    LocalToken::encrypt(&key.paseto, &claims, Some(&footer), Some(ASSERTION))
        .expect("encryption fails only without the kernel's random generator")
}

/// None unless one of our keys made it for this purpose.
pub(super) fn open(keyring: &Keyring, token: &str) -> Option<(KeyId, Registration)> {
    let token = UntrustedToken::<_, V4>::try_from(token).ok()?;
    let footer = token.untrusted_footer();
    if footer.len() > MAX_FOOTER {
        return None;
    }
    let footer: Footer = serde_json::from_slice(footer).ok()?;
    let key = keyring.get(footer.kid.parse().ok()?)?;
    let opened = LocalToken::decrypt(&key.paseto, &token, None, Some(ASSERTION)).ok()?;
    let claims: Claims = serde_json::from_str(opened.payload()).ok()?;
    let registration = claims
        .subject
        .into_registration(read_time(&claims.iat)?, read_time(&claims.exp)?)?;
    Some((key.id, registration))
}

fn write_time(time: Timestamp) -> String {
    // The last instant that the format can hold.
    const LAST: u64 = 253_402_300_799_999;
    let time = UNIX_EPOCH + Duration::from_millis(time.as_millis().min(LAST));
    humantime::format_rfc3339_millis(time).to_string()
}

fn read_time(text: &str) -> Option<Timestamp> {
    let time: SystemTime = humantime::parse_rfc3339(text).ok()?;
    let millis = time.duration_since(UNIX_EPOCH).ok()?.as_millis();
    u64::try_from(millis).ok().map(Timestamp::from_millis)
}
