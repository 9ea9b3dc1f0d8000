//! Nothing opens but what we made, for this purpose, and while it lives.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use jsonwebtoken::EncodingKey;
use pasetors::version4::LocalToken;
use proptest::prelude::*;
use ring::hmac;
use tokio::runtime::Runtime;

use super::*;

#[tokio::test]
async fn what_is_no_token_is_forged() {
    let rig = Rig::new(Backend::Storage).await;
    let long = "A".repeat(MAX_TOKEN + 1);
    let long_paseto = format!("v4.local.{long}");
    for bad in [
        "",
        ".",
        "..",
        "v4.local.",
        "v4.local.AAAA",
        "v4.local..",
        "eyJ..",
        "eyJhbGciOiJIUzI1NiJ9.e30.",
        "_private",
        "../../etc/passwd",
        "ä",
        &"A".repeat(43),
        &format!("v4.local.{}", "A".repeat(255)),
        &format!("v4.local.{}.AAAA", "A".repeat(255)),
        &long,
        &long_paseto,
    ] {
        assert_forged(rig.tokens.open(bad).await);
    }
}

/// A short one has no room for what every token begins and ends with.
#[tokio::test]
async fn paseto_of_any_length_is_forged() {
    let rig = Rig::new(Backend::Paseto).await;
    for length in 0..200 {
        let forged = format!("v4.local.{}", BASE64.encode(vec![0; length]));
        assert_forged(rig.tokens.open(&forged).await);
    }
}

/// What opens is what was issued, to the last bit.
#[tokio::test]
async fn a_token_has_one_spelling() {
    for backend in BACKENDS {
        let rig = Rig::new(backend).await;
        for resource in ["x", "xx", "xxx"] {
            let token = issue(&rig.tokens, &format!("romeo@example.org/{resource}"), 1).await;
            rig.tokens.open(&token).await.expect("itself opens");
            let (start, last) = token.split_at(token.len() - 1);
            for other in ('A'..='Z')
                .chain('a'..='z')
                .chain('0'..='9')
                .chain("-_=+/".chars())
            {
                if last != other.to_string() {
                    assert_forged(rig.tokens.open(&format!("{start}{other}")).await);
                }
            }
            assert_forged(rig.tokens.open(&format!("{token}=")).await);
        }
    }
}

fn any_secret() -> impl Strategy<Value = Secret> {
    proptest::array::uniform32(any::<u8>()).prop_map(Secret::new)
}

fn any_backend() -> impl Strategy<Value = Backend> {
    proptest::sample::select(&BACKENDS[..])
}

/// One store for all cases of a property.
fn rig() -> (Runtime, Rig) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let rig = runtime.block_on(Rig::new(Backend::Storage));
    (runtime, rig)
}

#[test]
fn no_bit_flip_opens() {
    let (runtime, rig) = rig();
    let cases = (
        any_backend(),
        "[a-z]{1,20}",
        any::<u8>(),
        any::<prop::sample::Index>(),
        0..7_u8,
    );
    proptest!(|((backend, node, app, position, bit) in cases)| {
        runtime.block_on(async {
            let tokens = rig.rotated(backend, Keyring::new(&secret(), &[])).await;
            let token = issue(&tokens, &format!("{node}@example.org/x"), app).await;
            tokens.open(&token).await.expect("the token itself opens");
            let mut flipped = token.into_bytes();
            let position = position.index(flipped.len());
            flipped[position] ^= 1 << bit;
            let flipped = String::from_utf8(flipped).expect("still ASCII");
            assert_forged(tokens.open(&flipped).await);
        });
    });
}

#[tokio::test]
async fn no_bit_flip_of_an_older_token_opens() {
    let rig = Rig::new(Backend::Paseto).await;
    rig.tokens.open(LONG_PASETO).await.expect("itself opens");
    for position in 0..LONG_PASETO.len() {
        let mut flipped = LONG_PASETO.as_bytes().to_vec();
        flipped[position] ^= 1 << (position % 7);
        let flipped = String::from_utf8(flipped).expect("still ASCII");
        assert_forged(rig.tokens.open(&flipped).await);
    }
}

#[test]
fn no_other_secret_opens() {
    let (runtime, rig) = rig();
    proptest!(|(backend in any_backend(), ours in any_secret(), other in any_secret())| {
        prop_assume!(ours != other);
        runtime.block_on(async {
            let tokens = rig.rotated(backend, Keyring::new(&ours, &[])).await;
            let token = issue(&tokens, "romeo@example.org/orchard", 1).await;
            let others = rig.rotated(backend, Keyring::new(&other, &[])).await;
            assert_forged(others.open(&token).await);
            let rotated = rig.rotated(backend, Keyring::new(&other, &[ours])).await;
            rotated.open(&token).await.expect("a previous secret opens");
        });
    });
}

#[test]
fn what_has_expired_never_opens() {
    let (runtime, rig) = rig();
    proptest!(|(backend in any_backend(), late in 0..1_000_000_000_u64)| {
        runtime.block_on(async {
            // The clock only goes forward, from one case to the next.
            let tokens = rig.rotated(backend, Keyring::new(&secret(), &[])).await;
            let token = issue(&tokens, "romeo@example.org/orchard", 1).await;
            let fraction = rig.clock.now().as_millis() % 1000;
            rig.clock.advance(WEEK - Duration::from_millis(fraction + 1));
            tokens.open(&token).await.expect("alive to the last millisecond");
            rig.clock.advance(Duration::from_millis(1));
            assert_dead(tokens.open(&token).await);
            rig.clock.advance(Duration::from_millis(late));
            assert_dead(tokens.open(&token).await);
        });
    });
}

