//! Who signed a push (VAPID, RFC 8292): the header `Authorization`, and what it is worth.
//!
//! It takes what libraries really send. `aud` may write the default port out or leave any port out;
//! the key may be padded, or stand in `Crypto-Key`, as the drafts before the RFC had it. What the JWT
//! says beside `aud` and `exp` is not looked at.

use std::{borrow::Cow, hash::RandomState, net::Ipv6Addr, sync::Arc, time::Duration};

use axum::http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use hashlink::LruCache;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde::{Deserialize, de::DeserializeOwned};

use crate::model::{
    endpoint::PublicUrl,
    sync::Mutex,
    time::{Clock, Timestamp},
    vapid::{self, BadSignature, KeyHash, PublicKey, Signature},
};

/// How far ahead a token may expire: RFC 8292 §2 says 24 hours, and clocks differ.
const LONGEST: Duration = Duration::from_secs(25 * 3600);

/// For how long a token that has expired counts: clocks differ.
const SKEW: Duration = Duration::from_secs(60);

/// Application servers sign seldom and use a token for hours. With [`MAX_HEADER`] it is 4 MiB at the
/// worst.
const REMEMBERED: usize = 4096;

/// Bytes of a header that is remembered: real ones have some 400.
const MAX_HEADER: usize = 1024;

/// Verifies signatures, and remembers the good ones: that takes far longer than the rest of a push.
pub struct Signatures {
    origin: Origin,
    clock: Arc<dyn Clock>,
    /// By the token and the key, as they were sent. Anybody can sign something, so the hashes have a
    /// seed: nobody can choose some that collide.
    known: Mutex<LruCache<Box<[u8]>, Known, RandomState>>,
}

#[derive(Clone, Copy)]
struct Known {
    key: KeyHash,
    expires: Timestamp,
}

impl Signatures {
    /// `public_url` is what signatures are to be made for.
    pub fn new(public_url: &PublicUrl, clock: Arc<dyn Clock>) -> Self {
        let origin = Origin::parse(&public_url.to_string());
        Self {
            origin: origin.expect("a public URL has an origin"),
            clock,
            known: Mutex::new(LruCache::with_hasher(REMEMBERED, RandomState::new())),
        }
    }

    /// What the signature is worth. Verifying takes as long as several pushes, so it is done only if
    /// `is_worth_it`, and once for each header.
    pub fn read(&self, headers: &HeaderMap, is_worth_it: impl FnOnce() -> bool) -> Signature {
        let Some(signed) = Signed::find(headers) else {
            return Signature::Absent;
        };
        // Its `exp` is of the sender's clock, and no time of ours.
        let now = self.clock.wall().unwrap_or_else(|| self.clock.now());
        let name = signed.name();
        let known = self.known.lock().get(&*name).copied();
        if let Some(known) = known
            && now < known.expires
        {
            return Signature::Good(known.key);
        }
        if !is_worth_it() {
            return Signature::Absent;
        }
        match self.verify(&signed, now) {
            Err(reason) => Signature::Bad(reason),
            Ok(known) => {
                if name.len() <= MAX_HEADER {
                    self.known.lock().insert(name.into(), known);
                }
                Signature::Good(known.key)
            }
        }
    }

    /// What is cheap comes first.
    fn verify(&self, signed: &Signed, now: Timestamp) -> Result<Known, BadSignature> {
        let (token, key) = signed.parts()?;
        let (message, signature) = token.rsplit_once('.').ok_or(BadSignature::Token)?;
        let (header, claims) = message.split_once('.').ok_or(BadSignature::Token)?;
        let header: Header = json(header)?;
        if header.alg != "ES256" {
            return Err(BadSignature::Algorithm);
        }
        let claims: Claims = json(claims)?;
        if !claims.aud.is(&self.origin) {
            return Err(BadSignature::Audience);
        }
        // Saturates: before 1970 is 1970, and the far future is the last instant.
        let expires = Timestamp::from_millis((claims.exp * 1000.0) as u64).saturating_add(SKEW);
        if expires <= now {
            return Err(BadSignature::Expired);
        }
        if now.until(expires) > LONGEST + SKEW {
            return Err(BadSignature::TooLong);
        }
        let key = PublicKey::parse(key).map_err(|_| BadSignature::Key)?;
        let signature = vapid::decode(signature).ok_or(BadSignature::Token)?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.as_bytes())
            .verify(message.as_bytes(), &signature)
            .map_err(|_| BadSignature::Forged)?;
        Ok(Known {
            key: key.hash(),
            expires,
        })
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
}

#[derive(Deserialize)]
struct Claims {
    aud: Audience,
    /// Seconds, perhaps with a fraction.
    exp: f64,
}

