//! A signature is good only if the key has made it, for this server and this time.

use std::sync::{Arc, LazyLock};

use axum::http::{HeaderMap, HeaderValue};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use unified_push::{
    http::Signatures,
    model::{
        time::Timestamp,
        vapid::{PublicKey, Signature},
    },
};

use crate::{NOW, Still};

struct Signed {
    /// What is signed.
    message: String,
    header: String,
    key: PublicKey,
}

static SIGNED: LazyLock<Signed> = LazyLock::new(|| {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random);
    let pkcs8 = pkcs8.expect("a key");
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random);
    let pair = pair.expect("a key");
    let expires = Timestamp::as_secs(NOW) + 3600;
    let claims = format!(r#"{{"aud":"https://up.example.org","exp":{expires}}}"#);
    let message = format!(
        "{}.{}",
        BASE64.encode(r#"{"alg":"ES256"}"#),
        BASE64.encode(claims)
    );
    let signature = pair.sign(&random, message.as_bytes()).expect("signed");
    let key = BASE64.encode(pair.public_key());
    let token = format!("{message}.{}", BASE64.encode(signature));
    Signed {
        message,
        header: format!("vapid t={token}, k={key}"),
        key: PublicKey::parse(&key).expect("a key"),
    }
});

/// A byte more is put in, taken out or put in place of another, or all is replaced.
pub fn run(data: &[u8]) {
    let signatures = Signatures::new(
        &"https://up.example.org".parse().expect("a URL"),
        Arc::new(Still),
    );
    let read = |header: &[u8]| {
        let mut headers = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_bytes(header) {
            headers.insert("authorization", value);
        }
        signatures.read(&headers, || true)
    };
    assert_eq!(
        read(SIGNED.header.as_bytes()),
        Signature::Good(SIGNED.key.hash())
    );
    let [how, a, b, rest @ ..] = data else {
        return;
    };
    let mut header = SIGNED.header.clone().into_bytes();
    let at = usize::from(u16::from_be_bytes([*a, *b])) % header.len();
    match how % 3 {
        0 => drop(header.splice(at..at, rest.iter().copied())),
        1 => drop(header.splice(
            at..(at + 1 + rest.len()).min(header.len()),
            rest.iter().copied(),
        )),
        _ => header = rest.to_vec(),
    }
    if let Signature::Good(key) = read(&header) {
        assert_eq!(key, SIGNED.key.hash());
        let header = String::from_utf8_lossy(&header);
        assert!(header.contains(&SIGNED.message), "another message");
    }
}
