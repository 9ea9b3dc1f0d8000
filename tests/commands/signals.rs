//! SIGTERM and SIGINT: what is in flight is finished; a second one ends at once.

use std::time::Duration;

use rustix::process::Signal;

use crate::{
    bed::{Bed, PATIENCE},
    http::try_get,
};

/// How long the phone takes over its answer: longer than a signal takes.
pub const LONG: Duration = Duration::from_secs(3);

#[tokio::test]
async fn a_signal_lets_the_push_in_flight_finish() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut bed = Bed::new().await;
        bed.text("delivery.ack_timeout", "5s");
        let mut daemon = bed.start().await;
        let endpoint = bed.register("app").await;
        let waiting = bed.waiting_push(LONG).await;
        daemon.signal(signal);
        daemon.logged("stopping").await;
        assert!(!waiting.is_finished());
        assert_eq!(waiting.await.unwrap(), 201);
        assert_eq!(daemon.exit().await, Some(0));
        assert!(daemon.log().contains("stopped"), "{}", daemon.log());
        assert!(try_get(&endpoint).await.is_none(), "nobody listens");
    }
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    for (first, second) in [(Signal::TERM, Signal::TERM), (Signal::INT, Signal::TERM)] {
        let mut bed = Bed::new().await;
        bed.text("delivery.ack_timeout", "5s");
        let mut daemon = bed.start().await;
        let waiting = bed.waiting_push(PATIENCE).await;
        daemon.signal(first);
        daemon.logged("stopping").await;
        daemon.signal(second);
        assert_eq!(daemon.exit().await, Some(130), "{}", daemon.log());
        waiting.abort();
    }
}

#[tokio::test]
async fn an_idle_daemon_waits_for_nothing() {
    let bed = Bed::new().await;
    let mut daemon = bed.start().await;
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.exit().await, Some(0));
    let log = daemon.log();
    let (_, stop) = log.split_once("stopping").unwrap();
    assert!(!stop.contains("WARN") && stop.contains("stopped"), "{log}");
}

#[tokio::test]
async fn serve_is_what_runs_without_a_subcommand() {
    let bed = Bed::new().await;
    bed.start_with(&mut bed.command(&[])).await.stop().await;
}
