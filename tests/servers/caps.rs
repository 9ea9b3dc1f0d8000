//! How much may wait, what an administrator can do about it, and what the metrics say of it.

use std::rc::Rc;

use testbed::{
    Daemon, PATIENCE, Pair, eventually,
    http::{post, push},
    server::DOMAIN,
    tests,
};

use crate::{
    Test,
    bed::Bed,
    line::{Line, MINUTE, assert_try_again, delete, is_over, location, waits},
};

pub fn on_both() -> Vec<Test> {
    tests![
        a_full_endpoint_gives_up_the_oldest_of_its_least_urgent,
        a_full_account_is_told_to_try_again,
        an_administrator_lists_and_drops_what_waits,
        a_revocation_drops_what_waits,
        the_metrics_follow_the_queue,
    ]
}

const EVENTS: &str = "unified_push_queue_events_total";
const RESULTS: &str = "unified_push_pushes_total";
const WAITING: &str = "unified_push_phones_waiting";
const MESSAGES: &str = "unified_push_queue_messages";
const BYTES: &str = "unified_push_queue_bytes";

async fn a_full_endpoint_gives_up_the_oldest_of_its_least_urgent(bed: Rc<Bed>) {
    let server = bed.server().await;
    let settings = bed
        .config(&server)
        .value("delivery.max_queued_per_endpoint", 3);
    let line = Line::with_settings(&bed, settings).await;
    let away = line.leave().await;
    let urgent = |urgency| [MINUTE, ("Urgency", urgency)];
    let normal = away.store_with(&urgent("normal"), b"normal").await;
    let low = [
        away.store_with(&urgent("low"), b"low 1").await,
        away.store_with(&urgent("low"), b"low 2").await,
    ];
    let high = away.store_with(&urgent("high"), b"high").await;
    assert!(!waits(&low[0]).await && waits(&low[1]).await);
    let another = away.store_with(&urgent("low"), b"low 3").await;
    assert!(!waits(&low[1]).await);
    assert_try_again(&post(&away.endpoint, &urgent("very-low"), b"x").await);
    for kept in [&normal, &high, &another] {
        assert!(waits(kept).await);
    }
    let mut line = away.back(&server).await;
    line.gets(&[b"high", b"normal", b"low 3"]).await;
    is_over(&another).await;
    line.works().await;
}

async fn a_full_account_is_told_to_try_again(bed: Rc<Bed>) {
    let server = bed.server().await;
    let settings = bed.config(&server).value("delivery.max_queued_per_jid", 2);
    let mut line = Line::with_settings(&bed, settings).await;
    let other = Pair::of(&line.phone.jid, "another app");
    let service = line.daemon.service().to_owned();
    let other = line.phone.register(&service, &other).await.unwrap();
    let away = line.leave().await;
    let kept = [away.store(b"one").await, away.store(b"two").await];
    for endpoint in [&away.endpoint, &other.endpoint] {
        assert_try_again(&push(endpoint, b"one too many").await);
    }
    let mut line = away.back(&server).await;
    line.gets(&[b"one", b"two"]).await;
    for kept in &kept {
        is_over(kept).await;
    }
    line.works().await;
}

/// What a subcommand says, which must succeed.
fn run(daemon: &Daemon, subcommand: &[&str]) -> String {
    let output = daemon.config.command(subcommand).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

async fn an_administrator_lists_and_drops_what_waits(bed: Rc<Bed>) {
    let server = bed.server().await;
    let away = Line::new(&bed).await.leave().await;
    let account = format!("{}@{DOMAIN}", away.user());
    let listed = async || {
        let list = run(&away.daemon, &["queue", "list"]);
        let line = list.lines().find(|line| line.ends_with(&account));
        line.map(|line| line.split_whitespace().next().unwrap().to_owned())
    };
    assert_eq!(listed().await, None);
    let kept = [away.store(b"one").await, away.store(b"two").await];
    assert_eq!(listed().await.as_deref(), Some("2"));
    run(&away.daemon, &["queue", "drop", &account]);
    assert_eq!(listed().await, None);
    assert!(!waits(&kept[0]).await && !waits(&kept[1]).await);

    away.store(b"three").await;
    let mut line = away.back(&server).await;
    line.gets(&[b"three"]).await;
    line.works().await;
}

async fn a_revocation_drops_what_waits(bed: Rc<Bed>) {
    let server = bed.server().await;
    let away = Line::new(&bed).await.leave().await;
    let account = format!("{}@{DOMAIN}", away.user());
    let kept = away.store(b"to nobody").await;
    run(&away.daemon, &["registrations", "revoke", &account]);
    assert!(!waits(&kept).await);
    eventually("the running daemon notices", PATIENCE, async || {
        // Nothing that could wait after all.
        let answer = post(&away.endpoint, &[("TTL", "0")], b"to nobody").await;
        (answer.status == 404).then_some(())
    })
    .await;

    // The phone knows of nothing, and comes back as ever.
    let mut line = away.back(&server).await;
    let service = line.daemon.service().to_owned();
    line.daemon
        .becomes("unified_push_phones_available", "", 1.0)
        .await;
    let renewed = line.phone.register(&service, &line.pair).await.unwrap();
    assert_ne!(renewed.endpoint, line.endpoint);
    line.endpoint = renewed.endpoint;
    line.works().await;
}

async fn the_metrics_follow_the_queue(bed: Rc<Bed>) {
    let server = bed.server().await;
    let settings = bed
        .config(&server)
        .value("delivery.max_queued_per_endpoint", 3);
    let mut away = Line::with_settings(&bed, settings).await.leave().await;
    let topic = [MINUTE, ("Topic", "mail")];
    away.store_with(&topic, b"replaced").await;
    away.store_with(&topic, b"evicted").await;
    let deleted = away.store(b"deleted").await;
    away.store(b"one").await;
    away.store(b"two").await;
    assert_eq!(delete(&deleted).await, 204);
    let expires = post(&away.endpoint, &[("TTL", "1")], b"expires").await;
    is_over(&location(&expires)).await;
    for (event, count) in [
        ("stored", 6.0),
        ("replaced", 1.0),
        ("evicted", 1.0),
        ("deleted", 1.0),
        ("forwarded", 0.0),
        ("revoked", 0.0),
    ] {
        let label = format!("event=\"{event}\"");
        assert_eq!(away.daemon.metric(EVENTS, &label).await, count, "{event}");
    }
    let stored = away.daemon.metric(RESULTS, "result=\"stored\"").await;
    assert_eq!(stored, 6.0);
    away.daemon.becomes(WAITING, "", 1.0).await;

    // A daemon counts and purges as it starts.
    let next = away.daemon.config.clone();
    away.daemon.stop().await;
    away.daemon = bed.start_linked(&next).await;
    away.daemon.becomes(EVENTS, "event=\"expired\"", 1.0).await;
    away.daemon.becomes(MESSAGES, "", 2.0).await;
    assert!(away.daemon.metric(BYTES, "").await > 2.0 * 512.0);

    let mut line = away.back(&server).await;
    line.gets(&[b"one", b"two"]).await;
    let forwarded = "event=\"forwarded\"";
    line.daemon.becomes(EVENTS, forwarded, 2.0).await;
    line.daemon.becomes(WAITING, "", 0.0).await;
    line.works().await;
    let acknowledged = "result=\"acknowledged\"";
    assert_eq!(line.daemon.metric(RESULTS, acknowledged).await, 1.0);
    line.daemon.becomes(MESSAGES, "", 0.0).await;
}
