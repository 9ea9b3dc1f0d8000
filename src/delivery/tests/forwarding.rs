//! What waits, and when it is sent again.

use super::world::elsewhere::LEASE;
use super::*;
use crate::{
    delivery::phones::{HOLD, LEAST_PAUSE},
    store::Claimed,
};

#[tokio::test(start_paused = true)]
async fn an_unanswered_message_is_sent_again_after_its_hold_only() {
    let (mut world, token) = World::with_endpoint().await;
    let first = world.unanswered(&token).await;
    world.advance(HOLD - Duration::from_secs(2)).await;
    world.silence().await;
    world.advance(Duration::from_secs(3)).await;
    let second = world.sent().await;
    assert_ne!(second.id, first.id);
    world.answer(&second, Answer::Acknowledged);
    world.drained().await;
    // Nothing waits: the next one goes out at once.
    let outcome = world.answered(&token, Answer::Acknowledged).await;
    assert!(matches!(outcome, Outcome::Acknowledged { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_late_acknowledgement_ends_the_quiet_and_is_no_duplicate() {
    let (mut world, token) = World::with_endpoint().await;
    let first = world.unanswered(&token).await;
    world.stored(&token, "second").await;
    world.silence().await;
    world.answer(&first, Answer::Acknowledged);
    let second = world.sent().await;
    assert_eq!(text(&second), "second");
    world.answer(&second, Answer::Acknowledged);
    world.drained().await;
    assert_eq!(world.metrics.queue_events.get(QueueEvent::Forwarded), 2);
}

#[tokio::test(start_paused = true)]
async fn any_word_of_the_phone_flushes_but_what_is_held() {
    let (mut world, token) = World::with_endpoint().await;
    world.unanswered(&token).await;
    world.stored(&token, "second").await;
    world.delivery.phone_spoke(&jid(PHONE));
    let second = world.sent().await;
    assert_eq!(text(&second), "second");
    world.answer(&second, Answer::Acknowledged);
    world.silence().await;
    assert_eq!(world.waiting().await, 1, "the first is held");
}

/// Its former session was another replica's, which is at what waits when the phone announces itself here.
async fn heard_while_another_is_at_it(texts: &[&'static str]) -> (World, Claimed) {
    let (mut world, token) = World::with_endpoint().await;
    world.link.send_replace(LinkState::Connecting);
    world.delivery.link_down();
    for text in texts {
        world.stored(&token, text).await;
    }
    let elsewhere = world.claim_elsewhere().await;
    world.link.send_replace(LinkState::Up);
    world.delivery.link_up();
    world.delivery.presence(&jid(PHONE), true);
    world.silence().await;
    (world, elsewhere)
}

#[tokio::test(start_paused = true)]
async fn what_another_replica_holds_after_the_phone_was_heard_is_sent() {
    let (mut world, elsewhere) = heard_while_another_is_at_it(&["first"]).await;
    world.hold_elsewhere(&elsewhere).await;
    world.advance(LEASE).await;
    let again = world.sent().await;
    assert_eq!(text(&again), "first");
    world.answer(&again, Answer::Acknowledged);
    world.drained().await;
}

#[tokio::test(start_paused = true)]
async fn what_another_replica_sent_after_the_phone_was_heard_stays_held() {
    let (mut world, first) = heard_while_another_is_at_it(&["first", "second"]).await;
    world.advance(Duration::from_secs(1)).await;
    world.acknowledge_elsewhere(&first).await;
    let second = world.claim_elsewhere().await;
    world.hold_elsewhere(&second).await;
    world.advance(LEASE).await;
    world.silence().await;
}

#[tokio::test(start_paused = true)]
async fn presence_flushes_even_what_is_held() {
    let (mut world, token) = World::with_endpoint().await;
    let first = world.unanswered(&token).await;
    world.delivery.presence(&jid(PHONE), true);
    let again = world.sent().await;
    assert_eq!(text(&again), text(&first));
    world.answer(&again, Answer::Acknowledged);
    world.drained().await;
}

#[tokio::test]
async fn the_most_urgent_goes_first_then_the_oldest() {
    let (mut world, token) = World::with_endpoint().await;
    world.link.send_replace(LinkState::Connecting);
    world.delivery.link_down();
    for (urgency, text) in [
        (Urgency::Low, "low"),
        (Urgency::Normal, "first"),
        (Urgency::High, "high"),
        (Urgency::Normal, "second"),
        (Urgency::VeryLow, "very-low"),
    ] {
        world.stored_as(&token, urgency, text).await;
    }
    world.link.send_replace(LinkState::Up);
    world.delivery.link_up();
    for expected in ["high", "first", "second", "low", "very-low"] {
        let stanza = world.sent().await;
        assert_eq!(text(&stanza), expected);
        assert!(world.stanzas.try_recv().is_err(), "one at a time");
        world.answer(&stanza, Answer::Acknowledged);
    }
    world.drained().await;
}

#[tokio::test(start_paused = true)]
async fn temporary_errors_are_met_with_longer_and_longer_pauses() {
    let (mut world, token) = World::with_endpoint().await;
    world.stored_after(&token, Answer::Failed).await;
    for pause in [5, 10, 20, 40] {
        world.silence().await;
        world.advance(Duration::from_secs(pause)).await;
        let stanza = world.sent().await;
        world.answer(&stanza, Answer::Failed);
        world.ended(stanza.to()).await;
    }
    // A word of the phone, and the pauses start anew.
    world.advance(LEAST_PAUSE).await;
    world.delivery.phone_spoke(&jid(PHONE));
    let stanza = world.sent().await;
    world.answer(&stanza, Answer::Failed);
    world.ended(stanza.to()).await;
    world.advance(Duration::from_secs(5)).await;
    world.sent().await;
}

#[tokio::test(start_paused = true)]
async fn a_bounce_that_comes_late_sets_its_message_free() {
    let (mut world, token) = World::with_endpoint().await;
    let first = world.unanswered(&token).await;
    world.answer(&first, Answer::Unreachable);
    world.written().await;
    world.advance(Duration::from_secs(5)).await;
    let second = world.sent().await;
    world.time_out().await;
    world.ended(second.to()).await;
    // The first attempt's error is old news: the second is still held.
    world.answer(&first, Answer::Unreachable);
    world.written().await;
    world.advance(Duration::from_secs(60)).await;
    world.silence().await;
    world.answer(&first, Answer::Acknowledged);
    world.drained().await;
}

#[tokio::test(start_paused = true)]
async fn a_late_refusal_revokes_and_drops_what_waits() {
    let (mut world, token) = World::with_endpoint().await;
    let first = world.unanswered(&token).await;
    world.stored(&token, "second").await;
    world.answer(&first, Answer::NotRegistered);
    world.written().await;
    assert_eq!(world.waiting().await, 0);
    assert_eq!(world.push(&token, None).await.unwrap(), Outcome::Gone);
    assert_eq!(world.metrics.queue_events.get(QueueEvent::Revoked), 2);
}

#[tokio::test(start_paused = true)]
async fn a_late_refusal_spares_a_later_registration() {
    let mut world = World::new().await;
    let old = world.endpoint().await;
    let first = world.unanswered(&old).await;
    world.advance(Duration::from_secs(5)).await;
    let new = world.registered(PHONE).await;
    world.silence().await;
    world.answer(&first, Answer::NotRegistered);
    world.written().await;
    assert_eq!(world.waiting().await, 1, "what waits is for the new one");
    world.advance(LEAST_PAUSE).await;
    world.delivery.presence(&jid(PHONE), true);
    let again = world.sent().await;
    world.answer(&again, Answer::Acknowledged);
    world.drained().await;
    let outcome = world.answered(&new, Answer::Acknowledged).await;
    assert!(matches!(outcome, Outcome::Acknowledged { .. }));
}

#[tokio::test(start_paused = true)]
async fn what_waits_follows_a_registration_to_its_new_resource() {
    let (mut world, token) = World::with_endpoint().await;
    world.stored_after(&token, Answer::Unreachable).await;
    world.advance(Duration::from_secs(1)).await;
    world.registered(OTHER).await;
    let stanza = world.sent().await;
    assert_eq!(*stanza.to(), jid(OTHER));
    world.answer(&stanza, Answer::Acknowledged);
    world.drained().await;
}

#[tokio::test(start_paused = true)]
async fn a_resource_that_is_gone_is_replaced_by_one_that_announced_itself() {
    let (mut world, token) = World::with_endpoint().await;
    world.delivery.presence(&jid(OTHER), true);
    world.delivery.presence(&jid("juliet@example.org/x"), true);
    world.stored_after(&token, Answer::Unreachable).await;
    let stanza = world.sent().await;
    assert_eq!(*stanza.to(), jid(OTHER));
    // It is not the one that registered: its refusal revokes nothing.
    world.answer(&stanza, Answer::NotRegistered);
    world.ended(&jid(PHONE)).await;
    assert_eq!(world.metrics.revocations.get(), 0);
    world.advance(Duration::from_secs(10)).await;
    let stanza = world.sent().await;
    assert_eq!(
        *stanza.to(),
        jid(PHONE),
        "the registered one comes first again"
    );
    world.answer(&stanza, Answer::Acknowledged);
    world.drained().await;
}

#[tokio::test(start_paused = true)]
async fn a_resource_that_is_found_to_be_gone_late_is_replaced_at_once() {
    let (mut world, token) = World::with_endpoint().await;
    world.delivery.presence(&jid(OTHER), true);
    let first = world.unanswered(&token).await;
    world.answer(&first, Answer::Unreachable);
    let stanza = world.sent_now().await.expect("no pause is made");
    assert_eq!(*stanza.to(), jid(OTHER));
    world.answer(&stanza, Answer::Acknowledged);
    world.drained().await;
}

#[tokio::test(start_paused = true)]
async fn a_resource_that_comes_serves_those_that_are_gone() {
    let (mut world, token) = World::with_endpoint().await;
    world.stored_after(&token, Answer::Unreachable).await;
    world.silence().await;
    world.advance(LEAST_PAUSE).await;
    world.delivery.presence(&jid(OTHER), true);
    let stanza = world.sent().await;
    assert_eq!(*stanza.to(), jid(OTHER));
    world.answer(&stanza, Answer::Acknowledged);
    world.drained().await;
}

#[tokio::test(start_paused = true)]
async fn what_went_out_just_before_the_link_was_lost_is_sent_again() {
    let (mut world, token) = World::with_endpoint().await;
    let first = world.unanswered(&token).await;
    world.advance(Duration::from_secs(30)).await;
    world.delivery.link_down();
    world.delivery.link_up();
    let again = world.sent().await;
    assert_eq!(text(&again), text(&first));
    world.time_out().await;
    world.ended(again.to()).await;
    // Not what was left unanswered long before.
    world.advance(Duration::from_secs(61)).await;
    world.delivery.link_down();
    world.delivery.link_up();
    world.silence().await;
}

#[tokio::test(start_paused = true)]
async fn another_daemon_goes_on_where_one_has_ended() {
    let (mut world, token) = World::with_endpoint().await;
    let first = world.unanswered(&token).await;
    world.stored(&token, "second").await;
    let mut world = world.restart().await;
    let second = world.sent().await;
    assert_eq!(text(&second), "second");
    world.answer(&second, Answer::Acknowledged);
    world.answer(&first, Answer::Acknowledged);
    world.drained().await;
}

#[tokio::test(start_paused = true)]
async fn an_expired_message_is_not_sent() {
    let (mut world, token) = World::with_endpoint().await;
    let push = world.push(&token, Some(60));
    let stanza = world.sent().await;
    world.answer(&stanza, Answer::Failed);
    assert!(matches!(push.await.unwrap(), Outcome::Stored { .. }));
    world.clock.advance(Duration::from_secs(60));
    tokio::time::advance(LEAST_PAUSE).await;
    world.delivery.phone_spoke(&jid(PHONE));
    world.ended(&jid(PHONE)).await;
    assert!(world.stanzas.try_recv().is_err());
    assert!(!world.delivery.phones.must_wait(&jid(PHONE)));
}
