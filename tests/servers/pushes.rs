//! One push, from an application server through the daemon and a real server to the phone, and
//! every way in which it can end.

use std::{rc::Rc, time::Duration};

use testbed::{
    Account, Behaviour, PATIENCE, Phone, eventually,
    http::{post, push},
    server::DOMAIN,
    tests,
};
use tokio::time::Instant;

use crate::{
    Test,
    bed::Bed,
    line::{Line, assert_try_again, is_over, location, waits},
};

pub fn on_both() -> Vec<Test> {
    tests![
        a_push_reaches_the_phone_with_back_end_paseto,
        a_push_reaches_the_phone_with_back_end_jwt,
        a_push_reaches_the_phone_with_back_end_storage,
        a_component_whose_name_is_not_ascii_works_as_any_other,
        a_body_has_1_to_4096_bytes,
        aesgcm_reaches_the_phone_with_its_parameters,
        a_forgotten_registration_is_gone_for_good,
        a_temporary_error_of_the_phone_revokes_nothing,
        a_silent_phone_is_waited_for_and_then_left_alone,
        a_ttl_of_0_is_now_or_never,
        an_expired_endpoint_gives_404,
    ]
}

/// The default `delivery.ack_timeout`.
const ACK_TIMEOUT: Duration = Duration::from_secs(1);

/// How much later than promised something may come on a busy machine.
const MARGIN: Duration = Duration::from_secs(5);

async fn a_push_reaches_the_phone_with_back_end_paseto(bed: Rc<Bed>) {
    reaches(&bed, "paseto", "v4.local.").await;
}

async fn a_push_reaches_the_phone_with_back_end_jwt(bed: Rc<Bed>) {
    reaches(&bed, "jwt", "eyJ").await;
}

async fn a_push_reaches_the_phone_with_back_end_storage(bed: Rc<Bed>) {
    reaches(&bed, "storage", "").await;
}

async fn reaches(bed: &Bed, backend: &str, form: &str) {
    let server = bed.server().await;
    let settings = bed.config(&server).text("backend", backend);
    let phone = Phone::log_in(&server, &bed.user("romeo")).await;
    let mut line = Line::with(bed, settings, phone).await;
    let prefix = line.daemon.url("/push/");
    let token = line.endpoint.strip_prefix(&prefix).unwrap();
    assert!(token.starts_with(form));

    let every_byte: Vec<u8> = (0..=255).collect();
    let answer = line.push(&every_byte).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(answer.header("ttl"), Some("60"));
    let location = answer.header("location").expect("Location");
    assert!(location.contains("/message/") && !location.contains(token));
    let push = line.phone.push().await;
    assert_eq!(push.payload, every_byte);
    assert_eq!(push.from, line.daemon.service());
    line.daemon.stop().await;
}

async fn a_component_whose_name_is_not_ascii_works_as_any_other(bed: Rc<Bed>) {
    let server = bed.server().await;
    let account = Account::unicode();
    // The domain above the component has no accounts.
    let settings = bed.config(&server).component(&account);
    let settings = settings.value("acl", format!("[{DOMAIN:?}]"));
    let phone = Phone::log_in(&server, &bed.user("romeo")).await;
    let mut line = Line::with(&bed, settings, phone).await;
    assert!(line.endpoint.is_ascii(), "{}", line.endpoint);
    let answer = line.push(b"to books").await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let push = line.phone.push().await;
    assert_eq!(push.payload, b"to books");
    assert_eq!(push.from, account.domain);
    // The phone's answer has come back to the component.
    is_over(&location(&answer)).await;
    line.daemon.stop().await;
}

async fn a_body_has_1_to_4096_bytes(bed: Rc<Bed>) {
    let mut line = Line::new(&bed).await;
    for (length, status) in [(0, 400), (1, 201), (4096, 201), (4097, 413), (100_000, 413)] {
        let body = vec![b'x'; length];
        let answer = line.push(&body).await;
        assert_eq!(answer.status, status, "{length} bytes: {}", answer.text());
        if status == 201 {
            assert_eq!(line.phone.push().await.payload, body);
        }
    }
    assert!(line.phone.pushed_already().is_none());
}

async fn aesgcm_reaches_the_phone_with_its_parameters(bed: Rc<Bed>) {
    let mut line = Line::new(&bed).await;
    let key = format!("dh={};p256ecdsa={}", "k".repeat(87), "v".repeat(87));
    let headers = [
        ("TTL", "60"),
        ("Content-Encoding", "aesgcm"),
        ("Encryption", "salt=c2FsdHNhbHRzYWx0c2FsdA"),
        ("Crypto-Key", &key),
    ];
    let body = [b'x'; 4096];
    let answer = post(&line.endpoint, &headers, &body).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let head = format!("aesgcm\nEncryption: {}\nCrypto-Key: {key}\n", headers[2].1);
    let payload = line.phone.push().await.payload;
    assert_eq!(payload, [head.as_bytes(), &body].concat());
}

