//! An application server that signs its messages (VAPID, RFC 8292).

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};

pub struct Sender(EcdsaKeyPair);

impl Sender {
    /// With a key of its own.
    pub fn new() -> Self {
        let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let pair = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Self(EcdsaKeyPair::from_pkcs8(algorithm, pair.as_ref(), &random).unwrap())
    }

    /// With this key, both halves in base64url.
    pub fn with_key(private: &str, public: &str) -> Self {
        let decode = |text| URL_SAFE_NO_PAD.decode(text).unwrap();
        let pair = EcdsaKeyPair::from_private_key_and_public_key(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            &decode(private),
            &decode(public),
            &SystemRandom::new(),
        );
        Self(pair.expect("two halves of one key"))
    }

    /// The public key, an uncompressed point.
    pub fn public_key(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    /// The same in base64url.
    pub fn key(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.public_key())
    }

    /// A JWT of these parts, both JSON.
    pub fn sign(&self, header: &str, claims: &str) -> String {
        let message = [header, claims]
            .map(|part| URL_SAFE_NO_PAD.encode(part))
            .join(".");
        let signature = self.0.sign(&SystemRandom::new(), message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.unwrap()))
    }

    /// The value of `Authorization` for messages to this origin; `exp` in seconds since 1970.
    pub fn authorization(&self, origin: &str, exp: u64) -> String {
        let claims =
            format!(r#"{{"aud":"{origin}","exp":{exp},"sub":"mailto:admin@social.example"}}"#);
        let token = self.sign(r#"{"typ":"JWT","alg":"ES256"}"#, &claims);
        format!("vapid t={token}, k={}", self.key())
    }
}

impl Default for Sender {
    fn default() -> Self {
        Self::new()
    }
}
