//! Encryption for one phone (RFC 8291, "Message Encryption for Web Push"): the content encoding
//! aes128gcm (RFC 8188) in a single record.

use p256::{PublicKey, SecretKey, ecdh::diffie_hellman, elliptic_curve::sec1::ToEncodedPoint};
use ring::{
    aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    hmac,
};

use super::text::base64url;
use crate::model::random::{Random, random_array};

/// Bytes that are announced for a record; a longer message gets a longer one.
const RECORD: usize = 4096;

/// What ends the plaintext of the last record.
const DELIMITER: u8 = 2;

/// Bytes that AES-GCM adds.
const TAG: usize = 16;

/// The phone's half of a subscription.
#[derive(Clone)]
pub struct Keys {
    p256dh: PublicKey,
    auth: [u8; 16],
}

/// Why a text is no key. It never shows the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error(
        "p256dh is not a public key: copy the 87 characters that begin with B as the app received them"
    )]
    P256dh,
    #[error("auth is not a secret of 16 bytes: copy the 22 characters as the app received them")]
    Auth,
}

impl Keys {
    /// Both as base64 of either alphabet, padded or not.
    pub fn parse(p256dh: &str, auth: &str) -> Result<Self, KeyError> {
        let point = base64url(p256dh).filter(|point| point.len() == 65);
        let p256dh = point.and_then(|point| PublicKey::from_sec1_bytes(&point).ok());
        let auth = base64url(auth).and_then(|auth| auth.try_into().ok());
        Ok(Self {
            p256dh: p256dh.ok_or(KeyError::P256dh)?,
            auth: auth.ok_or(KeyError::Auth)?,
        })
    }

    /// The body of the push, with a key pair and a salt for this message alone.
    pub fn encrypt(&self, plaintext: &[u8], random: &dyn Random) -> Vec<u8> {
        // One in 2³² draws is no private key.
        let draw = |()| SecretKey::from_slice(&random_array::<32>(random)).ok();
        let key = std::iter::repeat(()).find_map(draw);
        let key = key.expect("the iterator has no end");
        self.encrypt_with(plaintext, &key, random_array(random))
    }

    fn encrypt_with(&self, plaintext: &[u8], key: &SecretKey, salt: [u8; 16]) -> Vec<u8> {
        let ours = key.public_key().to_encoded_point(false);
        let theirs = self.p256dh.to_encoded_point(false);
        let shared = diffie_hellman(key.to_nonzero_scalar(), self.p256dh.as_affine());
        let info = [b"WebPush: info\0", theirs.as_bytes(), ours.as_bytes()].concat();
        let secret = hkdf(&self.auth, shared.raw_secret_bytes(), &info);
        let content_key = hkdf(&salt, &secret, b"Content-Encoding: aes128gcm\0");
        let nonce = hkdf(&salt, &secret, b"Content-Encoding: nonce\0");

        let mut record = [plaintext, &[DELIMITER]].concat();
        let content_key = UnboundKey::new(&AES_128_GCM, &content_key[..16]);
        let content_key = LessSafeKey::new(content_key.expect("16 bytes"));
        let nonce = Nonce::try_assume_unique_for_key(&nonce[..12]).expect("12 bytes");
        content_key
            .seal_in_place_append_tag(nonce, Aad::empty(), &mut record)
            .expect("far below the largest record of AES-GCM");

        let size = record.len().max(RECORD) as u32;
        let id = ours.as_bytes();
        let header = [&salt[..], &size.to_be_bytes(), &[id.len() as u8], id].concat();
        [header, record].concat()
    }
}

/// How many bytes longer the body is than the message.
pub const OVERHEAD: usize = 16 + 4 + 1 + 65 + 1 + TAG;

/// RFC 5869 for an output of up to 32 bytes, of which callers take what they need.
fn hkdf(salt: &[u8], input: &[u8], info: &[u8]) -> [u8; 32] {
    let sign = |key: &[u8], text: &[u8]| {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text);
        <[u8; 32]>::try_from(tag.as_ref()).expect("SHA-256 has 32 bytes")
    };
    sign(&sign(salt, input), &[info, &[1]].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::random::SystemRandom;

    /// RFC 8291, appendix A.
    const P256DH: &str =
        "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
    const AUTH: &str = "BTBZMqHH6r4Tts7J_aSIgg";

    #[test]
    fn the_example_of_the_specification_comes_out() {
        let keys = Keys::parse(P256DH, AUTH).unwrap();
        let key = base64url("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw").unwrap();
        let salt = base64url("DGv6ra1nlYgDCS1FRnbzlw").unwrap();
        let body = keys.encrypt_with(
            b"When I grow up, I want to be a watermelon",
            &SecretKey::from_slice(&key).unwrap(),
            salt.try_into().unwrap(),
        );
        let expected = "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6\
                        e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZ\
                        wbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN";
        assert_eq!(Some(body), base64url(expected));
    }

    #[test]
    fn no_two_messages_have_a_key_or_a_salt_in_common() {
        let keys = Keys::parse(P256DH, AUTH).unwrap();
        let [one, other] = [(); 2].map(|()| keys.encrypt(b"x", &SystemRandom));
        assert_eq!(one.len(), 1 + OVERHEAD);
        assert_ne!(one[..16], other[..16]);
        assert_ne!(one[21..86], other[21..86]);
        // A record is announced as long as it is, at least.
        let long = keys.encrypt(&[b'x'; 5000], &SystemRandom);
        assert_eq!(long[16..20], 5017_u32.to_be_bytes());
    }

    #[test]
    fn keys_are_taken_as_people_copy_them_and_bad_ones_are_named() {
        let standard = P256DH.replace('-', "+").replace('_', "/") + "=";
        assert!(Keys::parse(&standard, &format!(" {AUTH}==\n")).is_ok());
        let refused = |p256dh, auth| Keys::parse(p256dh, auth).err();
        let changed = P256DH.replace("Aiw4", "Aiw5");
        let compressed = base64_of(&[&[2], &base64url(P256DH).unwrap()[1..33]].concat());
        for p256dh in ["", AUTH, "é", &P256DH[1..], &changed, &compressed] {
            assert_eq!(refused(p256dh, AUTH), Some(KeyError::P256dh), "{p256dh}");
        }
        for auth in ["", P256DH, "!", &AUTH[1..]] {
            assert_eq!(refused(P256DH, auth), Some(KeyError::Auth), "{auth}");
        }
    }

    fn base64_of(bytes: &[u8]) -> String {
        use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
        URL_SAFE_NO_PAD.encode(bytes)
    }
}
