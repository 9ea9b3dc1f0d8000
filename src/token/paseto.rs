//! PASETO v4.local: encrypted, so that an endpoint tells nothing about its owner.
//!
//! The low-level API, since the high-level one brings its own clock. It checks no claim: whoever
//! opens a token looks at the expiry.
//!
//! A token has a [`compact`] message and no footer: opening one tries each secret. Those with a
//! footer, the id of their key, are older and have JSON claims; they are opened still.

use std::time::{SystemTime, UNIX_EPOCH};

use memchr::memchr;
use pasetors::{
    Local,
    token::{TrustedToken, UntrustedToken},
    version4::{LocalToken, V4},
};
use serde::{
    Deserialize,
    de::value::{Error, MapDeserializer},
};

use super::{
    claims::{Said, Subject},
    compact, decode,
    keyring::{Key, Keyring},
};
use crate::model::{registration::Registration, time::Timestamp, vapid::KeyHash};

pub(super) const PREFIX: &str = "v4.local.";

/// Binds a token to its purpose, at no length. It names no domain: a moved domain must not kill
/// endpoints.
pub(super) const ASSERTION: &[u8] = b"unified-push/endpoint/v1";

const MAX_FOOTER: usize = 64;

/// What is in a token beside its message.
const NONCE_AND_TAG: usize = 32 + 32;

pub(super) fn seal(key: &Key, registration: &Registration, signer: Option<KeyHash>) -> String {
    let message = compact::write(registration, signer);
    LocalToken::encrypt(&key.paseto, &message, None, Some(ASSERTION))
        .expect("encryption fails only without the kernel's random generator")
}

/// None unless one of our keys made it for this purpose.
pub(super) fn open(keyring: &Keyring, token: &str) -> Option<Said> {
    let token = read(token)?;
    if !token.untrusted_footer().is_empty() {
        return open_claims(keyring, &token);
    }
    keyring.all().find_map(|key| {
        let opened = decrypt(key, &token)?;
        let (registration, signer) = compact::read(opened.payload())?;
        Some(Said {
            key: key.id,
            registration,
            signer,
        })
    })
}

/// pasetors decodes base64 in constant time, which takes as long as all else that opens a token and hides
/// what is in the request's path anyway. Bytes that are decoded it takes by serde alone, and without a look
/// at their number.
fn read(token: &str) -> Option<UntrustedToken<Local, V4>> {
    let rest = token.strip_prefix(PREFIX)?;
    if memchr(b'.', rest.as_bytes()).is_some() {
        return token.try_into().ok();
    }
    let message = decode(rest)?;
    if message.len() <= NONCE_AND_TAG {
        return None;
    }
    let fields = [("message", message), ("footer", Vec::new())];
    let fields = MapDeserializer::<_, Error>::new(fields.into_iter());
    UntrustedToken::deserialize(fields).ok()
}

fn decrypt(key: &Key, token: &UntrustedToken<Local, V4>) -> Option<TrustedToken> {
    LocalToken::decrypt(&key.paseto, token, None, Some(ASSERTION)).ok()
}

#[derive(Deserialize)]
struct Claims {
    #[serde(flatten)]
    subject: Subject<'static>,
    /// RFC 3339, as are all times in PASETO; with milliseconds.
    iat: String,
    exp: String,
}

#[derive(Deserialize)]
struct Footer {
    kid: String,
}

fn open_claims(keyring: &Keyring, token: &UntrustedToken<Local, V4>) -> Option<Said> {
    let footer = token.untrusted_footer();
    if footer.len() > MAX_FOOTER {
        return None;
    }
    let footer: Footer = serde_json::from_slice(footer).ok()?;
    let key = keyring.get(footer.kid.parse().ok()?)?;
    let claims: Claims = serde_json::from_str(decrypt(key, token)?.payload()).ok()?;
    let registration = claims
        .subject
        .into_registration(read_time(&claims.iat)?, read_time(&claims.exp)?)?;
    Some(Said {
        key: key.id,
        registration,
        signer: None,
    })
}

fn read_time(text: &str) -> Option<Timestamp> {
    let time: SystemTime = humantime::parse_rfc3339(text).ok()?;
    let millis = time.duration_since(UNIX_EPOCH).ok()?.as_millis();
    u64::try_from(millis).ok().map(Timestamp::from_millis)
}