async fn a_forgotten_registration_is_gone_for_good(bed: Rc<Bed>) {
    let mut line = Line::new(&bed).await;
    line.phone.forget_all();
    let first = line.push(b"to nobody").await;
    assert_eq!(first.status, 404, "{}", first.text());
    line.phone.push().await;

    // From now on the phone is not asked again, and the answer tells nothing.
    let again = line.push(b"to nobody").await;
    let made_up = push(&line.daemon.url("/push/v4.local.made-up"), b"to nobody").await;
    for answer in [&again, &made_up] {
        assert_eq!(answer.status, 404);
        assert_eq!(answer.body, first.body);
    }
    assert!(line.phone.pushed_already().is_none());

    let service = line.daemon.service().to_owned();
    let renewed = line.phone.register(&service, &line.pair).await.unwrap();
    assert_ne!(renewed.endpoint, line.endpoint);
    let old = std::mem::replace(&mut line.endpoint, renewed.endpoint);
    line.works().await;
    assert_eq!(push(&old, b"to nobody").await.status, 404);
}

async fn a_temporary_error_of_the_phone_revokes_nothing(bed: Rc<Bed>) {
    for (kind, condition) in [
        ("cancel", "service-unavailable"),
        ("wait", "resource-constraint"),
        ("modify", "bad-request"),
    ] {
        let mut line = Line::new(&bed).await;
        line.phone.behave(Behaviour::Refuse { kind, condition });
        let kept = location(&line.push(b"not now").await);
        assert!(waits(&kept).await, "{condition}");
        line.gets(&[b"not now"]).await;

        // It is tried again by itself.
        line.phone.behave(Behaviour::Conversations);
        line.gets(&[b"not now"]).await;
        is_over(&kept).await;
        line.works().await;
    }
}

async fn a_silent_phone_is_waited_for_and_then_left_alone(bed: Rc<Bed>) {
    let mut line = Line::new(&bed).await;
    line.phone.behave(Behaviour::Silent);
    let start = Instant::now();
    let first = location(&line.push(b"anybody?").await);
    let took = start.elapsed();
    assert!(
        took >= ACK_TIMEOUT && took < ACK_TIMEOUT + MARGIN,
        "{took:?}"
    );
    let second = location(&line.push(b"hello?").await);
    let late = line.phone.push().await;
    assert_eq!(late.payload, b"anybody?");
    line.phone.catches_up().await;
    assert!(line.phone.pushed_already().is_none(), "one at a time");
    assert!(waits(&first).await && waits(&second).await);

    // An answer that comes so late is good enough.
    line.phone.behave(Behaviour::Conversations);
    line.phone.acknowledge(&late).await;
    line.gets(&[b"hello?"]).await;
    is_over(&first).await;
    is_over(&second).await;
    line.works().await;
}

async fn a_ttl_of_0_is_now_or_never(bed: Rc<Bed>) {
    let mut line = Line::new(&bed).await;
    let never = [("TTL", "0")];
    let answer = post(&line.endpoint, &never, b"now").await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    line.gets(&[b"now"]).await;

    line.phone.behave(Behaviour::Silent);
    let answer = post(&line.endpoint, &never, b"now or never").await;
    let unanswered = location(&answer);
    assert_eq!(answer.header("ttl"), Some("0"));
    assert!(!waits(&unanswered).await);
    line.gets(&[b"now or never"]).await;

    line.phone.behave(Behaviour::Refuse {
        kind: "wait",
        condition: "resource-constraint",
    });
    assert_try_again(&post(&line.endpoint, &never, b"not now").await);
    line.gets(&[b"not now"]).await;

    let away = line.leave().await;
    assert_try_again(&post(&away.endpoint, &never, b"to nobody").await);
    let mut line = away.back(&*bed.server().await).await;
    line.works().await;
}

async fn an_expired_endpoint_gives_404(bed: Rc<Bed>) {
    tokio::join!(
        expires(&bed, "paseto"),
        expires(&bed, "jwt"),
        expires(&bed, "storage"),
    );
}

async fn expires(bed: &Bed, backend: &str) {
    let server = bed.server().await;
    let settings = bed
        .config(&server)
        .text("backend", backend)
        .text("registration_ttl", "10s")
        .text("registration_grace", "0s");
    let phone = Phone::log_in(&server, &bed.user("romeo")).await;
    let mut line = Line::with(bed, settings, phone).await;
    line.works().await;
    eventually("the endpoint expires", PATIENCE, async || {
        let answer = line.push(b"still there?").await;
        assert!(matches!(answer.status, 201 | 404), "{}", answer.text());
        (answer.status == 404).then_some(())
    })
    .await;
}