#[tokio::test]
async fn a_token_of_another_purpose_never_opens() {
    let rig = Rig::new(Backend::Paseto).await;
    let ours = rig.issue().await;
    let keyring = rig.tokens.keyring();
    let key = keyring.current();
    let opened = opened(&rig.tokens, &ours).await;

    let footer = format!("{{\"kid\":\"{}\"}}", key.id);
    let claims = format!(
        r#"{{"sub":"romeo@example.org/orchard","application":"{}","instance":"{}","iat":"2025-11-23T12:13:20.123Z","exp":"2025-11-30T12:13:20Z"}}"#,
        opened.application.to_base64(),
        opened.instance.to_base64(),
    );
    let seal = |assertion| {
        let footer = Some(footer.as_bytes());
        LocalToken::encrypt(&key.paseto, claims.as_bytes(), footer, assertion).unwrap()
    };
    // The same claims open with our assertion, so it is the assertion that is looked at.
    let same = rig.tokens.open(&seal(Some(paseto::ASSERTION))).await;
    assert_eq!(*same.unwrap().registration, opened);
    assert_forged(
        rig.tokens
            .open(&seal(Some(b"unified-push/message/v1")))
            .await,
    );
    assert_forged(rig.tokens.open(&seal(None)).await);

    // What our key sealed for this purpose is read one way only: by whether it has a footer.
    let compact = compact::write(&opened, None);
    let seal = |message: &[u8], footer: Option<&str>, assertion| {
        let footer = footer.map(str::as_bytes);
        LocalToken::encrypt(&key.paseto, message, footer, assertion).unwrap()
    };
    let ours = Some(paseto::ASSERTION);
    let same = rig.tokens.open(&seal(&compact, None, ours)).await;
    assert_eq!(*same.unwrap().registration, opened);
    let trailing = [&compact[..], b"\0"].concat();
    for forged in [
        seal(&compact, Some(&footer), ours),
        seal(claims.as_bytes(), None, ours),
        seal(&compact, None, Some(b"unified-push/message/v1")),
        seal(&compact, None, None),
        seal(&trailing, None, ours),
        seal(&compact[..87], None, ours),
        seal(&[2], None, ours),
    ] {
        assert_forged(rig.tokens.open(&forged).await);
    }

    let derived = secret().derive("endpoint/paseto/v1");
    let claims: serde_json::Value = serde_json::from_str(&claims).unwrap();
    let claims = serde_json::json!({"exp": 2_000_000_000, "sub": claims["sub"],
        "application": claims["application"], "instance": claims["instance"]});
    let sign = |key: &[u8]| {
        let header = jsonwebtoken::Header::default();
        jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(key)).unwrap()
    };
    rig.tokens.open(&sign(secret().as_bytes())).await.unwrap();
    assert_forged(rig.tokens.open(&sign(&*derived)).await);

    let mut stored = vec![7; 20];
    let tag = hmac::sign(&key.stored_name, &stored);
    stored.extend(&tag.as_ref()[..12]);
    assert_forged(rig.tokens.open(&BASE64.encode(&stored)).await);
    let tag = hmac::sign(&key.stored_tag, &stored[..20]);
    stored[20..].copy_from_slice(&tag.as_ref()[..12]);
    assert_dead(rig.tokens.open(&BASE64.encode(&stored)).await);
}

#[tokio::test]
async fn only_hs256_is_taken() {
    let rig = Rig::new(Backend::Jwt).await;
    let payload = PROSODY_JWT.split('.').nth(1).unwrap();
    let sign = |header: &str, algorithm| {
        let message = format!("{}.{payload}", BASE64.encode(header));
        let key = hmac::Key::new(algorithm, secret().as_bytes());
        let signature = hmac::sign(&key, message.as_bytes());
        format!("{message}.{}", BASE64.encode(signature))
    };
    let good = sign(r#"{"alg":"HS256"}"#, hmac::HMAC_SHA256);
    rig.tokens.open(&good).await.unwrap();
    for (header, algorithm) in [
        (r#"{"alg":"HS384"}"#, hmac::HMAC_SHA384),
        (r#"{"alg":"HS512"}"#, hmac::HMAC_SHA512),
        (r#"{"alg":"none"}"#, hmac::HMAC_SHA256),
        (r#"{"alg":"None"}"#, hmac::HMAC_SHA256),
        (r#"{"alg":"RS256"}"#, hmac::HMAC_SHA256),
        (r#"{"alg":"ES256"}"#, hmac::HMAC_SHA256),
        (r#"{"typ":"JWT"}"#, hmac::HMAC_SHA256),
        (r#"{"alg":"HS256","kid":"unknown"}"#, hmac::HMAC_SHA256),
    ] {
        let token = sign(header, algorithm);
        assert_forged(rig.tokens.open(&token).await);
        let (unsigned, _) = token.rsplit_once('.').unwrap();
        assert_forged(rig.tokens.open(&format!("{unsigned}.")).await);
    }
}
