//! Messages that wait: their resources, what the metrics and `queue` say of them, and dropping them.

use testbed::{
    Bed, Behaviour, Daemon, PATIENCE,
    bed::{OWNER, push},
    eventually,
    http::{self, Response, get, post, request},
};

use crate::metrics::{counts, value};

const OFFLINE: Behaviour = Behaviour::OFFLINE;

/// A bed whose phone is away, its daemon, and an endpoint.
async fn away(configure: impl FnOnce(&mut Bed)) -> (Bed, Daemon, String) {
    let mut bed = Bed::new().await;
    configure(&mut bed);
    let daemon = bed.start().await;
    let endpoint = bed.register("app").await;
    bed.phone.behave(OFFLINE);
    (bed, daemon, endpoint)
}

/// The resource of a message that was accepted.
fn location(answer: &Response) -> String {
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.header("location").unwrap().to_owned()
}

async fn store(endpoint: &str, headers: &[(&str, &str)]) -> String {
    location(&post(endpoint, headers, b"a message").await)
}

async fn delete(location: &str) -> u16 {
    let answer = request("DELETE", location, &[], b"").await;
    answer.expect("an HTTP answer").status
}

async fn waits(location: &str) -> bool {
    match get(location).await.status {
        200 => true,
        404 => false,
        other => panic!("{other}"),
    }
}

fn event(name: &str) -> String {
    format!("queue_events_total{{event=\"{name}\"}}")
}

/// The rows of `queue list` by their columns.
async fn listed(bed: &Bed) -> Vec<Vec<String>> {
    let list = bed.run(&["queue", "list"]).await.with(0);
    let columns = |row: &str| row.split_whitespace().map(str::to_owned).collect();
    list.lines().skip(1).map(columns).collect()
}

#[tokio::test]
async fn a_stored_message_has_a_resource_until_it_is_deleted() {
    let (bed, daemon, endpoint) = away(|_| {}).await;
    let answer = http::push(&endpoint, b"a message").await;
    let kept = location(&answer);
    assert_eq!(answer.header("ttl"), Some("60"));
    assert!(answer.body.is_empty());
    assert!(waits(&kept).await);
    let [row] = &listed(&bed).await[..] else {
        panic!("one account")
    };
    let [messages, bytes, oldest, owner] = &row[..] else {
        panic!("{row:?}")
    };
    assert_eq!((&messages[..], &bytes[..]), ("1", "9"));
    assert!(oldest.ends_with('Z'), "{oldest}");
    assert_eq!(owner, OWNER);

    for _ in 0..2 {
        assert_eq!(delete(&kept).await, 204);
        assert!(!waits(&kept).await);
    }
    assert_eq!(listed(&bed).await, Vec::<Vec<String>>::new());
    counts(
        &daemon,
        &[
            ("pushes_total{result=\"stored\"}", 1.0),
            (&event("stored"), 1.0),
            (&event("deleted"), 1.0),
            (&event("forwarded"), 0.0),
        ],
    )
    .await;
}

#[tokio::test]
async fn what_waits_is_counted_and_arrives_after_a_restart() {
    let (mut bed, daemon, endpoint) = away(|_| {}).await;
    let kept = store(&endpoint, &[("TTL", "3600")]).await;
    bed.arrived().await;
    daemon.stop().await;
    let daemon = bed.start().await;
    let counted = async || (value(&daemon, "queue_messages").await == 1.0).then_some(());
    eventually("the message is counted", PATIENCE, counted).await;
    assert!(value(&daemon, "queue_bytes").await > 9.0);
    assert!(value(&daemon, "queue_oldest_seconds").await < 60.0);

    bed.phone.behave(Behaviour::Conversations);
    bed.phone.announce();
    let forwarded = async || (!waits(&kept).await).then_some(());
    eventually("the phone has it", PATIENCE, forwarded).await;
    assert_eq!(bed.arrived().await.payload, b"a message");
    counts(&daemon, &[(&event("forwarded"), 1.0)]).await;
    assert_eq!(value(&daemon, "phones_waiting").await, 0.0);
}

#[tokio::test]
async fn what_waits_for_an_account_is_dropped() {
    let (mut bed, _daemon, endpoint) = away(|_| {}).await;
    let kept = [
        store(&endpoint, &[("TTL", "60")]).await,
        store(&endpoint, &[("TTL", "60")]).await,
    ];
    let other = bed.run(&["queue", "drop", "romeo@example.org"]).await;
    assert!(other.with(0).starts_with("dropped 0 messages "));
    assert!(waits(&kept[0]).await && waits(&kept[1]).await);

    let said = bed.run(&["queue", "drop", OWNER]).await.with(0);
    let expected = format!("dropped 2 messages waiting for {OWNER}\n");
    assert_eq!(said, expected);
    assert!(!waits(&kept[0]).await && !waits(&kept[1]).await);
    assert_eq!(listed(&bed).await, Vec::<Vec<String>>::new());

    bed.phone.behave(Behaviour::Conversations);
    bed.phone.announce();
    assert_eq!(post(&endpoint, &[], b"later").await.status, 201);
    while bed.arrived().await.payload != b"later" {}
}

