//! Secrets: never printed, wiped from memory when dropped.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::hkdf::{HKDF_SHA256, Salt};
use zeroize::Zeroizing;

/// The shortest secret that tokens may rest on, in bytes.
pub const MIN_BYTES: usize = 32;

/// The literal bytes of a secret: never decoded, never trimmed beyond one newline of a file.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// The content of a secret file: one trailing newline is the editor's, not the secret's.
    pub fn from_file_content(content: impl Into<Vec<u8>>) -> Self {
        let mut bytes = content.into();
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
            if bytes.last() == Some(&b'\r') {
                bytes.pop();
            }
        }
        Self::new(bytes)
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn is_strong(&self) -> bool {
        self.0.len() >= MIN_BYTES
    }

    /// A key for one purpose (HKDF-SHA256, RFC 5869): who learns it learns neither the secret nor
    /// the key of another purpose.
    pub fn derive(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        let mut key = Zeroizing::new([0; 32]);
        Salt::new(HKDF_SHA256, b"unified-push")
            .extract(&self.0)
            .expand(&[purpose.as_bytes()], HKDF_SHA256)
            .and_then(|okm| okm.fill(key.as_mut()))
            .expect("32 bytes are far below HKDF's limit of 255 blocks");
        key
    }

    /// A name for this secret that may be shown and stored.
    pub fn id(&self) -> KeyId {
        let mut id = [0; 8];
        id.copy_from_slice(&self.derive("key-id")[..8]);
        // It then begins with a letter: on a command line it must not look like an option.
        id[0] &= 0x7f;
        KeyId(id)
    }
}

/// Names a secret without telling anything about it; shown as 11 characters of URL-safe base64.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId([u8; 8]);

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key id has 11 characters, as a start or `inspect` names it")]
pub struct KeyIdError;

impl KeyId {
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    pub fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl FromStr for KeyId {
    type Err = KeyIdError;

    fn from_str(text: &str) -> Result<Self, KeyIdError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| KeyIdError)?;
        bytes.try_into().map(Self).map_err(|_| KeyIdError)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_trailing_newline_of_a_file_is_trimmed() {
        let of = |content: &str| Secret::from_file_content(content).as_bytes().to_vec();
        assert_eq!(of("0012\n"), b"0012");
        assert_eq!(of("0012\r\n"), b"0012");
        assert_eq!(of("0012\n\n"), b"0012\n");
        assert_eq!(of(" \"q\" "), b" \"q\" ");
    }

    #[test]
    fn keys_of_different_purposes_differ() {
        let secret = Secret::new([7; 32]);
        assert_ne!(secret.derive("a"), secret.derive("b"));
        assert_eq!(secret.derive("a"), Secret::new([7; 32]).derive("a"));
    }

    #[test]
    fn a_key_id_is_read_as_it_is_shown() {
        let id = Secret::new([7; 32]).id();
        assert_eq!(id.to_string().len(), 11);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_ne!(id, Secret::new([8; 32]).id());
        for bad in ["", "AAAA", "not a key id"] {
            assert_eq!(KeyId::from_str(bad), Err(KeyIdError), "{bad:?}");
        }
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "Secret(redacted)");
    }
}
