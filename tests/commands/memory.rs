//! `limits.in_flight_memory`: what pushes to silent phones may cost, all together.

use testbed::{Bed, Behaviour, http};
use tokio::task::JoinSet;

use crate::metrics::{counts, value};

/// The least that can be configured, in bytes.
const LIMIT: usize = 64 * 1024;
/// How many pushes of 4 KiB fit, with the 1 KiB that each is counted for beside its payload.
const FIT: usize = LIMIT / (5 * 1024);
const BURST: usize = 40;

#[tokio::test]
async fn a_burst_to_silent_phones_is_refused_beyond_the_limit() {
    let mut bed = Bed::new().await;
    bed.value("limits.in_flight_memory", LIMIT);
    bed.text("delivery.ack_timeout", "5s");
    let daemon = bed.start().await;
    let endpoint = bed.register("app").await;
    bed.phone.behave(Behaviour::Silent);

    let mut burst = JoinSet::new();
    for _ in 0..BURST {
        let endpoint = endpoint.clone();
        burst.spawn(async move { http::push(&endpoint, &[b'x'; 4096]).await });
    }
    let mut refused = 0;
    while refused < BURST - FIT {
        let answer = burst.join_next().await.unwrap().unwrap();
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(answer.header("retry-after").is_some());
        assert!(value(&daemon, "in_flight_bytes").await <= LIMIT as f64);
        refused += 1;
    }
    counts(
        &daemon,
        &[
            ("in_flight_bytes", (FIT * 5 * 1024) as f64),
            ("pushes_total{result=\"memory-full\"}", refused as f64),
        ],
    )
    .await;

    // What is stored makes room.
    drop(bed.server);
    daemon.link("connection-refused").await;
    while let Some(answer) = burst.join_next().await {
        assert_eq!(answer.unwrap().status, 201);
    }
    counts(
        &daemon,
        &[
            ("in_flight_bytes", 0.0),
            ("pushes_total{result=\"stored\"}", FIT as f64),
        ],
    )
    .await;
}
