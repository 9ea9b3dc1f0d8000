//! What the daemon makes of the headers of a push: a bad one is named, and its message goes nowhere.

use testbed::{Bed, Behaviour, bed::push, http::post};

use crate::metrics::{counts, value};

/// RFC 8030 §5.2 to §5.4.
const BAD: &[(&str, &[(&str, &str)])] = &[
    ("TTL", &[("TTL", "soon")]),
    ("TTL", &[("TTL", "-1")]),
    ("TTL", &[("TTL", "1.5")]),
    ("TTL", &[("TTL", "")]),
    ("TTL", &[("TTL", "soon"), ("TTL", "later")]),
    ("Urgency", &[("TTL", "60"), ("Urgency", "urgent")]),
    ("Urgency", &[("TTL", "60"), ("Urgency", "low, high")]),
    (
        "Urgency",
        &[("TTL", "60"), ("Urgency", "low"), ("Urgency", "high")],
    ),
    (
        "Topic",
        &[
            ("TTL", "60"),
            ("Topic", "a23456789_a23456789_a23456789_a23"),
        ],
    ),
    ("Topic", &[("TTL", "60"), ("Topic", "no spaces")]),
    ("Topic", &[("TTL", "60"), ("Topic", "a/b")]),
    ("Topic", &[("TTL", "60"), ("Topic", "a"), ("Topic", "a")]),
];

#[tokio::test]
async fn a_bad_header_is_named_and_nothing_is_sent_or_stored() {
    let mut bed = Bed::new().await;
    let daemon = bed.start().await;
    let endpoint = bed.register("app").await;
    // Whatever were taken would be kept for it.
    bed.phone.behave(Behaviour::OFFLINE);
    for (name, headers) in BAD {
        let answer = post(&endpoint, headers, b"bad").await;
        assert_eq!(answer.status, 400, "{headers:?}");
        let body = answer.text();
        assert!(
            body.starts_with(&format!("{name}: ")),
            "{headers:?}: {body}"
        );
    }
    counts(
        &daemon,
        &[
            ("pushes_total{result=\"bad-request\"}", BAD.len() as f64),
            ("queue_events_total{event=\"stored\"}", 0.0),
            ("in_flight", 0.0),
        ],
    )
    .await;

    bed.phone.behave(Behaviour::Conversations);
    assert_eq!(push(&endpoint).await, 201);
    assert_eq!(bed.arrived().await.payload, b"a message", "the first one");
    assert_eq!(value(&daemon, "queue_messages").await, 0.0);
}

#[tokio::test]
async fn a_ttl_beyond_2_to_the_31_is_taken_for_that() {
    let mut bed = Bed::new().await;
    bed.text("registration_ttl", "36500d");
    bed.text("delivery.max_ttl", "36500d");
    let _daemon = bed.start().await;
    let endpoint = bed.register("app").await;
    for huge in ["2147483648", "2147483649", "99999999999999999999999999"] {
        let answer = post(&endpoint, &[("TTL", huge)], b"x").await;
        assert_eq!(answer.status, 201, "{huge}");
        assert_eq!(answer.header("ttl"), Some("2147483648"), "{huge}");
    }
}
