use axum::http::HeaderName;
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::json;
use testbed::vapid::Sender;

use super::*;
use crate::model::time::ManualClock;

const NOW: u64 = 1_764_000_000;
const HOUR: u64 = 3600;

fn hash(sender: &Sender) -> KeyHash {
    PublicKey::parse(&sender.key()).unwrap().hash()
}

fn jwt(sender: &Sender, claims: &serde_json::Value) -> String {
    sender.sign(r#"{"typ":"JWT","alg":"ES256"}"#, &claims.to_string())
}

fn good_jwt(sender: &Sender) -> String {
    let claims = json!({"aud": "https://up.example.org", "exp": NOW + 12 * HOUR});
    jwt(sender, &claims)
}

fn header(sender: &Sender, token: &str) -> String {
    format!("vapid t={token}, k={}", sender.key())
}

fn signatures(public_url: &str) -> (Arc<ManualClock>, Signatures) {
    let clock = Arc::new(ManualClock::new(Timestamp::from_secs(NOW)));
    let signatures = Signatures::new(&public_url.parse().unwrap(), clock.clone());
    (clock, signatures)
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let value = HeaderValue::from_str(value).unwrap();
        headers.append(HeaderName::from_static(name), value);
    }
    headers
}

/// What a server at `public_url` makes of it.
fn read_at(public_url: &str, pairs: &[(&'static str, &str)]) -> Signature {
    signatures(public_url).1.read(&headers(pairs), || true)
}

fn read(pairs: &[(&'static str, &str)]) -> Signature {
    read_at("https://up.example.org/base", pairs)
}

fn bad(header: &str) -> BadSignature {
    match read(&[("authorization", header)]) {
        Signature::Bad(reason) => reason,
        other => panic!("{header}: {other:?}"),
    }
}

#[test]
fn a_signature_counts_in_each_form_that_libraries_write() {
    let sender = Sender::new();
    let (token, key) = (good_jwt(&sender), sender.key());
    let padded = format!("{key}=");
    let standard = STANDARD.encode(sender.public_key());
    for form in [
        format!("vapid t={token}, k={key}"),
        format!("vapid t={token},k={key}"),
        format!("vapid k={key}, t={token}"),
        format!("VAPID  t = {token} ,  k = {key} "),
        format!("vapid t=\"{token}\";k=\"{key}\""),
        format!("vapid t={token}, k={padded}"),
        format!("vapid t={token}, k={standard}"),
        format!("vapid T={token}, K={key}, other=1"),
    ] {
        let good = Signature::Good(hash(&sender));
        assert_eq!(read(&[("authorization", &form)]), good, "{form}");
    }
    let web_push = format!("WebPush {token}");
    for crypto_key in [
        format!("p256ecdsa={key}"),
        format!("dh=BPHCLK0GSQ5fyV9FSBTfjmZQ;p256ecdsa={padded}"),
        format!("dh=BPHCLK0GSQ5fyV9FSBTfjmZQ; p256ecdsa={standard}"),
        format!("keyid=p256dh;dh=BPHC,p256ecdsa={key}"),
    ] {
        let pairs = [("authorization", &*web_push), ("crypto-key", &*crypto_key)];
        assert_eq!(read(&pairs), Signature::Good(hash(&sender)), "{crypto_key}");
    }
    let split = [
        ("authorization", &*web_push),
        ("crypto-key", "dh=BPHC"),
        ("crypto-key", &*format!("p256ecdsa={key}")),
    ];
    assert_eq!(read(&split), Signature::Good(hash(&sender)));
}

#[test]
fn the_key_beside_the_token_decides() {
    let (sender, other) = (Sender::new(), Sender::new());
    let pairs = [
        ("authorization", &*header(&sender, &good_jwt(&sender))),
        ("crypto-key", &*format!("p256ecdsa={}", other.key())),
    ];
    assert_eq!(read(&pairs), Signature::Good(hash(&sender)));
    let both = [
        ("authorization", &*format!("WebPush {}", good_jwt(&other))),
        ("authorization", &*header(&sender, &good_jwt(&sender))),
        ("crypto-key", &*format!("p256ecdsa={}", other.key())),
    ];
    assert_eq!(read(&both), Signature::Good(hash(&sender)));
}

#[test]
fn who_does_not_sign_is_not_looked_at() {
    for pairs in [
        &[][..],
        &[("authorization", "Basic dXNlcjpwYXNz")],
        &[("authorization", "Bearer t=x, k=y")],
        &[("authorization", "vapidity t=x, k=y")],
        &[("crypto-key", "p256ecdsa=BPHC")],
    ] {
        assert_eq!(read(pairs), Signature::Absent, "{pairs:?}");
    }
}

#[test]
fn the_audience_is_compared_as_an_origin() {
    let sender = Sender::new();
    let plain = "https://up.example.org/base";
    let port = "https://up.example.org:8443";
    let idn = "https://xn--bcher-kva.example";
    for (public_url, aud, good) in [
        (plain, "https://up.example.org", true),
        (plain, "https://up.example.org/", true),
        (plain, "https://up.example.org:443", true),
        (plain, "HTTPS://Up.Example.ORG:443/push/token?x#y", true),
        (plain, " https://up.example.org:", true),
        (plain, "https://up.example.org:8443", false),
        (plain, "http://up.example.org", false),
        (plain, "https://up.example.org.evil.example", false),
        (plain, "https://up.example.org@evil.example", false),
        (plain, "https://evil.example/https://up.example.org", false),
        (plain, "https://example.org", false),
        (plain, "up.example.org", false),
        (plain, "mailto:up.example.org", false),
        (plain, "", false),
        (port, "https://up.example.org:8443", true),
        (port, "https://UP.example.org:8443/", true),
        (port, "https://up.example.org", true),
        (port, "https://up.example.org:443", true),
        (port, "https://up.example.org:8444", false),
        (port, "https://up.example.org:84430", false),
        (idn, "https://bücher.example", true),
        (idn, "https://BÜCHER.example:443", true),
        (idn, "https://xn--bcher-kva.example", true),
        (idn, "https://bucher.example", false),
        ("http://[::1]:8080", "http://[0:0::1]:8080", true),
        ("http://127.0.0.1:80", "http://127.0.0.1", true),
    ] {
        let token = jwt(&sender, &json!({"aud": aud, "exp": NOW + HOUR}));
        let expected = match good {
            true => Signature::Good(hash(&sender)),
            false => Signature::Bad(BadSignature::Audience),
        };
        let found = read_at(public_url, &[("authorization", &header(&sender, &token))]);
        assert_eq!(found, expected, "{aud} at {public_url}");
    }
    let several = json!({"aud": ["https://other.example", plain], "exp": NOW + HOUR});
    let header = header(&sender, &jwt(&sender, &several));
    let found = read(&[("authorization", &header)]);
    assert_eq!(found, Signature::Good(hash(&sender)));
}

#[test]
fn a_token_lasts_a_day_at_most_give_or_take() {
    let sender = Sender::new();
    let aud = "https://up.example.org";
    for (exp, expected) in [
        (json!(NOW + 1), None),
        (json!(NOW - 59), None),
        (json!(NOW as f64 + 0.5), None),
        (json!(NOW + 24 * HOUR), None),
        (json!(NOW + 25 * HOUR), None),
        (json!(NOW - 60), Some(BadSignature::Expired)),
        (json!(-1), Some(BadSignature::Expired)),
        (json!(0), Some(BadSignature::Expired)),
        (json!(NOW + 25 * HOUR + 1), Some(BadSignature::TooLong)),
        // Milliseconds.
        (json!(NOW * 1000), Some(BadSignature::TooLong)),
        (json!(u64::MAX), Some(BadSignature::TooLong)),
        (json!(1e300), Some(BadSignature::TooLong)),
        (json!("1764000001"), Some(BadSignature::Token)),
        (json!(null), Some(BadSignature::Token)),
    ] {
        let header = header(&sender, &jwt(&sender, &json!({"aud": aud, "exp": exp})));
        let expected = expected.map_or(Signature::Good(hash(&sender)), Signature::Bad);
        assert_eq!(read(&[("authorization", &header)]), expected, "{exp}");
    }
}

#[test]
fn what_else_the_token_says_is_not_looked_at() {
    let sender = Sender::new();
    for more in [
        json!({"sub": "mailto:mailto:admin@example.org"}),
        json!({"sub": ""}),
        json!({"iat": NOW + 9999, "nbf": NOW + 9999}),
        json!({"sub": null, "nbf": "soon", "jti": 1}),
    ] {
        let mut claims = json!({"aud": "https://up.example.org", "exp": NOW + HOUR});
        let all = claims.as_object_mut().unwrap();
        all.extend(more.as_object().unwrap().clone());
        for parts in [r#"{"alg":"ES256"}"#, r#"{"alg":"ES256","typ":7}"#] {
            let header = header(&sender, &sender.sign(parts, &claims.to_string()));
            let found = read(&[("authorization", &header)]);
            assert_eq!(found, Signature::Good(hash(&sender)), "{claims}");
        }
    }
}

#[test]
fn what_is_wrong_is_named() {
    let sender = Sender::new();
    let (token, key) = (good_jwt(&sender), sender.key());
    let claims = json!({"aud": "https://up.example.org", "exp": NOW + HOUR});
    for alg in ["none", "HS256", "RS256", "ES384", "es256", ""] {
        let token = sender.sign(&json!({"alg": alg}).to_string(), &claims.to_string());
        assert_eq!(
            bad(&header(&sender, &token)),
            BadSignature::Algorithm,
            "{alg}"
        );
    }
    for header in [
        "vapid".to_owned(),
        "vapid ".to_owned(),
        format!("vapid t={token}"),
        format!("vapid k={key}"),
        format!("vapid {token}"),
    ] {
        assert_eq!(bad(&header), BadSignature::Header, "{header}");
    }
    let web_push = format!("WebPush {token}");
    for more in [&[][..], &[("crypto-key", "dh=BPHC")]] {
        let pairs = [&[("authorization", &*web_push)], more].concat();
        assert_eq!(read(&pairs), Signature::Bad(BadSignature::Header));
    }
    let unsigned = token.rsplit_once('.').unwrap().0;
    for token in ["x", "..", "a.b.c", unsigned, "e30.e30.e30"] {
        assert_eq!(bad(&header(&sender, token)), BadSignature::Token, "{token}");
    }
    for claims in [
        json!({"aud": "https://up.example.org"}),
        json!({"exp": 1}),
        json!([]),
    ] {
        let header = header(&sender, &jwt(&sender, &claims));
        assert_eq!(bad(&header), BadSignature::Token);
    }
    for key in ["x", "", "BA", &key[1..], &format!("A{}", &key[1..])] {
        let header = format!("vapid t={token}, k={key}");
        assert_eq!(bad(&header), BadSignature::Key, "{key}");
    }
    // No point of the curve, another's key, a signature of something else, and none.
    let mut off_curve = URL_SAFE_NO_PAD.decode(&key).unwrap();
    off_curve[64] ^= 1;
    let off_curve = URL_SAFE_NO_PAD.encode(off_curve);
    let other = Sender::new();
    let (message, signature) = token.rsplit_once('.').unwrap();
    let stolen = good_jwt(&other);
    let stolen = stolen.rsplit_once('.').unwrap().1;
    for header in [
        format!("vapid t={token}, k={off_curve}"),
        header(&other, &token),
        header(&sender, &format!("{message}.{stolen}")),
        header(&sender, &format!("{message}.")),
        header(&sender, &format!("{message}.{}", &signature[..40])),
    ] {
        assert_eq!(bad(&header), BadSignature::Forged, "{header}");
    }
}

#[test]
fn a_header_that_is_no_text_is_refused() {
    let mut map = HeaderMap::new();
    let value = HeaderValue::from_bytes(b"vapid t=\xff\xfe, k=x").unwrap();
    map.insert("authorization", value);
    let (_, signatures) = signatures("https://up.example.org");
    let found = signatures.read(&map, || true);
    assert_eq!(found, Signature::Bad(BadSignature::Header));
}

#[test]
fn a_good_one_is_verified_once_and_forgotten_when_it_expires() {
    let sender = Sender::new();
    let (clock, signatures) = signatures("https://up.example.org");
    let token = good_jwt(&sender);
    let map = headers(&[("authorization", &header(&sender, &token))]);
    let good = Signature::Good(hash(&sender));
    let not_again = || panic!("it was verified");
    // Nobody has an endpoint here: nothing is verified for them.
    assert_eq!(signatures.read(&map, || false), Signature::Absent);
    assert_eq!(signatures.read(&map, || true), good);
    assert_eq!(signatures.read(&map, not_again), good);
    // The same token under another key is another thing.
    let other = header(&Sender::new(), &token);
    let other = headers(&[("authorization", &other)]);
    let forged = Signature::Bad(BadSignature::Forged);
    assert_eq!(signatures.read(&other, || true), forged);
    clock.advance(Duration::from_secs(12 * HOUR + 59));
    assert_eq!(signatures.read(&map, not_again), good);
    clock.advance(Duration::from_secs(1));
    let expired = Signature::Bad(BadSignature::Expired);
    assert_eq!(signatures.read(&map, || true), expired);
}

#[test]
fn what_is_remembered_is_bounded_and_bad_ones_are_not() {
    let sender = Sender::new();
    let (_, signatures) = signatures("https://up.example.org");
    let mut known = signatures.known.lock();
    for number in 0..=REMEMBERED {
        let entry = Known {
            key: hash(&sender),
            expires: Timestamp::from_secs(NOW + 1),
        };
        known.insert(number.to_string().into_bytes().into(), entry);
    }
    assert_eq!(known.len(), REMEMBERED);
    known.clear();
    drop(known);
    let token = jwt(
        &sender,
        &json!({"aud": "https://up.example.org", "exp": NOW + HOUR,
        "sub": "x".repeat(MAX_HEADER)}),
    );
    for header in [header(&sender, &token), header(&sender, "x")] {
        signatures.read(&headers(&[("authorization", &header)]), || true);
    }
    assert_eq!(signatures.known.lock().len(), 0);
}
