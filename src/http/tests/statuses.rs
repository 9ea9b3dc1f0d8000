//! Which status an outcome, a bad request and a guessed token get.

use super::*;
use crate::metrics::PushResult;

/// What an application server must be told. No arm is shared by accident: a new outcome has to be
/// thought about here as well as in `answer`.
fn expected(outcome: &Outcome) -> (u16, PushResult, &'static [(&'static str, &'static str)]) {
    const NONE: &[(&str, &str)] = &[];
    const SHORTLY: &[(&str, &str)] = &[("retry-after", "10")];
    const SOON: &[(&str, &str)] = &[("retry-after", "30")];
    const LATER: &[(&str, &str)] = &[("retry-after", "60")];
    match outcome {
        Outcome::Acknowledged { .. } => (
            201,
            PushResult::Acknowledged,
            &[("ttl", "60"), ("location", LOCATION)],
        ),
        Outcome::Stored { .. } => (
            201,
            PushResult::Stored,
            &[("ttl", "30"), ("location", LOCATION)],
        ),
        Outcome::SentUnanswered { .. } => (
            201,
            PushResult::SentUnanswered,
            &[("ttl", "0"), ("location", LOCATION)],
        ),
        Outcome::Unanswered => (503, PushResult::Unanswered, LATER),
        Outcome::PhoneError => (503, PushResult::PhoneError, LATER),
        Outcome::LinkDown => (503, PushResult::LinkDown, SOON),
        Outcome::Revoked => (404, PushResult::Revoked, NONE),
        Outcome::BadToken => (404, PushResult::BadToken, NONE),
        Outcome::Gone => (404, PushResult::Gone, NONE),
        Outcome::Unauthorized(_) => (
            401,
            PushResult::Unauthorized,
            &[("www-authenticate", "vapid")],
        ),
        Outcome::RateLimited => (503, PushResult::RateLimited, SHORTLY),
        Outcome::MemoryFull => (503, PushResult::MemoryFull, SHORTLY),
        Outcome::LinkBusy => (503, PushResult::LinkBusy, SHORTLY),
        Outcome::StoreFailed => (503, PushResult::StoreFailed, SOON),
        Outcome::ClockWrong => (503, PushResult::ClockWrong, LATER),
        Outcome::AccountFull => (503, PushResult::AccountFull, LATER),
        Outcome::QueueFull => (503, PushResult::QueueFull, LATER),
    }
}

#[tokio::test]
async fn every_outcome_has_its_status_headers_and_count() {
    for outcome in every_outcome() {
        let fixture = Fixture::new();
        let answer = fixture.post(&variant(&outcome)).await;
        let (status, result, headers) = expected(&outcome);
        assert_eq!(answer.status, status, "{outcome:?}");
        for name in ["ttl", "location", "retry-after", "www-authenticate"] {
            let wanted = headers.iter().find(|(n, _)| *n == name).map(|(_, v)| *v);
            assert_eq!(answer.header(name), wanted, "{outcome:?}: {name}");
        }
        assert_eq!(answer.body.is_empty(), status == 201, "{outcome:?}");
        assert_eq!(fixture.metrics.pushes.get(result), 1, "{outcome:?}");
    }
}

#[tokio::test]
async fn a_404_tells_nothing_about_its_reason() {
    let fixture = Fixture::new();
    let bad = fixture.post("BadToken").await;
    assert_eq!(bad.status, 404);
    assert_eq!(bad, fixture.post("Gone").await);
    assert_eq!(bad, fixture.post("Revoked").await);
    for path in [
        "/base/nothing",
        "/",
        "/base/push/",
        "/base/message/",
        "/aesgcm",
        "/generic?e=",
        "/aesgcm?e=https://other.example/push/good",
        "/aesgcm?e=https://up.example.org/elsewhere",
    ] {
        assert_eq!(bad, fixture.ask("POST", path, &[], "x").await, "{path}");
    }
}

#[tokio::test]
async fn only_who_keeps_guessing_gets_429() {
    let fixture = Fixture::new();
    for _ in 0..3 {
        assert_eq!(fixture.post("BadToken").await.status, 404);
    }
    let limited = fixture.post("BadToken").await;
    assert_eq!(limited.status, 429);
    assert_eq!(limited.header("retry-after"), Some("30"));
    assert_eq!(fixture.metrics.pushes.get(PushResult::Guessing), 1);
    assert_eq!(fixture.metrics.pushes.get(PushResult::BadToken), 3);
    // A dead endpoint stays a 404, a good one a 201, for the same client.
    assert_eq!(fixture.post("Gone").await.status, 404);
    assert_eq!(fixture.post("Revoked").await.status, 404);
    assert_eq!(fixture.post("good").await.status, 201);
}

