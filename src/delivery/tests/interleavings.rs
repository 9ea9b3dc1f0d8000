//! Answers, registrations and presence that come at awkward moments.

use super::*;
use crate::{delivery::backlog::HOLD, link::PushStanza};

const OTHER: &str = "romeo@example.org/balcony";

fn text(stanza: &PushStanza) -> &str {
    std::str::from_utf8(stanza.payload.as_bytes()).unwrap()
}

/// A push to a silent phone, stored; gives its stanza.
async fn unanswered(world: &mut World, token: &str) -> PushStanza {
    let push = world.push(token, None);
    let stanza = world.sent().await;
    world.time_out().await;
    assert!(matches!(push.await.unwrap(), Outcome::Stored { .. }));
    stanza
}

/// A push that is stored without being sent.
async fn stored(world: &World, token: &str, text: &'static str) {
    let message = Message {
        payload: Payload::new(Bytes::from_static(text.as_bytes())).unwrap(),
        ..message(None)
    };
    let outcome = world.delivery.push(token, message).await;
    assert!(matches!(outcome, Outcome::Stored { .. }), "{outcome:?}");
    world.clock.advance(Duration::from_millis(1));
}

/// A push that was stored because the phone's resource is not there; another one is.
async fn with_a_stand_in(world: &mut World, token: &str) -> PushStanza {
    world.delivery.presence(&jid(OTHER), true);
    let outcome = world.answered(token, Answer::Unreachable).await;
    assert!(matches!(outcome, Outcome::Stored { .. }));
    let stanza = world.sent().await;
    assert_eq!(stanza.to, jid(OTHER));
    stanza
}

/// What goes out within this time, moved on in small steps.
async fn within(world: &mut World, secs: u64) -> Option<PushStanza> {
    for _ in 0..=2 * secs {
        if let Some(stanza) = world.sent_now().await {
            return Some(stanza);
        }
        world.advance(Duration::from_millis(500)).await;
    }
    None
}

#[tokio::test(start_paused = true)]
async fn a_phone_that_answers_gets_new_pushes_though_an_old_one_is_held() {
    let mut world = World::new().await;
    let token = world.endpoint().await;
    unanswered(&mut world, &token).await;
    stored(&world, &token, "second").await;
    world.delivery.heard(&jid(PHONE));
    let second = world.sent().await;
    world.answer(&second, Answer::Acknowledged);
    world.silence().await;
    world.ended(&jid(PHONE)).await;
    stored(&world, &token, "third").await;
    let third = within(&mut world, 0).await.unwrap();
    assert_eq!(text(&third), "third");
}

#[tokio::test(start_paused = true)]
async fn a_restart_makes_no_phone_quiet() {
    let mut world = World::new().await;
    let token = world.endpoint().await;
    let push = world.push(&token, None);
    world.sent().await;
    world.delivery.stop();
    assert!(matches!(push.await.unwrap(), Outcome::Stored { .. }));
    world.time_out().await;
    let mut world = world.restart().await;
    world.silence().await;
    world.ended(&jid(PHONE)).await;
    stored(&world, &token, "second").await;
    let second = within(&mut world, 0).await.unwrap();
    assert_eq!(text(&second), "second");
}

