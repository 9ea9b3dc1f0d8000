//! Who sends: the signature of an application server (RFC 8292, "VAPID").

use std::{fs, io, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use p256::{SecretKey, elliptic_curve::sec1::ToEncodedPoint};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use serde_json::json;
use ureq::http::{HeaderValue, Uri};

use super::text::{base64url, origin};
use crate::model::time::Timestamp;

/// How long a signature is good. Push servers take up to a day; this one is used at once, and leaves
/// room for clocks that differ.
const LIFETIME: Duration = Duration::from_secs(12 * 3600);

/// The key pair of an application server.
pub struct SigningKey(EcdsaKeyPair);

/// Why there is no key. It never shows what was given, which may be the key.
#[derive(Debug, thiserror::Error)]
pub enum SigningKeyError {
    #[error(
        "--vapid-key is neither a private key of 43 characters nor the name of a file that can be \
         read: {0}"
    )]
    File(#[source] io::Error),
    #[error(
        "--vapid-key: the file holds no private key of the curve P-256; it takes PEM (BEGIN PRIVATE \
         KEY or BEGIN EC PRIVATE KEY) or 43 characters of base64url"
    )]
    Content,
    #[error("--vapid-key is no private key of the curve P-256")]
    Key,
}

impl SigningKey {
    /// From a private key as base64url, or from a file that holds that or PEM.
    pub fn read(given: &str) -> Result<Self, SigningKeyError> {
        if let Some(bytes) = base64url(given).filter(|bytes| bytes.len() == 32) {
            let key = SecretKey::from_slice(&bytes).map_err(|_| SigningKeyError::Key)?;
            return Ok(Self::of(&key));
        }
        let text = fs::read_to_string(given).map_err(SigningKeyError::File)?;
        let key = Self::content(&text).ok_or(SigningKeyError::Content)?;
        Ok(Self::of(&key))
    }

    fn content(text: &str) -> Option<SecretKey> {
        // OpenSSL writes the curve's parameters in front of the older form.
        let pem = |label| text.find(label).map(|start| &text[start..]);
        if let Some(pem) = pem("-----BEGIN EC PRIVATE KEY-----") {
            return SecretKey::from_sec1_pem(pem).ok();
        }
        if let Some(pem) = pem("-----BEGIN PRIVATE KEY-----") {
            return p256::pkcs8::DecodePrivateKey::from_pkcs8_pem(pem).ok();
        }
        let bytes = base64url(text).filter(|bytes| bytes.len() == 32)?;
        SecretKey::from_slice(&bytes).ok()
    }

    fn of(key: &SecretKey) -> Self {
        let public = key.public_key().to_encoded_point(false);
        let pair = EcdsaKeyPair::from_private_key_and_public_key(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            &key.to_bytes(),
            public.as_bytes(),
            &SystemRandom::new(),
        );
        Self(pair.expect("the public key was made of the private one"))
    }

    /// As base64url, which is how apps and push servers know it.
    pub fn public(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0.public_key())
    }

    /// The header Authorization for the server of an endpoint.
    pub fn authorization(
        &self,
        endpoint: &Uri,
        subject: Option<&str>,
        now: Timestamp,
    ) -> HeaderValue {
        let mut claims = json!({
            "aud": origin(endpoint),
            "exp": now.saturating_add(LIFETIME).as_secs(),
        });
        if let Some(subject) = subject {
            claims["sub"] = subject.into();
        }
        let header = json!({"typ": "JWT", "alg": "ES256"});
        let [header, claims] =
            [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = format!("{header}.{claims}");
        let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes());
        let signature = URL_SAFE_NO_PAD.encode(signature.expect("the system's randomness"));
        let value = format!("vapid t={signed}.{signature}, k={}", self.public());
        let mut value = HeaderValue::try_from(value).expect("base64url is ASCII");
        value.set_sensitive(true);
        value
    }
}

#[cfg(test)]
mod tests {
    use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
    use serde_json::Value;

    use super::*;

    /// The key pair of RFC 8291, appendix A.
    const PRIVATE: &str = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw";
    const PUBLIC: &str =
        "BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8";
    const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

    #[test]
    fn the_signature_says_to_whom_and_until_when_and_can_be_verified() {
        let key = SigningKey::read(PRIVATE).unwrap();
        let endpoint = "https://UP.example.org:443/push/t0ken?x=1".parse().unwrap();
        for subject in [None, Some("mailto:admin@example.org")] {
            let header = key.authorization(&endpoint, subject, NOW);
            assert!(!format!("{header:?}").contains("vapid"), "{header:?}");
            let header = header.to_str().unwrap();
            let token = header.strip_prefix("vapid t=").unwrap();
            let (token, k) = token.split_once(", k=").unwrap();
            assert_eq!(k, PUBLIC);
            let (signed, signature) = token.rsplit_once('.').unwrap();
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, base64url(k).unwrap())
                .verify(signed.as_bytes(), &base64url(signature).unwrap())
                .unwrap();
            let parts: Vec<Value> = signed
                .split('.')
                .map(|part| serde_json::from_slice(&base64url(part).unwrap()).unwrap())
                .collect();
            assert_eq!(parts[0], json!({"typ": "JWT", "alg": "ES256"}));
            let mut claims = json!({"aud": "https://up.example.org", "exp": 1_700_043_200});
            if let Some(subject) = subject {
                claims["sub"] = subject.into();
            }
            assert_eq!(parts[1], claims);
        }
    }

    #[test]
    fn a_key_is_read_from_each_form_of_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        let path = file.to_str().unwrap();
        let key = SecretKey::from_slice(&base64url(PRIVATE).unwrap()).unwrap();
        let sec1 = key.to_sec1_pem(Default::default()).unwrap();
        let pkcs8 = p256::pkcs8::EncodePrivateKey::to_pkcs8_pem(&key, Default::default()).unwrap();
        let parameters =
            "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
        for text in [
            format!("{PRIVATE}\n"),
            sec1.to_string(),
            format!("{parameters}{}", *sec1),
            pkcs8.to_string(),
        ] {
            fs::write(&file, &text).unwrap();
            assert_eq!(SigningKey::read(path).unwrap().public(), PUBLIC, "{text}");
        }
        for text in ["", PUBLIC, parameters, &pkcs8.replace("MIG", "MIH")] {
            fs::write(&file, text).unwrap();
            let error = SigningKey::read(path).err().unwrap();
            assert!(matches!(error, SigningKeyError::Content), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_no_key_is_not_shown() {
        let zero = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        assert!(matches!(SigningKey::read(zero), Err(SigningKeyError::Key)));
        for given in [&PRIVATE[1..], PUBLIC, ""] {
            let error = SigningKey::read(given).err().unwrap();
            assert!(matches!(error, SigningKeyError::File(_)), "{error}");
            assert!(given.is_empty() || !error.to_string().contains(given));
        }
    }
}
