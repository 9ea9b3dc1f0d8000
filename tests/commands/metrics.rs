//! What the counters say after something has happened.

use testbed::{Bed, Behaviour, Daemon, PATIENCE, bed::push, eventually, http::post};

/// The value of a metric by its name and labels.
pub async fn value(daemon: &Daemon, name: &str) -> f64 {
    let text = daemon.metrics().await;
    let value = text.lines().find_map(|line| {
        let rest = line.strip_prefix("unified_push_")?.strip_prefix(name)?;
        rest.strip_prefix(' ')?.parse().ok()
    });
    value.unwrap_or_else(|| panic!("{name} in {text}"))
}

pub async fn counts(daemon: &Daemon, expected: &[(&str, f64)]) {
    for (name, count) in expected {
        assert_eq!(value(daemon, name).await, *count, "{name}");
    }
}

/// The status of a push that must not be kept.
async fn push_once(endpoint: &str) -> u16 {
    post(endpoint, &[("TTL", "0")], b"a message").await.status
}

#[tokio::test]
async fn pushes_and_registrations_are_counted_by_how_they_ended() {
    let mut bed = Bed::new().await;
    bed.text("backend", "storage");
    let daemon = bed.start().await;
    let version = env!("CARGO_PKG_VERSION");
    counts(
        &daemon,
        &[(&format!("build_info{{version=\"{version}\"}}"), 1.0)],
    )
    .await;

    let stranger = bed.server.phone("eve@example.net/x");
    stranger.register("app").await.unwrap_err();
    let endpoint = bed.register("app").await;
    bed.register("other").await;
    assert_eq!(push(&endpoint).await, 201);
    assert_eq!(push(&endpoint).await, 201);
    assert_eq!(push(&format!("{endpoint}x")).await, 404);
    bed.phone.behave(Behaviour::OFFLINE);
    assert_eq!(push_once(&endpoint).await, 503);
    bed.phone.behave(Behaviour::Silent);
    assert_eq!(push_once(&endpoint).await, 201);
    bed.phone.behave(Behaviour::Conversations);
    bed.phone.forget();
    assert_eq!(push(&endpoint).await, 404);
    assert_eq!(push(&endpoint).await, 404);

    counts(
        &daemon,
        &[
            ("registrations_total{result=\"accepted\"}", 2.0),
            ("registrations_total{result=\"forbidden\"}", 1.0),
            ("pushes_total{result=\"acknowledged\"}", 2.0),
            ("pushes_total{result=\"bad-token\"}", 1.0),
            ("pushes_total{result=\"phone-error\"}", 1.0),
            ("pushes_total{result=\"sent-unanswered\"}", 1.0),
            ("pushes_total{result=\"revoked\"}", 1.0),
            ("pushes_total{result=\"gone\"}", 1.0),
            ("revocations_total", 1.0),
            ("acknowledgement_seconds_count", 2.0),
            ("in_flight", 0.0),
            ("in_flight_bytes", 0.0),
            ("link_state{state=\"up\"}", 1.0),
            ("link_losses_total{cause=\"server-shutdown\"}", 0.0),
        ],
    )
    .await;
    assert!(value(&daemon, "store_bytes").await > 0.0);
}

#[tokio::test]
async fn a_lost_link_is_counted_and_pushes_wait_for_another() {
    let bed = Bed::new().await;
    let daemon = bed.start().await;
    let endpoint = bed.register("app").await;
    drop(bed.server);
    daemon.link("connection-refused").await;
    assert_eq!(push(&endpoint).await, 201);
    assert_eq!(push_once(&endpoint).await, 503);
    counts(
        &daemon,
        &[
            ("link_losses_total{cause=\"server-shutdown\"}", 1.0),
            ("link_state{state=\"up\"}", 0.0),
            ("pushes_total{result=\"stored\"}", 1.0),
            ("pushes_total{result=\"link-down\"}", 1.0),
        ],
    )
    .await;
    let refused = "link_losses_total{cause=\"connection-refused\"}";
    let again = async || (value(&daemon, refused).await > 1.0).then_some(());
    eventually("it tries again", PATIENCE, again).await;
}
