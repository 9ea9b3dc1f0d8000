//! Answers, registrations and presence that come at awkward moments.

use super::*;
use crate::{delivery::phones::HOLD, link::PushStanza};

/// A push that was stored because the phone's resource is not there; another one is.
async fn with_a_stand_in(world: &mut World, token: &str) -> PushStanza {
    world.delivery.presence(&jid(OTHER), true);
    world.stored_after(token, Answer::Unreachable).await;
    let stanza = world.sent().await;
    assert_eq!(*stanza.to(), jid(OTHER));
    stanza
}

#[tokio::test(start_paused = true)]
async fn a_phone_that_answers_gets_new_pushes_though_an_old_one_is_held() {
    let (mut world, token) = World::with_endpoint().await;
    world.unanswered(&token).await;
    world.stored(&token, "second").await;
    world.delivery.phone_spoke(&jid(PHONE));
    let second = world.sent().await;
    world.answer(&second, Answer::Acknowledged);
    world.silence().await;
    world.ended(&jid(PHONE)).await;
    world.stored(&token, "third").await;
    let third = world.within(0).await.unwrap();
    assert_eq!(text(&third), "third");
}

#[tokio::test(start_paused = true)]
async fn a_restart_makes_no_phone_quiet() {
    let (mut world, token) = World::with_endpoint().await;
    let push = world.push(&token, None);
    world.sent().await;
    world.delivery.stop();
    assert!(matches!(push.await.unwrap(), Outcome::Stored { .. }));
    world.time_out().await;
    let mut world = world.restart().await;
    world.silence().await;
    world.ended(&jid(PHONE)).await;
    world.stored(&token, "second").await;
    let second = world.within(0).await.unwrap();
    assert_eq!(text(&second), "second");
}

