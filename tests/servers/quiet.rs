//! Phones that do not answer: most often their servers hold what they are sent for a session that
//! may be resumed (XEP-0198). They get one stanza, and whatever becomes of it, every message
//! arrives once.

use std::rc::Rc;

use testbed::{Phone, server::HIBERNATION, tests};
use tokio::time::Instant;

use crate::{
    Test,
    bed::Bed,
    line::{Away, Line, is_over, waits},
};

pub fn on_both() -> Vec<Test> {
    tests![
        a_hibernating_phone_gets_one_stanza_and_the_rest_when_it_resumes,
        a_hibernation_that_ends_loses_and_doubles_nothing,
        a_session_that_is_not_resumed_loses_and_doubles_nothing,
        a_phone_that_registers_elsewhere_while_its_old_session_hibernates_gets_all,
        a_phone_that_announces_itself_before_it_registers_elsewhere_gets_all,
        a_phone_that_resumes_answers_the_next_daemon,
    ]
}

/// What a hibernating phone is sent, and what is kept from it.
async fn three_pushes(away: &Away) -> [String; 3] {
    let first = away.store(b"one").await;
    let start = Instant::now();
    let rest = [away.store(b"two").await, away.store(b"three").await];
    // Nobody waited for an answer.
    assert!(start.elapsed() < HIBERNATION / 2);
    let [second, third] = rest;
    [first, second, third]
}

/// In whatever order.
async fn gets_all_three(mut line: Line, kept: &[String; 3]) {
    let mut got = Vec::new();
    for _ in 0..3 {
        got.push(line.phone.push().await.payload);
    }
    got.sort();
    let mut all: [&[u8]; 3] = [b"one", b"two", b"three"];
    all.sort();
    assert_eq!(got, all);
    for kept in kept {
        is_over(kept).await;
    }
    line.works().await;
}

async fn forwarded(line: &Line) -> f64 {
    let events = "unified_push_queue_events_total";
    line.daemon.metric(events, "event=\"forwarded\"").await
}

async fn a_hibernating_phone_gets_one_stanza_and_the_rest_when_it_resumes(bed: Rc<Bed>) {
    let server = bed.server().await;
    let (away, vanished) = Line::resumable(&bed).await.vanish().await;
    let kept = three_pushes(&away).await;
    let phone = vanished.resume(&server).await;
    let mut line = away.with(phone);
    // It announces nothing: its late acknowledgement is enough.
    line.gets(&[b"one"]).await;
    line.gets(&[b"two", b"three"]).await;
    for kept in &kept {
        is_over(kept).await;
    }
    line.works().await;
    // By then all three are known to have been taken, each from the store.
    assert_eq!(forwarded(&line).await, 3.0);
}

async fn a_hibernation_that_ends_loses_and_doubles_nothing(bed: Rc<Bed>) {
    let server = bed.server().await;
    let (away, _) = Line::resumable(&bed).await.vanish().await;
    let kept = three_pushes(&away).await;
    // The server gives the session up: it returns what it held, and says that the phone is away.
    away.daemon
        .becomes("unified_push_phones_available", "", 0.0)
        .await;
    for kept in &kept {
        assert!(waits(kept).await);
    }
    let mut line = away.back(&server).await;
    line.gets(&[b"one", b"two", b"three"]).await;
    for kept in &kept {
        is_over(kept).await;
    }
    line.works().await;
}

async fn a_session_that_is_not_resumed_loses_and_doubles_nothing(bed: Rc<Bed>) {
    let server = bed.server().await;
    let (away, _) = Line::resumable(&bed).await.vanish().await;
    let kept = three_pushes(&away).await;
    // The same resource, while the server still keeps its session.
    let mut line = away.back(&server).await;
    line.gets(&[b"one", b"two", b"three"]).await;
    for kept in &kept {
        is_over(kept).await;
    }
    line.works().await;
}

async fn a_phone_that_registers_elsewhere_while_its_old_session_hibernates_gets_all(bed: Rc<Bed>) {
    let server = bed.server().await;
    let (away, _) = Line::resumable(&bed).await.vanish().await;
    let kept = three_pushes(&away).await;
    let service = away.daemon.service().to_owned();
    let mut phone = Phone::log_in_at(&server, away.user(), "reinstalled").await;
    phone.remember(&away.pair);
    let registered = phone.register(&service, &away.pair).await.unwrap();
    phone.announce(&service).await;
    let mut line = away.with(phone);
    line.endpoint = registered.endpoint;
    gets_all_three(line, &kept).await;
}

async fn a_phone_that_announces_itself_before_it_registers_elsewhere_gets_all(bed: Rc<Bed>) {
    let server = bed.server().await;
    let (away, _) = Line::resumable(&bed).await.vanish().await;
    let kept = three_pushes(&away).await;
    let service = away.daemon.service().to_owned();
    let mut phone = Phone::log_in_at(&server, away.user(), "reinstalled").await;
    phone.remember(&away.pair);
    phone.announce(&service).await;
    let registered = phone.register(&service, &away.pair).await.unwrap();
    let mut line = away.with(phone);
    line.endpoint = registered.endpoint;
    gets_all_three(line, &kept).await;
}

async fn a_phone_that_resumes_answers_the_next_daemon(bed: Rc<Bed>) {
    let server = bed.server().await;
    let (mut away, vanished) = Line::resumable(&bed).await.vanish().await;
    let kept = three_pushes(&away).await;
    let next = away.daemon.config.clone();
    away.daemon.stop().await;
    // It sends a probe once the link is up, which the session keeps as well.
    away.daemon = bed.start_linked(&next).await;
    let mut line = away.with(vanished.resume(&server).await);
    line.gets(&[b"one", b"two", b"three"]).await;
    for kept in &kept {
        is_over(kept).await;
    }
    line.works().await;
}