#[tokio::test]
async fn clients_behind_a_trusted_proxy_guess_apart() {
    let fixture = Fixture::new();
    let guess = async |client: &str| {
        let headers = [("x-forwarded-for", client)];
        let path = "/base/push/BadToken";
        fixture.ask("POST", path, &headers, "x").await.status
    };
    for _ in 0..3 {
        assert_eq!(guess("2001:db8::1").await, 404);
    }
    assert_eq!(guess("2001:db8::2").await, 429);
    assert_eq!(guess("2001:db8:0:1::2").await, 404);
}

#[tokio::test]
async fn a_bad_header_is_named_and_nothing_is_delivered() {
    let fixture = Fixture::new();
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[("TTL", "soon")], "TTL"),
        (&[("TTL", "-1")], "TTL"),
        (&[("TTL", "")], "TTL"),
        (&[("TTL", "soon"), ("TTL", "later")], "TTL"),
        (&[("Urgency", "urgent")], "Urgency"),
        (&[("Urgency", "low, high")], "Urgency"),
        (&[("Urgency", "low"), ("Urgency", "low")], "Urgency"),
        (&[("Topic", "not/safe")], "Topic"),
        (&[("Topic", "=")], "Topic"),
        (&[("Topic", "a23456789_a23456789_a23456789_a23")], "Topic"),
        (&[("Topic", "a"), ("Topic", "b")], "Topic"),
    ];
    for (headers, name) in cases {
        let answer = fixture.ask("POST", "/base/push/t", headers, "x").await;
        assert_eq!(answer.status, 400, "{headers:?}");
        assert!(answer.body.starts_with(name), "{}", answer.body);
    }
    let counted = fixture.metrics.pushes.get(PushResult::BadRequest);
    assert_eq!(counted, cases.len() as u64);
    assert_eq!(fixture.fake.taken(), []);
}

#[tokio::test]
async fn a_ttl_beyond_2_to_the_31_is_taken_for_that() {
    let fixture = Fixture::new();
    for huge in ["2147483649", "99999999999999999999999999"] {
        let headers = [("TTL", huge)];
        let answer = fixture.ask("POST", "/base/push/t", &headers, "x").await;
        assert_eq!(answer.status, 201, "{huge}");
        let [taken] = &fixture.fake.taken()[..] else {
            panic!("one message")
        };
        assert_eq!(taken.ttl.map(Ttl::as_secs), Some(1 << 31), "{huge}");
    }
}

/// RFC 8030 §5.1: who prefers 202 and a receipt is answered all the same when it is over.
#[tokio::test]
async fn a_wish_for_another_answer_is_ignored() {
    let fixture = Fixture::new();
    for token in ["good", "Stored"] {
        let path = format!("/base/push/{token}");
        let wish = [("Prefer", "respond-async")];
        let answer = fixture.ask("POST", &path, &wish, "x").await;
        assert_eq!(answer.status, 201, "{token}");
        assert_eq!(answer.header("location"), Some(LOCATION));
        assert_eq!(answer, fixture.post(token).await);
    }
}

#[tokio::test]
async fn a_missing_ttl_is_refused_only_on_demand() {
    assert_eq!(Fixture::new().post("t").await.status, 201);
    let strict = Fixture::with(|public| {
        public.rules.set(Rules {
            require_ttl: true,
            read_signatures: true,
            trusted_proxies: Vec::new(),
            connections_per_client: 1,
        });
    });
    let answer = strict.post("t").await;
    assert_eq!(answer.status, 400);
    assert!(answer.body.starts_with("TTL"), "{}", answer.body);
    let with_ttl = strict.ask("POST", "/base/push/t", &[("TTL", "0")], "x");
    assert_eq!(with_ttl.await.status, 201);
}

#[tokio::test]
async fn the_delivery_gets_the_message_as_it_was_sent() {
    let fixture = Fixture::new();
    let headers = [("TTL", "60"), ("Urgency", "high"), ("Topic", "mail")];
    let path = "/base/push/v4.local.a-b_c?ignored=1";
    fixture.ask("POST", path, &headers, "hello").await;
    let expected = Taken {
        token: "v4.local.a-b_c".to_owned(),
        ttl: Some(Ttl::from_secs(60)),
        urgency: Urgency::High,
        topic: Topic::parse(b"mail"),
        body: b"hello".to_vec(),
        signature: Signature::Absent,
    };
    assert_eq!(fixture.fake.taken(), [expected]);
}

#[tokio::test]
async fn a_body_is_1_to_4096_bytes() {
    let fixture = Fixture::new();
    for (length, status) in [(0, 400), (1, 201), (4096, 201), (4097, 413)] {
        let body = "x".repeat(length);
        let answer = fixture.ask("POST", "/base/push/t", &[], &body).await;
        assert_eq!(answer.status, status, "{length} bytes");
    }
    assert_eq!(fixture.metrics.pushes.get(PushResult::TooLarge), 1);
    assert_eq!(fixture.metrics.pushes.get(PushResult::BadRequest), 1);
}