#[tokio::test(start_paused = true)]
async fn what_is_answered_while_the_daemon_stops_is_not_sent_again() {
    let (mut world, token) = World::with_endpoint().await;
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
    let (mut world, token) = World::with_endpoint().await;
    world.unanswered(&token).await;
    world.stored(&token, "second").await;
    world.advance(HOLD).await;
    let next = world.within(5).await.unwrap();
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
    let (mut world, token) = World::with_endpoint().await;
    let first = with_a_stand_in(&mut world, &token).await;
    world.stored(&token, "second").await;
    world.time_out().await;
    world.ended(&jid(PHONE)).await;
    world.silence().await;
    world.answer(&first, Answer::Acknowledged);
    let second = world.sent().await;
    assert_eq!((second.to(), text(&second)), (&jid(OTHER), "second"));
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
        let again = world.within(6).await.unwrap();
        assert_eq!(text(&again), "hello");
        assert_eq!(world.metrics.revocations.get(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stand_in_that_is_quiet_is_left_alone() {
    let (mut world, token) = World::with_endpoint().await;
    with_a_stand_in(&mut world, &token).await;
    world.time_out().await;
    world.ended(&jid(PHONE)).await;
    world.stored(&token, "second").await;
    assert!(world.within(60).await.is_none());
    // Its next session may have lost what the last one was sent.
    world.delivery.presence(&jid(OTHER), true);
    let next = world.sent().await;
    assert_eq!(*next.to(), jid(OTHER));
}

#[tokio::test(start_paused = true)]
async fn a_registration_during_an_attempt_takes_the_message_along() {
    for answer in [Answer::Unreachable, Answer::NotRegistered, Answer::Failed] {
        let mut world = World::new().await;
        let token = world.endpoint().await;
        world.answered(&token, Answer::Failed).await;
        world.advance(Duration::from_secs(5)).await;
        let at_old = world.sent().await;
        assert_eq!(*at_old.to(), jid(PHONE));
        world.clock.advance(Duration::from_millis(5));
        world.registered(OTHER).await;
        world.silence().await;
        world.answer(&at_old, answer);
        let at_new = world.within(1).await.unwrap();
        assert_eq!(*at_new.to(), jid(OTHER), "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_a_registration_overtook_leaves_no_lease() {
    let (mut world, token) = World::with_endpoint().await;
    world.answered(&token, Answer::Failed).await;
    world.advance(Duration::from_secs(5)).await;
    let stanza = world.sent().await;
    world.clock.advance(Duration::from_millis(5));
    world.registered(PHONE).await;
    world.answer(&stanza, Answer::NotRegistered);
    assert!(world.within(10).await.is_some());
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
    let second = world.within(6).await.unwrap();
    assert_eq!(*second.to(), jid(OTHER));
}

#[tokio::test(start_paused = true)]
async fn a_phone_that_registers_from_another_resource_need_not_wait_for_the_former_one_to_bounce() {
    let mut world = World::issuing(Backend::Storage).await;
    let token = world.endpoint().await;
    let first = world.unanswered(&token).await;
    world.clock.advance(Duration::from_millis(1));
    world.registered(OTHER).await;
    let second = world.sent().await;
    assert_eq!((second.to(), text(&second)), (&jid(OTHER), text(&first)));
    // Late, it counts no more: the attempt is not the latest.
    world.answer(&first, Answer::Unreachable);
    world.written().await;
    world.silence().await;
    world.answer(&second, Answer::Acknowledged);
    world.drained().await;
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_an_older_registration_frees_the_message() {
    let mut world = World::new().await;
    let old = world.endpoint().await;
    let first = world.unanswered(&old).await;
    world.advance(Duration::from_secs(5)).await;
    world.registered(PHONE).await;
    world.silence().await;
    world.answer(&first, Answer::NotRegistered);
    world.written().await;
    assert!(world.within(6).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_revocation_that_fails_is_tried_again_after_a_pause() {
    let (mut world, token) = World::with_endpoint().await;
    world.answered(&token, Answer::Failed).await;
    world.advance(Duration::from_secs(5)).await;
    let stanza = world.sent().await;
    let other = world.other_process();
    let broken = "ALTER TABLE revocations RENAME TO gone";
    other.execute_batch(broken).unwrap();
    world.answer(&stanza, Answer::NotRegistered);
    assert!(world.within(6).await.is_none());
    assert!(world.within(5).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn what_another_process_has_revoked_is_not_stored() {
    let (mut world, token) = World::with_endpoint().await;
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
    let (mut world, token) = World::with_endpoint().await;
    let push = world.push(&token, Some(0));
    let stanza = world.stanzas.recv().await.unwrap();
    world.time_out().await;
    assert_eq!(push.await.unwrap(), Outcome::Unanswered);
    assert!(!stanza.sent.take(), "the link must not send it any more");
}

#[tokio::test(start_paused = true)]
async fn a_push_in_flight_is_no_404_while_its_url_lives() {
    let mut world = World::issuing(Backend::Storage).await;
    let token = world.endpoint().await;
    let (first, second) = (world.push(&token, None), world.push(&token, None));
    let (_, refused) = (world.sent().await, world.sent().await);
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(world.registered(PHONE).await, token, "the URL lives on");
    // What was asked before the registration; the first push's answer does not come.
    world.answer(&refused, Answer::NotRegistered);
    let refused = second.await.unwrap();
    assert!(matches!(refused, Outcome::Stored { .. }), "{refused:?}");
    world.time_out().await;
    let outcome = first.await.unwrap();
    assert!(matches!(outcome, Outcome::Stored { .. }), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn a_phone_that_comes_back_during_a_first_attempt_is_not_left_alone() {
    let (mut world, token) = World::with_endpoint().await;
    let push = world.push(&token, None);
    world.sent().await;
    world.advance(Duration::from_millis(500)).await;
    // It binds anew: its former session has taken the push to the grave.
    world.delivery.presence(&jid(PHONE), true);
    world.advance(Duration::from_millis(500)).await;
    assert!(matches!(push.await.unwrap(), Outcome::Stored { .. }));
    assert!(world.within(60).await.is_some());
}

/// For comparison: what happens to an attempt from the queue.
#[tokio::test(start_paused = true)]
async fn a_phone_that_comes_back_during_a_later_attempt_is_not_left_alone() {
    let (mut world, token) = World::with_endpoint().await;
    world.answered(&token, Answer::Failed).await;
    world.advance(Duration::from_secs(5)).await;
    world.sent().await;
    world.advance(Duration::from_millis(500)).await;
    world.delivery.presence(&jid(PHONE), true);
    world.advance(Duration::from_millis(500)).await;
    assert!(world.within(60).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_link_that_is_lost_while_an_attempt_is_put_back_is_not_forgotten() {
    let (mut world, token) = World::with_endpoint().await;
    world.answered(&token, Answer::Failed).await;
    world.advance(Duration::from_secs(5)).await;
    world.sent().await;
    let other = world.other_process();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    world.time_out().await;
    world.settle().await;
    world.delivery.link_down();
    world.delivery.link_up();
    other.execute_batch("ROLLBACK").unwrap();
    assert!(world.within(60).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn another_phones_registration_does_not_end_the_quiet() {
    let (mut world, token) = World::with_endpoint().await;
    world.unanswered(&token).await;
    world.stored(&token, "second").await;
    // Of another application.
    let digest = crate::model::registration::Digest::from_bytes([2; 32]);
    let issued = world.tokens.issue(&jid(OTHER), digest, digest, None).await;
    let registration = issued.unwrap().registration;
    world.delivery.registered(&registration).await;
    assert!(world.within(30).await.is_none());
    world.stored(&token, "third").await;
    assert!(world.within(30).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_stand_in_is_tried_at_once_though_the_phone_was_quiet() {
    let (mut world, token) = World::with_endpoint().await;
    world.delivery.presence(&jid(OTHER), true);
    let first = world.push(&token, None);
    world.sent().await;
    world.advance(Duration::from_millis(500)).await;
    let second = world.push(&token, None);
    let unreachable = world.sent().await;
    world.advance(Duration::from_millis(500)).await;
    assert!(matches!(first.await.unwrap(), Outcome::Stored { .. }));
    world.answer(&unreachable, Answer::Unreachable);
    assert!(matches!(second.await.unwrap(), Outcome::Stored { .. }));
    let stanza = world.within(60).await.unwrap();
    assert_eq!(*stanza.to(), jid(OTHER));
}

#[tokio::test(start_paused = true)]
async fn an_acknowledgement_of_what_moved_lets_the_rest_follow() {
    let (mut world, token) = World::with_endpoint().await;
    world.answered(&token, Answer::Failed).await;
    world.stored(&token, "second").await;
    world.advance(Duration::from_secs(5)).await;
    let first = world.sent().await;
    world.clock.advance(Duration::from_millis(5));
    world.registered(OTHER).await;
    world.silence().await;
    world.ended(&jid(OTHER)).await;
    world.answer(&first, Answer::Acknowledged);
    let second = world.within(10).await.unwrap();
    assert_eq!((second.to(), text(&second)), (&jid(OTHER), "second"));
}

#[tokio::test(start_paused = true)]
async fn one_account_cannot_keep_others_from_announcing_themselves() {
    let world = World::new().await;
    let resource = "r".repeat(1000);
    for number in 0..20_000 {
        let jid = jid(&format!("eve@example.org/{number}{resource}"));
        world.delivery.presence(&jid, true);
    }
    for number in 0..20 {
        world
            .delivery
            .presence(&jid(&format!("eve@example.org/{number}")), true);
    }
    world.delivery.presence(&jid(OTHER), true);
    world
        .delivery
        .phones
        .message_waits(&jid(PHONE), Instant::now());
    assert!(world.delivery.phones.set_gone(&jid(PHONE), true));
    let stand_in = world.delivery.phones.stand_in(&jid(PHONE));
    assert_eq!(stand_in, Some(jid(OTHER)));
}
