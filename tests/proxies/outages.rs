//! What senders are told while the daemon is down: to try again, and never to forget an endpoint.

use std::fs;

use rustix::process::Signal;
use testbed::{Behaviour, PATIENCE, eventually, tests};

use crate::{
    Test,
    front::{Answer, Front},
    program::Program,
};

pub fn all() -> Vec<Test> {
    tests![
        a_daemon_that_is_stopped_is_tried_again,
        a_daemon_that_dies_with_a_push_is_tried_again,
        a_daemon_that_starts_later_is_found,
    ]
}

async fn a_daemon_that_is_stopped_is_tried_again(program: Program) {
    let mut front = Front::new(program).await;
    let daemon = front.bed.start().await;
    front.open().await;
    let endpoint = front.bed.register("app").await;
    let sent = front.post(&endpoint, b"first").await.unwrap();
    assert_eq!(sent.status, 201);
    front.bed.arrived().await;
    let location = sent.header("location").unwrap();

    daemon.stop().await;
    for version in ["--http1.1", "--http2"] {
        // Who uses HTTP/2 may lose an answer that comes before the end of the push.
        let pushed = async || front.post_with(&[version], &endpoint, b"lost?").await;
        passes("POST", eventually("an answer", PATIENCE, pushed).await);
        for (method, url) in [
            ("GET", endpoint.as_str()),
            ("GET", location),
            ("DELETE", location),
        ] {
            let answer = front.curl(&[version, "--request", method, url], b"").await;
            passes(method, answer.expect("an answer"));
        }
    }

    let _daemon = front.bed.start().await;
    works_again(&mut front, &endpoint).await;
    let id = location.rsplit('/').next().unwrap();
    front.keeps_secret(&[id, secret_of(&endpoint)]);
}

async fn a_daemon_that_dies_with_a_push_is_tried_again(program: Program) {
    let mut front = Front::new(program).await;
    front.bed.text("delivery.ack_timeout", "5s");
    let mut daemon = front.bed.start().await;
    front.open().await;
    let endpoint = front.bed.register("app").await;
    for version in ["--http1.1", "--http2"] {
        front.bed.phone.behave(Behaviour::Silent);
        let (mut curl, output) = front.start_post(&[version], &endpoint, "lost?");
        assert_eq!(front.bed.arrived().await.payload, b"lost?");
        daemon.signal(Signal::KILL);
        curl.exit(PATIENCE).await;
        let answer = Answer::parse(&fs::read_to_string(output).unwrap());
        // Apache has 500 for it, or closes the connection.
        let harmless = |answer: &Answer| (500..=504).contains(&answer.status);
        assert!(answer.as_ref().is_none_or(harmless), "{answer:?}");
        daemon.exit().await;

        front.bed.phone.behave(Behaviour::Conversations);
        daemon = front.bed.start().await;
        works_again(&mut front, &endpoint).await;
    }
    front.keeps_secret(&[secret_of(&endpoint)]);
}

async fn a_daemon_that_starts_later_is_found(program: Program) {
    let mut front = Front::new(program).await;
    front.launch();
    let ask = async || {
        let answer = front.post(&front.bed.url("/push/token"), b"x").await?;
        passes("POST", answer);
        Some(())
    };
    eventually("the proxy answers", PATIENCE, ask).await;
    let _daemon = front.bed.start().await;
    let endpoint = front.bed.register("app").await;
    works_again(&mut front, &endpoint).await;
}

/// Until the first push is taken, senders are told to try again. It arrives, once.
async fn works_again(front: &mut Front, endpoint: &str) {
    eventually("a push is taken", PATIENCE, async || {
        let answer = front.post(endpoint, b"again").await?;
        if answer.status != 201 {
            passes("POST", answer);
            return None;
        }
        Some(())
    })
    .await;
    assert_eq!(front.bed.arrived().await.payload, b"again");
    let last = front.post(endpoint, b"last").await.unwrap();
    assert_eq!(last.status, 201);
    assert_eq!(front.bed.arrived().await.payload, b"last");
}

fn passes(what: &str, answer: Answer) {
    assert!(answer.is_passing(), "{what}: {answer:?}");
}

/// Enough of the token to be found in a line that is cut.
fn secret_of(endpoint: &str) -> &str {
    &endpoint.rsplit('/').next().unwrap()[..40]
}
