//! Keys of application servers (RFC 8292), and signatures with them.

use std::fmt;

use base64::{
    Engine,
    alphabet::URL_SAFE,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use ring::{
    agreement::{ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral},
    digest,
    rand::SystemRandom,
};

/// What the server does about keys and signatures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Vapid {
    /// Looks at neither.
    Off,
    /// An endpoint that was registered with a key takes only what that key signed.
    #[default]
    Registered,
    /// The same, and nothing is registered without a key.
    Required,
}

/// The public key of an application server: a point of the curve P-256, not compressed.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(Box<[u8; 65]>);

/// Names a [`PublicKey`] where there is no room for 65 bytes. Nobody finds a second key with the same
/// 128 bits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyHash([u8; 16]);

/// Why a text is no key, in words that read on from its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublicKeyError {
    #[error("invalid base64url")]
    NotBase64,
    #[error("not an uncompressed P-256 public key, which has 65 bytes and begins with 4")]
    NotUncompressed,
    #[error("not a point of the curve P-256")]
    NotOnCurve,
}

impl PublicKey {
    /// Parses what has the form of a key. Only [`check`](Self::check) tells whether it is one.
    pub fn parse(text: &str) -> Result<Self, PublicKeyError> {
        let bytes = decode(text).ok_or(PublicKeyError::NotBase64)?;
        let bytes: [u8; 65] = bytes
            .try_into()
            .map_err(|_| PublicKeyError::NotUncompressed)?;
        match bytes[0] {
            4 => Ok(Self(Box::new(bytes))),
            _ => Err(PublicKeyError::NotUncompressed),
        }
    }

    /// Whether it is a point of the curve, which takes about a tenth of a millisecond.
    pub fn check(&self) -> Result<(), PublicKeyError> {
        // ring tells it only of a key that it agrees with, whatever comes out.
        let ours = EphemeralPrivateKey::generate(&ECDH_P256, &SystemRandom::new());
        ours.and_then(|ours| {
            agree_ephemeral(ours, &UnparsedPublicKey::new(&ECDH_P256, &*self.0), |_| ())
        })
        .map_err(|_| PublicKeyError::NotOnCurve)
    }

    pub fn as_bytes(&self) -> &[u8; 65] {
        &self.0
    }

    pub fn hash(&self) -> KeyHash {
        let digest = digest::digest(&digest::SHA256, &*self.0);
        let first = digest.as_ref().first_chunk();
        KeyHash(*first.expect("SHA-256 gives 32 bytes"))
    }
}

impl KeyHash {
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// It tells who sends to an endpoint.
impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublicKey(redacted)")
    }
}

/// Likewise.
impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash(redacted)")
    }
}

/// What a push says about who signed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signature {
    /// Nobody has looked: [`Vapid::Off`].
    Unread,
    Absent,
    Bad(BadSignature),
    /// By this key, for this server, and still valid.
    Good(KeyHash),
}

/// Why a signature does not count, as its sender's author is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    #[error("the header Authorization is not `vapid t=TOKEN, k=KEY`")]
    Header,
    #[error("the token is not a JWT with `aud` and `exp`")]
    Token,
    #[error("the token's `alg` is not ES256")]
    Algorithm,
    #[error("the token's `aud` is not the origin of the endpoint's URL")]
    Audience,
    #[error("the token has expired: its `exp` is in the past")]
    Expired,
    #[error("the token's `exp` is more than 24 hours ahead")]
    TooLong,
    #[error("the key is not an uncompressed P-256 public key in base64url")]
    Key,
    #[error("the token is not signed by the key")]
    Forged,
}

/// Why an endpoint that was registered with a key does not take a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unauthorized {
    #[error("the push is not signed")]
    Unsigned,
    #[error("{0}")]
    Bad(#[from] BadSignature),
    #[error("the push is signed by another key")]
    OtherKey,
}

impl Signature {
    /// Whether an endpoint takes the push that was registered with this key, or with none.
    pub fn permits(self, registered: Option<KeyHash>) -> Result<(), Unauthorized> {
        let Some(registered) = registered else {
            return Ok(());
        };
        match self {
            Self::Unread => Ok(()),
            Self::Good(key) if key == registered => Ok(()),
            Self::Good(_) => Err(Unauthorized::OtherKey),
            Self::Absent => Err(Unauthorized::Unsigned),
            Self::Bad(reason) => Err(reason.into()),
        }
    }
}

/// Base64 in either alphabet, with or without padding, as libraries write it.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &URL_SAFE,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    if text.contains(['+', '/']) {
        return LENIENT
            .decode(text.replace('+', "-").replace('/', "_"))
            .ok();
    }
    LENIENT.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

    use super::*;

    /// The generator of P-256.
    const POINT: &str =
        "BGsX0fLhLEJH-Lzm5WOkQPJ3A32BLeszoPShOUXYmMKWT-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU";

    #[test]
    fn a_key_is_65_bytes_in_any_base64() {
        let key = PublicKey::parse(POINT).unwrap();
        assert_eq!(key.check(), Ok(()));
        assert_eq!(URL_SAFE_NO_PAD.encode(key.as_bytes()), POINT);
        let standard = STANDARD.encode(key.as_bytes());
        for same in [
            &format!("{POINT}="),
            &standard,
            standard.trim_end_matches('='),
        ] {
            assert_eq!(PublicKey::parse(same).as_ref(), Ok(&key), "{same}");
        }
        for (bad, error) in [
            ("", PublicKeyError::NotUncompressed),
            ("not base64!", PublicKeyError::NotBase64),
            (&POINT[..84], PublicKeyError::NotUncompressed),
            (
                &format!("A{}", &POINT[1..]),
                PublicKeyError::NotUncompressed,
            ),
        ] {
            assert_eq!(PublicKey::parse(bad), Err(error), "{bad}");
        }
    }

    #[test]
    fn a_key_that_is_no_point_is_found_out() {
        let mut bytes = *PublicKey::parse(POINT).unwrap().as_bytes();
        bytes[64] ^= 1;
        assert_eq!(
            PublicKey(Box::new(bytes)).check(),
            Err(PublicKeyError::NotOnCurve)
        );
        let zero = URL_SAFE_NO_PAD.encode([&[4][..], &[0; 64]].concat());
        let zero = PublicKey::parse(&zero).unwrap();
        assert_eq!(zero.check(), Err(PublicKeyError::NotOnCurve));
    }

    #[test]
    fn an_endpoint_with_a_key_takes_what_that_key_signed() {
        let (ours, other) = (KeyHash([1; 16]), KeyHash([2; 16]));
        let bad = Signature::Bad(BadSignature::Expired);
        for signature in [Signature::Absent, bad, Signature::Good(other)] {
            assert_eq!(signature.permits(None), Ok(()));
            assert!(signature.permits(Some(ours)).is_err());
        }
        assert_eq!(Signature::Good(ours).permits(Some(ours)), Ok(()));
        assert_eq!(Signature::Unread.permits(Some(ours)), Ok(()));
        let said = bad.permits(Some(ours)).unwrap_err().to_string();
        assert!(said.contains("expired"), "{said}");
    }
}
