//! Where a message goes: to the phone that registered, to where it has registered since, to
//! another resource of its account; and to nobody when the phone says that it wants it no longer.

use std::rc::Rc;

use testbed::{
    Pair, Phone,
    http::{post, push},
    tests,
};

use crate::{
    Test,
    bed::Bed,
    line::{Away, Line, MINUTE, is_over, location, user_of, waits},
};

pub fn on_both() -> Vec<Test> {
    tests![
        a_resource_of_bind_2_gets_all_with_back_end_paseto,
        a_resource_of_bind_2_gets_all_with_back_end_jwt,
        a_resource_of_bind_2_gets_all_with_back_end_storage,
        what_waits_for_a_forgotten_registration_is_dropped,
        what_waits_follows_a_registration_with_back_end_paseto,
        what_waits_follows_a_registration_with_back_end_jwt,
        what_waits_follows_a_registration_with_back_end_storage,
        another_resource_takes_what_the_registered_one_cannot,
        another_resource_revokes_nothing,
    ]
}

async fn a_resource_of_bind_2_gets_all_with_back_end_paseto(bed: Rc<Bed>) {
    gets_all(&bed, "paseto").await;
}

async fn a_resource_of_bind_2_gets_all_with_back_end_jwt(bed: Rc<Bed>) {
    gets_all(&bed, "jwt").await;
}

async fn a_resource_of_bind_2_gets_all_with_back_end_storage(bed: Rc<Bed>) {
    gets_all(&bed, "storage").await;
}

/// What comes at once, what waits until its presence, and what is addressed to it after a restart.
async fn gets_all(bed: &Bed, backend: &str) {
    let server = bed.server().await;
    let settings = bed.config(&server).text("backend", backend);
    let mut line = Line::with_settings(bed, settings.clone()).await;
    let resource = line.phone.jid.split_once('/').unwrap().1;
    assert!(resource.starts_with("Conversations~") && resource.contains("/+"));
    line.works().await;

    let away = line.leave().await;
    let kept = away.store(b"while it is away").await;
    let mut line = away.back(&server).await;
    line.gets(&[b"while it is away"]).await;
    is_over(&kept).await;
    let available = "unified_push_phones_available";
    line.daemon.becomes(available, "", 1.0).await;

    let away = line.leave().await;
    let kept = away.store(b"over a restart").await;
    away.daemon.stop().await;
    let daemon = bed.start_linked(&settings).await;
    let mut line = Away { daemon, ..away }.back(&server).await;
    line.gets(&[b"over a restart"]).await;
    is_over(&kept).await;
    line.works().await;
}

async fn what_waits_for_a_forgotten_registration_is_dropped(bed: Rc<Bed>) {
    let server = bed.server().await;
    let mut line = Line::new(&bed).await;
    let other = Pair::of(&line.phone.jid, "another app");
    let service = line.daemon.service().to_owned();
    let other_endpoint = line.phone.register(&service, &other).await.unwrap();
    let away = line.leave().await;
    let dropped = [away.store(b"one").await, away.store(b"two").await];
    let untouched = push(&other_endpoint.endpoint, b"of another app").await;
    assert!(waits(&location(&untouched)).await);

    // One app was removed meanwhile.
    let mut phone = Phone::log_in_again(&server, away.user(), &other).await;
    phone.announce(&service).await;
    assert_eq!(phone.push().await.payload, b"one");
    assert_eq!(phone.push().await.payload, b"of another app");
    for dropped in &dropped {
        is_over(dropped).await;
    }
    assert_eq!(push(&away.endpoint, b"to nobody").await.status, 404);
    let answer = push(&other_endpoint.endpoint, b"still there?").await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(phone.push().await.payload, b"still there?");
    assert!(phone.pushed_already().is_none());
    let events = "unified_push_queue_events_total";
    let revoked = away.daemon.metric(events, "event=\"revoked\"").await;
    assert_eq!(revoked, 2.0);
}

async fn what_waits_follows_a_registration_with_back_end_paseto(bed: Rc<Bed>) {
    follows(&bed, "paseto").await;
}

async fn what_waits_follows_a_registration_with_back_end_jwt(bed: Rc<Bed>) {
    follows(&bed, "jwt").await;
}

async fn what_waits_follows_a_registration_with_back_end_storage(bed: Rc<Bed>) {
    follows(&bed, "storage").await;
}

async fn follows(bed: &Bed, backend: &str) {
    let server = bed.server().await;
    let settings = bed.config(&server).text("backend", backend);
    let away = Line::with_settings(bed, settings).await.leave().await;
    let kept = [away.store(b"one").await, away.store(b"two").await];
    let mut phone = Phone::log_in_at(&server, away.user(), "reinstalled").await;
    phone.remember(&away.pair);
    let service = away.daemon.service().to_owned();
    let registered = phone.register(&service, &away.pair).await.unwrap();
    let mut line = away.with(phone);
    line.gets(&[b"one", b"two"]).await;
    for kept in &kept {
        is_over(kept).await;
    }
    assert_eq!(registered.endpoint == line.endpoint, backend == "storage");
    line.endpoint = registered.endpoint;
    line.works().await;
}

/// Another resource of the account, which has announced itself; and one of another account.
async fn others(bed: &Bed, away: &Away) -> (Phone, Phone) {
    let server = bed.server().await;
    let tablet = Phone::log_in_at(&server, away.user(), "tablet").await;
    let juliet = Phone::log_in(&server, &bed.user("juliet")).await;
    assert_ne!(user_of(&juliet.jid), away.user());
    for phone in [&tablet, &juliet] {
        phone.remember(&away.pair);
        phone.announce(away.daemon.service()).await;
    }
    let available = "unified_push_phones_available";
    away.daemon.becomes(available, "", 2.0).await;
    (tablet, juliet)
}

async fn another_resource_takes_what_the_registered_one_cannot(bed: Rc<Bed>) {
    let server = bed.server().await;
    let away = Line::new(&bed).await.leave().await;
    let before = away.store(b"before").await;
    let (mut tablet, mut juliet) = others(&bed, &away).await;
    assert_eq!(tablet.push().await.payload, b"before");
    is_over(&before).await;
    let after = location(&push(&away.endpoint, b"after").await);
    assert_eq!(tablet.push().await.payload, b"after");
    is_over(&after).await;

    // The registered one comes first again when it is back.
    let mut line = away.back(&server).await;
    line.daemon
        .becomes("unified_push_phones_available", "", 3.0)
        .await;
    line.works().await;
    assert!(tablet.pushed_already().is_none());
    assert!(juliet.pushed_already().is_none());
}

async fn another_resource_revokes_nothing(bed: Rc<Bed>) {
    let server = bed.server().await;
    let away = Line::new(&bed).await.leave().await;
    let (mut tablet, mut juliet) = others(&bed, &away).await;
    // It has an account of its own in its database, and knows nothing of the phone's.
    tablet.forget_all();
    let kept = location(&post(&away.endpoint, &[MINUTE], b"for the phone").await);
    assert_eq!(tablet.push().await.payload, b"for the phone");
    assert!(waits(&kept).await);
    assert_eq!(push(&away.endpoint, b"and this").await.status, 201);

    let mut line = away.back(&server).await;
    line.gets(&[b"for the phone", b"and this"]).await;
    is_over(&kept).await;
    line.works().await;
    assert!(juliet.pushed_already().is_none());
}
