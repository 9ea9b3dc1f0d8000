//! A daemon that is stopped, or killed: what it said 201 to, the next one delivers.

use std::rc::Rc;

use rustix::process::Signal;
use testbed::{Behaviour, Daemon, Push, http::post, tests};
use tokio::time::Instant;

use crate::{
    Test,
    bed::Bed,
    line::{Line, MINUTE, is_over, location, waits},
};

pub fn on_both() -> Vec<Test> {
    tests![
        a_push_that_waits_at_a_stop_is_stored_and_arrives,
        an_answer_to_the_former_daemon_is_good_enough,
        what_a_killed_daemon_kept_arrives,
        a_killed_daemon_s_unanswered_push_is_not_lost,
    ]
}

const PATIENT: &str = "5s";

/// A line whose phone was sent a push and has not answered when the daemon stops.
struct Stopped {
    line: Line,
    kept: String,
    pushed: Push,
}

async fn stopped(bed: &Bed) -> Stopped {
    let server = bed.server().await;
    let settings = bed.config(&server).text("delivery.ack_timeout", PATIENT);
    let mut line = Line::with_settings(bed, settings).await;
    line.phone.behave(Behaviour::Silent);
    let endpoint = line.endpoint.clone();
    let waiting = tokio::spawn(async move { post(&endpoint, &[MINUTE], b"last words").await });
    let pushed = line.phone.push().await;
    // An answer comes after the link has taken note of what it has sent.
    let service = line.daemon.service().to_owned();
    let ping = "<ping xmlns='urn:xmpp:ping'/>";
    line.phone.iq("get", Some(&service), ping).await;
    let start = Instant::now();
    line.daemon.signal(Signal::TERM);
    let answer = waiting.await.unwrap();
    assert_eq!(answer.header("ttl"), Some("60"));
    let took = start.elapsed();
    assert!(took.as_secs() < 3, "at once, not in {took:?}");
    let Line {
        daemon,
        phone,
        pair,
        endpoint,
    } = line;
    let next = daemon.config.clone();
    assert_eq!(daemon.exit().await, Some(0));
    let kept = location(&answer);
    let daemon = bed.start_linked(&next).await;
    assert!(waits(&kept).await);
    Stopped {
        line: Line {
            daemon,
            phone,
            pair,
            endpoint,
        },
        kept,
        pushed,
    }
}

async fn a_push_that_waits_at_a_stop_is_stored_and_arrives(bed: Rc<Bed>) {
    let Stopped { mut line, kept, .. } = stopped(&bed).await;
    // The phone had it, and said nothing: perhaps it was lost on the way.
    line.phone.behave(Behaviour::Conversations);
    line.announce().await;
    line.gets(&[b"last words"]).await;
    is_over(&kept).await;
    line.works().await;
}

async fn an_answer_to_the_former_daemon_is_good_enough(bed: Rc<Bed>) {
    let Stopped {
        mut line,
        kept,
        pushed,
    } = stopped(&bed).await;
    line.phone.behave(Behaviour::Conversations);
    line.phone.acknowledge(&pushed).await;
    is_over(&kept).await;
    line.announce().await;
    line.works().await;
    let unknown = "reason=\"unknown-answer\"";
    let odd = "unified_push_odd_stanzas_total";
    assert_eq!(line.daemon.metric(odd, unknown).await, 0.0);
}

/// Kills the daemon and starts the next one.
async fn killed(bed: &Bed, daemon: Daemon) -> Daemon {
    let next = daemon.config.clone();
    daemon.kill().await;
    bed.start_linked(&next).await
}

async fn what_a_killed_daemon_kept_arrives(bed: Rc<Bed>) {
    let server = bed.server().await;
    let mut away = Line::new(&bed).await.leave().await;
    let kept = [away.store(b"one").await, away.store(b"two").await];
    away.daemon = killed(&bed, away.daemon).await;
    for kept in &kept {
        assert!(waits(kept).await);
    }
    let mut line = away.back(&server).await;
    line.gets(&[b"one", b"two"]).await;
    for kept in &kept {
        is_over(kept).await;
    }
    line.works().await;
}

async fn a_killed_daemon_s_unanswered_push_is_not_lost(bed: Rc<Bed>) {
    let mut line = Line::new(&bed).await;
    line.phone.behave(Behaviour::Silent);
    let kept = location(&line.push(b"last words").await);
    let pushed = line.phone.push().await;
    line.daemon = killed(&bed, line.daemon).await;
    assert!(waits(&kept).await);
    line.phone.behave(Behaviour::Conversations);
    line.phone.acknowledge(&pushed).await;
    is_over(&kept).await;
    line.works().await;
}