#[tokio::test]
async fn a_later_message_with_the_topic_takes_the_place() {
    let (_bed, daemon, endpoint) = away(|_| {}).await;
    let headers = [
        ("TTL", "60"),
        ("Topic", "mail"),
        ("Prefer", "respond-async"),
    ];
    let first = store(&endpoint, &headers).await;
    let second = store(&endpoint, &headers).await;
    assert!(!waits(&first).await && waits(&second).await);
    counts(
        &daemon,
        &[(&event("stored"), 2.0), (&event("replaced"), 1.0)],
    )
    .await;
}

#[tokio::test]
async fn what_has_expired_is_gone_and_counted() {
    let (bed, daemon, endpoint) = away(|_| {}).await;
    let kept = store(&endpoint, &[("TTL", "1")]).await;
    let gone = async || (!waits(&kept).await).then_some(());
    eventually("it expires", PATIENCE, gone).await;
    assert_eq!(listed(&bed).await, Vec::<Vec<String>>::new());
    daemon.stop().await;
    // It purges first of all.
    let daemon = bed.start().await;
    let counted = async || (value(&daemon, &event("expired")).await == 1.0).then_some(());
    eventually("it is counted", PATIENCE, counted).await;
}

#[tokio::test]
async fn a_full_endpoint_gives_up_its_least_urgent_message() {
    let (_bed, daemon, endpoint) = away(|bed| {
        bed.value("delivery.max_queued_per_endpoint", 2);
    })
    .await;
    let urgent = |urgency| [("TTL", "60"), ("Urgency", urgency)];
    let high = store(&endpoint, &urgent("high")).await;
    let low = store(&endpoint, &urgent("low")).await;
    let normal = store(&endpoint, &urgent("normal")).await;
    assert!(!waits(&low).await);
    assert!(waits(&high).await && waits(&normal).await);

    let refused = post(&endpoint, &urgent("very-low"), b"x").await;
    assert_eq!(refused.status, 503);
    assert_eq!(refused.header("retry-after"), Some("60"));
    assert!(waits(&high).await && waits(&normal).await);
    counts(
        &daemon,
        &[
            (&event("evicted"), 1.0),
            ("pushes_total{result=\"queue-full\"}", 1.0),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_full_account_and_a_full_queue_are_refused_for_a_while() {
    let (bed, daemon, endpoint) = away(|bed| {
        bed.value("delivery.max_queued_per_jid", 1);
    })
    .await;
    store(&endpoint, &[("TTL", "60")]).await;
    let other = bed.register("other").await;
    let refused = post(&other, &[("TTL", "60")], b"x").await;
    assert_eq!(refused.status, 503);
    assert_eq!(refused.header("retry-after"), Some("60"));
    counts(&daemon, &[("pushes_total{result=\"account-full\"}", 1.0)]).await;

    let (_bed, daemon, endpoint) = away(|bed| {
        bed.text("delivery.max_queued_bytes", "1MiB");
        bed.value("delivery.max_queued_per_endpoint", 1000);
        bed.text("limits.endpoint_rate", "1000/s");
    })
    .await;
    let large = [b'x'; 4096];
    let mut stored = 0;
    let refused = loop {
        match http::push(&endpoint, &large).await {
            answer if answer.status == 201 => stored += 1,
            refused => break refused,
        }
    };
    assert_eq!(refused.status, 503);
    assert_eq!(refused.header("retry-after"), Some("60"));
    assert!(
        4096 * stored < 1 << 20 && 8192 * stored > 1 << 20,
        "{stored}"
    );
    counts(&daemon, &[("pushes_total{result=\"queue-full\"}", 1.0)]).await;
}

#[tokio::test]
async fn a_revocation_takes_what_waits_with_it() {
    let (bed, _daemon, endpoint) = away(|_| {}).await;
    let kept = store(&endpoint, &[("TTL", "60")]).await;
    let said = bed.run(&["registrations", "revoke", OWNER]).await.with(0);
    assert!(said.contains("Dropped from its queue: 1 message"), "{said}");
    assert!(!waits(&kept).await);
    let dead = async || (push(&endpoint).await == 404).then_some(());
    eventually("404", PATIENCE, dead).await;
}