/// RFC 7519 §4.1.3.
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Audience {
    fn is(&self, origin: &Origin) -> bool {
        let several = match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Several(several) => several,
        };
        let mut origins = several.iter().filter_map(|url| Origin::parse(url));
        origins.any(|named| named.may_mean(origin))
    }
}

fn json<T: DeserializeOwned>(part: &str) -> Result<T, BadSignature> {
    let bytes = vapid::decode(part).ok_or(BadSignature::Token)?;
    serde_json::from_slice(&bytes).map_err(|_| BadSignature::Token)
}

/// The headers of a signed push.
enum Signed<'a> {
    /// `vapid t=TOKEN, k=KEY`, whole and as a text, if it is one.
    Vapid(&'a [u8], Option<&'a str>),
    /// `WebPush TOKEN`, of the drafts before RFC 8292; the key is one value of `Crypto-Key`.
    Draft(Option<&'a str>, Option<&'a str>),
}

impl<'a> Signed<'a> {
    /// None when nobody claims to have signed the push; other schemes are of no concern here.
    fn find(headers: &'a HeaderMap) -> Option<Self> {
        let values = || headers.get_all(AUTHORIZATION).iter();
        if let Some(value) = values().find(|value| rest_of(value, b"vapid").is_some()) {
            let rest = rest_of(value, b"vapid")?;
            return Some(Self::Vapid(
                value.as_bytes(),
                std::str::from_utf8(rest).ok(),
            ));
        }
        let token = values().find_map(|value| rest_of(value, b"webpush"))?;
        let token = std::str::from_utf8(token).ok().map(str::trim);
        let lines = headers.get_all("crypto-key").iter();
        let mut lines = lines.filter_map(|line| line.to_str().ok());
        Some(Self::Draft(
            token,
            lines.find_map(|line| parameter(line, "p256ecdsa")),
        ))
    }

    /// What it is remembered by.
    fn name(&self) -> Cow<'a, [u8]> {
        match self {
            Self::Vapid(whole, _) => Cow::Borrowed(whole),
            Self::Draft(token, key) => {
                let [token, key] = [token, key].map(|part| part.unwrap_or_default());
                Cow::Owned([token, " ", key].concat().into_bytes())
            }
        }
    }

    /// The JWT and the key.
    fn parts(&self) -> Result<(&'a str, &'a str), BadSignature> {
        let (token, key) = match self {
            Self::Vapid(_, text) => (
                text.and_then(|text| parameter(text, "t")),
                text.and_then(|text| parameter(text, "k")),
            ),
            Self::Draft(token, key) => (*token, *key),
        };
        token.zip(key).ok_or(BadSignature::Header)
    }
}

/// What follows the scheme, in whatever case that is written.
fn rest_of<'a>(value: &'a HeaderValue, scheme: &[u8]) -> Option<&'a [u8]> {
    let value = value.as_bytes().trim_ascii_start();
    let (found, rest) = value.split_at_checked(scheme.len())?;
    let ends = rest.first().is_none_or(u8::is_ascii_whitespace);
    (ends && found.eq_ignore_ascii_case(scheme)).then_some(rest)
}

/// The value of `name=value` among others; it may be quoted.
fn parameter<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut parts = text.split([',', ';']).map(str::trim);
    let value = parts.find_map(|part| {
        let (found, value) = part.split_once('=')?;
        (found.trim_end().eq_ignore_ascii_case(name)).then_some(value)
    })?;
    Some(value.trim().trim_matches('"'))
}

/// Scheme, host and port of a URL, in their normal forms; no port: the scheme's own.
#[derive(Debug, PartialEq, Eq)]
struct Origin {
    scheme: String,
    host: String,
    port: Option<u16>,
}

impl Origin {
    fn parse(url: &str) -> Option<Self> {
        let (scheme, rest) = url.trim().split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        let authority = rest.split(['/', '?', '#']).next()?;
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, "")) => (host, None),
            Some((host, port)) if !port.ends_with(']') => (host, Some(port.parse().ok()?)),
            _ => (authority, None),
        };
        let default = match &*scheme {
            "https" => Some(443),
            "http" => Some(80),
            _ => return None,
        };
        Some(Self {
            scheme,
            host: normal_host(host)?,
            port: port.filter(|_| port != default),
        })
    }

    /// Whether somebody who names this origin may mean that one: some libraries leave the port out.
    fn may_mean(&self, that: &Self) -> bool {
        self.scheme == that.scheme
            && self.host == that.host
            && (self.port.is_none() || self.port == that.port)
    }
}

fn normal_host(host: &str) -> Option<String> {
    if let Some(address) = host.strip_prefix('[') {
        let address: Ipv6Addr = address.strip_suffix(']')?.parse().ok()?;
        return Some(address.to_string());
    }
    let ascii = idna::domain_to_ascii(host).ok()?;
    (!ascii.is_empty()).then_some(ascii)
}

#[cfg(test)]
mod tests;
