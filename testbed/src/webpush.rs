//! An app on the phone that takes encrypted pushes (RFC 8291), with the keys that it hands out.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use p256::{PublicKey, SecretKey, ecdh::diffie_hellman, elliptic_curve::sec1::ToEncodedPoint};
use ring::{
    aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, KeyType, Salt},
    rand::{SecureRandom, SystemRandom},
};

pub struct App {
    key: SecretKey,
    auth: [u8; 16],
}

impl App {
    /// With keys of its own.
    pub fn new() -> Self {
        let [mut key, mut auth] = [[0; 32], [0; 32]];
        SystemRandom::new().fill(&mut key).unwrap();
        SystemRandom::new().fill(&mut auth).unwrap();
        Self {
            key: SecretKey::from_slice(&key).unwrap(),
            auth: auth[..16].try_into().unwrap(),
        }
    }

    /// The public key, as base64url.
    pub fn p256dh(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.point())
    }

    /// The shared secret, as base64url.
    pub fn auth(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.auth)
    }

    /// What the app hands to its application server, as JSON.
    pub fn subscription(&self, endpoint: &str) -> String {
        let keys = serde_json::json!({"p256dh": self.p256dh(), "auth": self.auth()});
        serde_json::json!({"endpoint": endpoint, "keys": keys}).to_string()
    }

    /// The message in a push, which has one record (RFC 8188 §2).
    pub fn decrypt(&self, push: &[u8]) -> Vec<u8> {
        let (salt, rest) = push.split_at(16);
        let (size, rest) = rest.split_at(4);
        let size = u32::from_be_bytes(size.try_into().unwrap());
        assert_eq!(rest[0], 65, "the key id is the sender's public key");
        let (sender, record) = rest[1..].split_at(65);
        assert!(record.len() <= size as usize, "one record");

        let sender_key = PublicKey::from_sec1_bytes(sender).unwrap();
        let shared = diffie_hellman(self.key.to_nonzero_scalar(), sender_key.as_affine());
        let shared = shared.raw_secret_bytes();
        let info = [b"WebPush: info\0", &self.point()[..], sender].concat();
        let secret: [u8; 32] = hkdf(&self.auth, shared, &info);
        let key: [u8; 16] = hkdf(salt, &secret, b"Content-Encoding: aes128gcm\0");
        let nonce: [u8; 12] = hkdf(salt, &secret, b"Content-Encoding: nonce\0");

        let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key).unwrap());
        let nonce = Nonce::assume_unique_for_key(nonce);
        let mut record = record.to_vec();
        let opened = key.open_in_place(nonce, Aad::empty(), &mut record);
        let opened = opened.expect("a push that was encrypted for this app");
        let padding = opened.iter().rev().take_while(|byte| **byte == 0).count();
        let (delimiter, message) = opened[..opened.len() - padding].split_last().unwrap();
        assert_eq!(*delimiter, 2, "the last record");
        message.to_vec()
    }

    fn point(&self) -> Vec<u8> {
        let point = self.key.public_key().to_encoded_point(false);
        point.as_bytes().to_vec()
    }
}

impl Default for App {
    fn default() -> Self {
        Self::new()
    }
}

/// How many bytes are wanted.
struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn hkdf<const N: usize>(salt: &[u8], input: &[u8], info: &[u8]) -> [u8; N] {
    let mut output = [0; N];
    let key = Salt::new(HKDF_SHA256, salt).extract(input);
    let info = [info];
    let expanded = key.expand(&info, Length(N)).unwrap();
    expanded.fill(&mut output).unwrap();
    output
}
