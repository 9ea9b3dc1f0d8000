//! SIGTERM and SIGINT: what is in flight is stored and answered; a second one ends at once.

use std::time::Duration;

use rustix::process::Signal;
use testbed::{
    Bed, Behaviour, PATIENCE, eventually,
    http::{self, get, try_get},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::metrics::counts;

/// How long the phone takes over its answer: longer than a restart takes.
const LONG: Duration = Duration::from_secs(3);

/// A push whose body has not come yet: a daemon that stops waits for it.
pub struct HalfPush(TcpStream);

impl HalfPush {
    pub async fn begin(endpoint: &str) -> Self {
        let rest = endpoint.strip_prefix("http://").unwrap();
        let (authority, path) = rest.split_once('/').unwrap();
        let mut socket = TcpStream::connect(authority).await.unwrap();
        let head = format!(
            "POST /{path} HTTP/1.1\r\nHost: {authority}\r\nTTL: 60\r\n\
             Content-Length: 1\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        let asked = b"HTTP/1.1 100 Continue\r\n\r\n";
        let mut read = vec![0; asked.len()];
        let reading = timeout(PATIENCE, socket.read_exact(&mut read)).await;
        reading.expect("the body is asked for").unwrap();
        assert_eq!(read, asked);
        Self(socket)
    }

    /// Sends the body; returns the status.
    pub async fn finish(mut self) -> u16 {
        self.0.write_all(b"x").await.unwrap();
        let mut answer = String::new();
        let reading = timeout(PATIENCE, self.0.read_to_string(&mut answer)).await;
        reading.expect("an answer in time").unwrap();
        answer.split(' ').nth(1).unwrap().parse().unwrap()
    }
}

#[tokio::test]
async fn a_signal_stores_the_push_in_flight_and_its_answer_is_heard_after_a_restart() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut bed = Bed::new().await;
        let daemon = bed.start().await;
        let endpoint = bed.register("app").await;
        bed.phone.behave(Behaviour::Late(LONG));
        let waiting = tokio::spawn({
            let endpoint = endpoint.clone();
            async move { http::push(&endpoint, b"in flight").await }
        });
        assert_eq!(bed.arrived().await.payload, b"in flight");
        // Its answer goes out after the daemon has noted that the push did.
        bed.phone.ask("get", "<ping xmlns='urn:xmpp:ping'/>").await;
        daemon.signal(signal);
        let answer = waiting.await.unwrap();
        assert_eq!(answer.status, 201);
        assert_eq!(daemon.exit().await, Some(0));
        assert!(daemon.log().contains("stopped"), "{}", daemon.log());
        assert!(try_get(&endpoint).await.is_none(), "nobody listens");

        let daemon = bed.start().await;
        let kept = answer.header("location").unwrap();
        let heard = async || (get(kept).await.status == 404).then_some(());
        eventually("the answer is heard", PATIENCE, heard).await;
        let forwarded = "queue_events_total{event=\"forwarded\"}";
        counts(&daemon, &[(forwarded, 1.0)]).await;
        bed.phone.behave(Behaviour::Conversations);
        assert_eq!(http::push(&endpoint, b"the next").await.status, 201);
        assert_eq!(bed.arrived().await.payload, b"the next", "not sent twice");
    }
}

#[tokio::test]
async fn a_signal_lets_a_request_finish() {
    let bed = Bed::new().await;
    let daemon = bed.start().await;
    let half = HalfPush::begin(&bed.register("app").await).await;
    daemon.signal(Signal::TERM);
    daemon.logged("stopping").await;
    assert_eq!(half.finish().await, 201);
    assert_eq!(daemon.exit().await, Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    for (first, second) in [(Signal::TERM, Signal::TERM), (Signal::INT, Signal::TERM)] {
        let bed = Bed::new().await;
        let daemon = bed.start().await;
        let _half = HalfPush::begin(&bed.register("app").await).await;
        daemon.signal(first);
        daemon.logged("stopping").await;
        daemon.signal(second);
        assert_eq!(daemon.exit().await, Some(130), "{}", daemon.log());
    }
}

#[tokio::test]
async fn an_idle_daemon_waits_for_nothing() {
    let bed = Bed::new().await;
    let daemon = bed.start().await;
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.exit().await, Some(0));
    let log = daemon.log();
    let (_, stop) = log.split_once("stopping").unwrap();
    assert!(!stop.contains("WARN") && stop.contains("stopped"), "{log}");
}

#[tokio::test]
async fn serve_is_what_runs_without_a_subcommand() {
    let bed = Bed::new().await;
    bed.start_with(bed.command(&[])).await.stop().await;
}
