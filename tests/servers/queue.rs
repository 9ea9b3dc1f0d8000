//! What waits for a phone that is not there: it arrives, in order, unless its sender or its time
//! to live says otherwise.

use std::{rc::Rc, time::Duration};

use testbed::{
    Behaviour, PATIENCE, Pair, Phone, eventually,
    http::{get, post},
    tests,
};
use tokio::time::Instant;

use crate::{
    Test,
    bed::Bed,
    line::{Line, MINUTE, assert_try_again, delete, is_over, location, waits},
};

pub fn on_both() -> Vec<Test> {
    tests![
        what_waits_for_an_offline_phone_arrives_when_it_is_back,
        an_offline_phone_is_found_without_presence,
        a_message_that_its_sender_deletes_never_arrives,
        what_waits_goes_out_by_urgency_then_age_and_nothing_overtakes,
        a_later_message_with_the_topic_takes_the_place,
        a_message_that_expires_never_arrives,
        a_wish_for_receipts_changes_nothing,
        without_a_link_messages_wait_unless_it_is_now_or_never,
    ]
}

async fn what_waits_for_an_offline_phone_arrives_when_it_is_back(bed: Rc<Bed>) {
    let server = bed.server().await;
    let away = Line::new(&bed).await.leave().await;
    let answer = post(&away.endpoint, &[("TTL", "3600")], b"anybody?").await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(answer.header("ttl"), Some("3600"));
    let kept = location(&answer);
    assert!(kept.starts_with(&away.daemon.url("/message/")), "{kept}");
    assert_eq!(get(&kept).await.status, 200);

    let mut line = away.back(&server).await;
    line.gets(&[b"anybody?"]).await;
    is_over(&kept).await;
    line.works().await;
}

async fn an_offline_phone_is_found_without_presence(bed: Rc<Bed>) {
    let server = bed.server().await;
    let away = Line::new(&bed).await.leave().await;
    let kept = away.store(b"anybody?").await;
    let mut line = away.bind(&server).await;
    line.gets(&[b"anybody?"]).await;
    is_over(&kept).await;
    line.works().await;
}

async fn a_message_that_its_sender_deletes_never_arrives(bed: Rc<Bed>) {
    let server = bed.server().await;
    let away = Line::new(&bed).await.leave().await;
    let deleted = away.store(b"a mistake").await;
    let kept = away.store(b"no mistake").await;
    for _ in 0..2 {
        assert_eq!(delete(&deleted).await, 204);
        assert!(!waits(&deleted).await);
    }
    let mut line = away.back(&server).await;
    line.gets(&[b"no mistake"]).await;
    is_over(&kept).await;
    line.works().await;
}

async fn what_waits_goes_out_by_urgency_then_age_and_nothing_overtakes(bed: Rc<Bed>) {
    let server = bed.server().await;
    // The phone shall not be slower, whatever the machine does meanwhile.
    let settings = bed.config(&server).text("delivery.ack_timeout", "5s");
    let line = Line::with_settings(&bed, settings).await;
    let away = line.leave().await;
    for (urgency, body) in [
        ("low", "low"),
        ("normal", "normal 1"),
        ("very-low", "very low"),
        ("high", "high 1"),
        ("normal", "normal 2"),
        ("high", "high 2"),
    ] {
        let headers = [MINUTE, ("Urgency", urgency)];
        away.store_with(&headers, body.as_bytes()).await;
    }
    let mut line = away.bind(&server).await;
    line.phone.behave(Behaviour::Silent);
    line.announce().await;
    let first = line.phone.push().await;
    assert_eq!(first.payload, b"high 1");

    // While they are on their way, more come in. A phone that could be asked must not be.
    for (urgency, body) in [("high", "high 3"), ("normal", "normal 3")] {
        let headers = [MINUTE, ("Urgency", urgency)];
        let answer = post(&line.endpoint, &headers, body.as_bytes()).await;
        assert!(waits(&location(&answer)).await, "{body}");
    }
    line.phone.behave(Behaviour::Conversations);
    line.phone.acknowledge(&first).await;
    line.gets(&[
        b"high 2",
        b"high 3",
        b"normal 1",
        b"normal 2",
        b"normal 3",
        b"low",
        b"very low",
    ])
    .await;
    line.works().await;
}

async fn a_later_message_with_the_topic_takes_the_place(bed: Rc<Bed>) {
    let server = bed.server().await;
    let mut line = Line::new(&bed).await;
    let other = Pair::of(&line.phone.jid, "another app");
    let service = line.daemon.service().to_owned();
    let other_endpoint = line.phone.register(&service, &other).await.unwrap();
    let away = line.leave().await;
    let topic = [MINUTE, ("Topic", "mail")];
    let replaced = away.store_with(&topic, b"1 mail").await;
    let untouched = post(&other_endpoint.endpoint, &topic, b"of another app").await;
    let untouched = location(&untouched);
    away.store_with(&[MINUTE, ("Topic", "calls")], b"1 call")
        .await;
    let kept = away.store_with(&topic, b"2 mails").await;
    assert!(!waits(&replaced).await && waits(&untouched).await);

    let user = away.user().to_owned();
    let phone = Phone::log_in(&server, &user).await;
    phone.remember(&away.pair);
    phone.remember(&other);
    let mut line = away.with(phone);
    line.announce().await;
    line.gets(&[b"of another app", b"1 call", b"2 mails"]).await;
    is_over(&kept).await;
    line.works().await;
}

async fn a_message_that_expires_never_arrives(bed: Rc<Bed>) {
    let server = bed.server().await;
    let away = Line::new(&bed).await.leave().await;
    let short = away.store_with(&[("TTL", "2")], b"too late").await;
    let long = away.store(b"in time").await;
    is_over(&short).await;
    assert!(waits(&long).await);
    let mut line = away.back(&server).await;
    line.gets(&[b"in time"]).await;
    line.works().await;
}

async fn a_wish_for_receipts_changes_nothing(bed: Rc<Bed>) {
    let server = bed.server().await;
    let mut line = Line::new(&bed).await;
    let wish = [MINUTE, ("Prefer", "respond-async")];
    assert_eq!(post(&line.endpoint, &wish, b"at once").await.status, 201);
    line.gets(&[b"at once"]).await;
    let away = line.leave().await;
    away.store_with(&wish, b"later").await;
    let mut line = away.back(&server).await;
    line.gets(&[b"later"]).await;
}

async fn without_a_link_messages_wait_unless_it_is_now_or_never(bed: Rc<Bed>) {
    let server = bed.own_server();
    server.start().await;
    let phone = Phone::log_in(&server, "romeo").await;
    let line = Line::with(&bed, bed.config(&server), phone).await;
    let (away, _) = line.vanish().await;
    server.stop().await;
    eventually("the link is lost", PATIENCE, async || {
        let (_, readiness) = away.daemon.readiness().await;
        (readiness["link"] != "up").then_some(())
    })
    .await;
    let now_or_never = post(&away.endpoint, &[("TTL", "0")], b"now or never").await;
    assert_try_again(&now_or_never);
    let start = Instant::now();
    let kept = away.store(b"patience").await;
    let took = start.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");

    server.start().await;
    away.daemon.link("up").await;
    let mut line = away.back(&server).await;
    line.gets(&[b"patience"]).await;
    is_over(&kept).await;
    line.works().await;
}