#[tokio::test(start_paused = true)]
async fn what_is_answered_while_the_daemon_stops_is_not_sent_again() {
    let mut world = World::new().await;
    let token = world.endpoint().await;
    let push = world.push(&token, None);
    let stanza = world.sent().await;
    world.advance(Duration::from_millis(500)).await;
    world.delivery.stop();
    assert!(matches!(push.await.unwrap(), Outcome::Stored { .. }));
    let delivery = world.delivery.clone();
    let finished = tokio::spawn(async move { delivery.finish().await });
    world.silence().await;
    assert!(!finished.is_finished(), "an answer is in time yet");
    world.answer(&stanza, Answer::Acknowledged);
    world.written().await;
    assert_eq!(world.waiting().await, 0);
    world.advance(Duration::from_millis(500)).await;
    finished.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_message_that_is_never_answered_does_not_block_the_others() {
    let mut world = World::new().await;
    let token = world.endpoint().await;
    unanswered(&mut world, &token).await;
    stored(&world, &token, "second").await;
    world.advance(HOLD).await;
    let next = within(&mut world, 5).await.unwrap();
    assert_eq!(text(&next), "second");
}

#[tokio::test(start_paused = true)]
async fn what_the_phone_has_needs_no_room_in_the_queue() {
    let mut world = World::with(|settings| settings.caps.per_account = 0).await;
    let token = world.endpoint().await;
    let push = world.push(&token, None);
    let stanza = world.sent().await;
    let other = world.other_process();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    world.time_out().await;
    tokio::task::yield_now().await;
    world.answer(&stanza, Answer::Acknowledged);
    other.execute_batch("ROLLBACK").unwrap();
    let outcome = push.await.unwrap();
    assert!(
        matches!(outcome, Outcome::Acknowledged { .. }),
        "{outcome:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_late_acknowledgement_of_a_stand_in_lets_the_rest_follow() {
    let mut world = World::new().await;
    let token = world.endpoint().await;
    let first = with_a_stand_in(&mut world, &token).await;
    stored(&world, &token, "second").await;
    world.time_out().await;
    world.ended(&jid(PHONE)).await;
    world.silence().await;
    world.answer(&first, Answer::Acknowledged);
    let second = world.sent().await;
    assert_eq!((&second.to, text(&second)), (&jid(OTHER), "second"));
    world.answer(&second, Answer::Acknowledged);
    world.drained().await;
}

#[tokio::test(start_paused = true)]
async fn a_late_error_of_a_stand_in_frees_its_message() {
    for answer in [Answer::Failed, Answer::Unreachable, Answer::NotRegistered] {
        let mut world = World::new().await;
        let token = world.endpoint().await;
        let first = with_a_stand_in(&mut world, &token).await;
        world.time_out().await;
        world.ended(&jid(PHONE)).await;
        world.answer(&first, answer);
        world.written().await;
        let again = within(&mut world, 6).await.unwrap();
        assert_eq!(text(&again), "hello");
        assert_eq!(world.metrics.revocations.get(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stand_in_that_is_quiet_is_left_alone() {
    let mut world = World::new().await;
    let token = world.endpoint().await;
    with_a_stand_in(&mut world, &token).await;
    world.time_out().await;
    world.ended(&jid(PHONE)).await;
    stored(&world, &token, "second").await;
    assert!(within(&mut world, 60).await.is_none());
    // Its next session may have lost what the last one was sent.
    world.delivery.presence(&jid(OTHER), true);
    let next = world.sent().await;
    assert_eq!(next.to, jid(OTHER));
}

#[tokio::test(start_paused = true)]
async fn a_registration_during_an_attempt_takes_the_message_along() {
    for answer in [Answer::Unreachable, Answer::NotRegistered, Answer::Failed] {
        let mut world = World::new().await;
        let token = world.endpoint().await;
        world.answered(&token, Answer::Failed).await;
        world.advance(Duration::from_secs(5)).await;
        let at_old = world.sent().await;
        assert_eq!(at_old.to, jid(PHONE));
        world.clock.advance(Duration::from_millis(5));
        world.registered(OTHER).await;
        world.silence().await;
        world.answer(&at_old, answer);
        let at_new = within(&mut world, 1).await.unwrap();
        assert_eq!(at_new.to, jid(OTHER), "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_a_registration_overtook_leaves_no_lease() {
    let mut world = World::new().await;
    let token = world.endpoint().await;
    world.answered(&token, Answer::Failed).await;
    world.advance(Duration::from_secs(5)).await;
    let stanza = world.sent().await;
    world.clock.advance(Duration::from_millis(5));
    world.registered(PHONE).await;
    world.answer(&stanza, Answer::NotRegistered);
    assert!(within(&mut world, 10).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_push_in_flight_follows_a_registration() {
    let mut world = World::issuing(Backend::Storage).await;
    let token = world.endpoint().await;
    let push = world.push(&token, None);
    let first = world.sent().await;
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(world.registered(OTHER).await, token);
    world.time_out().await;
    assert!(matches!(push.await.unwrap(), Outcome::Stored { .. }));
    world.answer(&first, Answer::Unreachable);
    world.written().await;
    let second = within(&mut world, 6).await.unwrap();
    assert_eq!(second.to, jid(OTHER));
}

#[tokio::test(start_paused = true)]
async fn a_bounce_of_the_former_resource_frees_the_message_for_the_present_one() {
    let mut world = World::issuing(Backend::Storage).await;
    let token = world.endpoint().await;
    let first = unanswered(&mut world, &token).await;
    world.delivery.presence(&jid(OTHER), true);
    world.clock.advance(Duration::from_millis(1));
    world.registered(OTHER).await;
    world.silence().await;
    world.answer(&first, Answer::Unreachable);
    world.written().await;
    let second = within(&mut world, 6).await.unwrap();
    assert_eq!(second.to, jid(OTHER));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_an_older_registration_frees_the_message() {
    let mut world = World::new().await;
    let old = world.endpoint().await;
    let first = unanswered(&mut world, &old).await;
    world.advance(Duration::from_secs(5)).await;
    world.registered(PHONE).await;
    world.silence().await;
    world.answer(&first, Answer::NotRegistered);
    world.written().await;
    assert!(within(&mut world, 6).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_revocation_that_fails_is_tried_again_after_a_pause() {
    let mut world = World::new().await;
    let token = world.endpoint().await;
    world.answered(&token, Answer::Failed).await;
    world.advance(Duration::from_secs(5)).await;
    let stanza = world.sent().await;
    let other = world.other_process();
    let broken = "ALTER TABLE revocations RENAME TO gone";
    other.execute_batch(broken).unwrap();
    world.answer(&stanza, Answer::NotRegistered);
    assert!(within(&mut world, 6).await.is_none());
    assert!(within(&mut world, 5).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn what_another_process_has_revoked_is_not_stored() {
    let mut world = World::new().await;
    let token = world.endpoint().await;
    world.clock.advance(Duration::from_secs(1));
    // As `registrations revoke` does; this process looks once a second.
    let revocation = format!(
        "INSERT INTO revocations (owner, application, instance, at, until)
         VALUES ('romeo@example.org', x'', x'', {}, {})",
        world.clock.now().as_millis(),
        world.clock.now().saturating_add(WEEK).as_millis()
    );
    world.other_process().execute_batch(&revocation).unwrap();
    let outcome = world.answered(&token, Answer::Failed).await;
    assert_eq!(outcome, Outcome::Gone);
    assert_eq!(world.waiting().await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_push_that_is_withdrawn_is_not_called_sent() {
    let mut world = World::new().await;
    let token = world.endpoint().await;
    let push = world.push(&token, Some(0));
    let stanza = world.stanzas.recv().await.unwrap();
    world.time_out().await;
    assert_eq!(push.await.unwrap(), Outcome::Unanswered);
    assert!(!stanza.sent.take(), "the link must not send it any more");
}
