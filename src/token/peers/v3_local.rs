//! PASETO v3.local, as the standard has it and as Prosody 13 makes it.
//!
//! What is authenticated is a list of pieces, each after its length (the "pre-authentication encoding").
//! Prosody's `util.paseto` keeps seven bits of each length, so that its tags are others than the
//! standard's. Both are opened, because Prosody may be mended.

use aes::Aes256;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ctr::{
    Ctr128BE,
    cipher::{KeyIvInit, StreamCipher},
};
use ring::{
    hkdf::{HKDF_SHA384, KeyType, Salt},
    hmac,
};
use zeroize::Zeroizing;

pub const PREFIX: &str = "v3.local.";

const NONCE: usize = 32;
const TAG: usize = 48;

/// How a piece's length is written.
type Length = fn(usize) -> u64;

const LENGTHS: [Length; 2] = [|length| length as u64 & 0x7f, |length| length as u64];

#[derive(Clone)]
pub struct Key(pub Zeroizing<[u8; 32]>);

impl Key {
    /// The message of a token without a footer. None unless this key made it.
    pub fn open(&self, token: &str) -> Option<Vec<u8>> {
        let bytes = URL_SAFE_NO_PAD.decode(token.strip_prefix(PREFIX)?).ok()?;
        let (nonce, rest) = bytes.split_at_checked(NONCE)?;
        let (ciphertext, tag) = rest.split_at_checked(rest.len().checked_sub(TAG)?)?;
        let authentication = self.derive::<48>("paseto-auth-key-for-aead", nonce)?;
        let authentication = hmac::Key::new(hmac::HMAC_SHA384, &*authentication);
        let pieces = [PREFIX.as_bytes(), nonce, ciphertext, b"", b""];
        let is_ours =
            |length: &Length| hmac::verify(&authentication, &encode(&pieces, *length), tag).is_ok();
        LENGTHS.iter().find(|length| is_ours(length))?;
        let encryption = self.derive::<48>("paseto-encryption-key", nonce)?;
        let (key, counter) = encryption.split_at(32);
        let mut message = ciphertext.to_vec();
        Ctr128BE::<Aes256>::new_from_slices(key, counter)
            .ok()?
            .apply_keystream(&mut message);
        Some(message)
    }

    fn derive<const N: usize>(&self, purpose: &str, nonce: &[u8]) -> Option<Zeroizing<[u8; N]>> {
        let mut key = Zeroizing::new([0; N]);
        let info = [purpose.as_bytes(), nonce];
        let extracted = Salt::new(HKDF_SHA384, &[]).extract(&*self.0);
        let expanded = extracted.expand(&info, Bytes(N)).ok()?;
        expanded.fill(key.as_mut()).ok()?;
        Some(key)
    }
}

/// How much is to be derived.
struct Bytes(usize);

impl KeyType for Bytes {
    fn len(&self) -> usize {
        self.0
    }
}

fn encode(pieces: &[&[u8]], length: Length) -> Vec<u8> {
    let mut encoded = length(pieces.len()).to_le_bytes().to_vec();
    for piece in pieces {
        encoded.extend_from_slice(&length(piece.len()).to_le_bytes());
        encoded.extend_from_slice(piece);
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 3-E-1 of the test vectors for PASETO.
    const STANDARD: &str = "v3.local.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAADbfcIURX_0pVZVU1mAESUzrKZAsRm2EsD6yBoZYn6cpVZNzSJOhSDN-sRaWjfLU-yn9OJH1J_B8GKtOQ9gSQlb8yk9Iza7teRdkiR89ZFyvPPsVjjFiepFUVcMa-LP18zV77f_crJrVXWa5PDNRkCSeHfBBeg";

    fn key() -> Key {
        Key(Zeroizing::new(std::array::from_fn(|byte| {
            0x70 + byte as u8
        })))
    }

    #[test]
    fn a_token_of_the_standards_opens() {
        let message = key().open(STANDARD).unwrap();
        let expected = br#"{"data":"this is a secret message","exp":"2022-01-01T00:00:00+00:00"}"#;
        assert_eq!(message, expected);
    }

    #[test]
    fn what_is_too_short_or_has_a_footer_does_not() {
        for token in [
            "v3.local.",
            "v3.local.AAAA",
            &STANDARD[..STANDARD.len() - 4],
            &format!("{STANDARD}."),
            &format!("{STANDARD}.AAAA"),
        ] {
            assert!(key().open(token).is_none(), "{token}");
        }
    }
}
