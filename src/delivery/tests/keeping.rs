//! From a push that its phone does not take at once to a message in the store.

use super::*;

#[tokio::test(start_paused = true)]
async fn an_unanswered_push_is_stored_and_its_phone_left_alone() {
    let (mut world, token) = World::with_endpoint().await;
    let push = world.push(&token, Some(60));
    world.sent().await;
    world.time_out().await;
    let outcome = push.await.unwrap();
    assert!(matches!(outcome, Outcome::Stored { .. }), "{outcome:?}");
    assert_eq!(accepted_ttl(&outcome), 60);
    let next = world.push(&token, None).await.unwrap();
    assert!(matches!(next, Outcome::Stored { .. }));
    world.silence().await;
    assert_eq!(world.waiting().await, 2);
    assert_eq!(world.metrics.phones_waiting.get(), 1);
    assert_eq!(world.metrics.queue_events.get(QueueEvent::Stored), 2);
}

#[tokio::test]
async fn a_temporary_error_keeps_the_push_and_revokes_nothing() {
    let (mut world, token) = World::with_endpoint().await;
    for answer in [Answer::Failed, Answer::Unreachable] {
        world.stored_after(&token, answer).await;
        world.delivery.phone_spoke(&jid(PHONE));
        let stanza = world.sent().await;
        world.answer(&stanza, Answer::Acknowledged);
        world.drained().await;
    }
}

#[tokio::test]
async fn without_a_link_a_push_is_stored_at_once() {
    let (mut world, token) = World::with_endpoint().await;
    world.link.send_replace(LinkState::Connecting);
    world.delivery.link_down();
    let stored = world.push(&token, None).await.unwrap();
    assert!(matches!(stored, Outcome::Stored { .. }));
    world.silence().await;
    world.link.send_replace(LinkState::Up);
    world.delivery.link_up();
    let stanza = world.sent().await;
    world.answer(&stanza, Answer::Acknowledged);
    world.drained().await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_link_stores_what_waits_at_once_and_sends_it_again() {
    let (mut world, token) = World::with_endpoint().await;
    let push = world.push(&token, None);
    let first = world.sent().await;
    world.delivery.link_down();
    assert!(matches!(push.await.unwrap(), Outcome::Stored { .. }));
    world.delivery.link_up();
    let second = world.sent().await;
    assert_ne!(first.id, second.id, "each attempt has its own id");
    world.answer(&second, Answer::Acknowledged);
    world.drained().await;
}

#[tokio::test(start_paused = true)]
async fn the_stop_stores_what_waits_at_once_and_hears_its_answer() {
    let (mut world, token) = World::with_endpoint().await;
    let push = world.push(&token, None);
    let stanza = world.sent().await;
    world.delivery.stop();
    assert!(matches!(push.await.unwrap(), Outcome::Stored { .. }));
    let late = world.push(&token, None).await.unwrap();
    assert!(matches!(late, Outcome::Stored { .. }));
    world.answer(&stanza, Answer::Acknowledged);
    world.time_out().await;
    world.delivery.finish().await;
    assert_eq!(world.waiting().await, 1, "the first is delivered");
    assert_eq!(
        world.push(&token, Some(0)).await.unwrap(),
        Outcome::LinkDown
    );
}

#[tokio::test(start_paused = true)]
async fn an_acknowledgement_during_the_write_takes_the_message_out_again() {
    let (mut world, token) = World::with_endpoint().await;
    let push = world.push(&token, None);
    let stanza = world.sent().await;
    let other = world.other_process();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    world.time_out().await;
    tokio::task::yield_now().await;
    world.answer(&stanza, Answer::Acknowledged);
    assert!(!push.is_finished());
    other.execute_batch("ROLLBACK").unwrap();
    assert!(matches!(push.await.unwrap(), Outcome::Acknowledged { .. }));
    world.drained().await;
}

/// The message is left unanswered, and with the store for as long as this takes.
async fn while_it_is_stored(world: &mut World, token: &str, happens: impl FnOnce(&World)) {
    let other = world.endpoint_of(OTHER).await;
    world.unanswered(&other).await;
    let disk = world.other_process();
    disk.execute_batch("BEGIN IMMEDIATE").unwrap();
    // Three times as many as the store is asked to keep at a time for an account.
    let before: Vec<_> = (0..48).map(|_| world.push(&other, None)).collect();
    let push = world.push(token, None);
    world.sent().await;
    world.time_out().await;
    world.settle().await;
    happens(world);
    world.settle().await;
    disk.execute_batch("ROLLBACK").unwrap();
    for push in before.into_iter().chain([push]) {
        assert!(matches!(push.await.unwrap(), Outcome::Stored { .. }));
    }
}

#[tokio::test(start_paused = true)]
async fn a_phone_that_comes_back_while_its_push_is_stored_is_not_left_alone() {
    let (mut world, token) = World::with_endpoint().await;
    let announced = |world: &World| world.delivery.presence(&jid(PHONE), true);
    while_it_is_stored(&mut world, &token, announced).await;
    let stanza = world.within(60).await;
    assert_eq!(stanza.expect("it announced itself").to().as_str(), PHONE);
}

#[tokio::test(start_paused = true)]
async fn what_is_stored_while_the_link_is_lost_is_not_held_from_another_replica() {
    let (mut world, token) = World::shared().await;
    let lost = |world: &World| {
        world.link.send_replace(LinkState::Connecting);
        world.delivery.link_down();
    };
    while_it_is_stored(&mut world, &token, lost).await;
    world.silence().await;
    world.claim_elsewhere().await;
}

#[tokio::test(start_paused = true)]
async fn a_refusal_during_the_write_is_a_404() {
    let (mut world, token) = World::with_endpoint().await;
    let push = world.push(&token, None);
    let stanza = world.sent().await;
    let other = world.other_process();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    world.time_out().await;
    tokio::task::yield_now().await;
    world.answer(&stanza, Answer::NotRegistered);
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(push.await.unwrap(), Outcome::Revoked);
    world.drained().await;
    assert_eq!(world.push(&token, None).await.unwrap(), Outcome::Gone);
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_hangs_up_while_it_is_stored_leaves_no_orphan() {
    let (mut world, token) = World::with_endpoint().await;
    let push = world.push(&token, None);
    let first = world.sent().await;
    let other = world.other_process();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    world.answer(&first, Answer::Failed);
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
    push.abort();
    other.execute_batch("ROLLBACK").unwrap();
    assert!(push.await.unwrap_err().is_cancelled());
    world.delivery.finish().await;
    assert_eq!(world.waiting().await, 1);
    assert!(world.delivery.phones.must_wait(&jid(PHONE)));
    assert_eq!(world.metrics.in_flight_bytes.get(), 0);
}

#[tokio::test]
async fn what_the_caps_refuse_is_told() {
    let mut world = World::with(|settings| {
        settings.caps.per_account = 2;
        settings.caps.per_endpoint = 1;
    })
    .await;
    world.link.send_replace(LinkState::Connecting);
    world.delivery.link_down();
    let token = world.endpoint().await;
    for evicted in [0, 1] {
        let stored = world.push(&token, None).await.unwrap();
        assert!(matches!(stored, Outcome::Stored { .. }));
        let events = &world.metrics.queue_events;
        assert_eq!(events.get(QueueEvent::Evicted), evicted);
    }
    let low = Message {
        urgency: Urgency::Low,
        ..message(None)
    };
    assert_eq!(
        world.delivery.push(&token, low).await,
        Outcome::QueueFull,
        "what waits is more urgent"
    );
    for (app, outcome) in [(2, None), (3, Some(Outcome::AccountFull))] {
        let other = world.endpoint_of_app(PHONE, app).await;
        let pushed = world.push(&other, None).await.unwrap();
        match outcome {
            None => assert!(matches!(pushed, Outcome::Stored { .. })),
            Some(outcome) => assert_eq!(pushed, outcome),
        }
    }
    assert!(world.stanzas.try_recv().is_err());
}

#[tokio::test]
async fn a_message_can_be_asked_for_and_taken_back() {
    let (world, token) = World::with_endpoint().await;
    world.link.send_replace(LinkState::Connecting);
    world.delivery.link_down();
    let Outcome::Stored { message, .. } = world.push(&token, None).await.unwrap() else {
        panic!("not stored");
    };
    assert_eq!(world.delivery.is_pending(message).await, Ok(true));
    for waits in [true, false] {
        assert_eq!(world.delivery.cancel(message).await, Ok(waits));
        assert_eq!(world.delivery.is_pending(message).await, Ok(false));
    }
    assert_eq!(world.metrics.queue_events.get(QueueEvent::Deleted), 1);
}

#[tokio::test(start_paused = true)]
async fn ttl_0_goes_out_at_once_and_is_never_stored() {
    let (mut world, token) = World::with_endpoint().await;
    let kept = world.push(&token, None);
    world.sent().await;
    world.time_out().await;
    kept.await.unwrap();

    let now_or_never = world.push(&token, Some(0));
    world.sent().await;
    world.time_out().await;
    let outcome = now_or_never.await.unwrap();
    assert!(matches!(outcome, Outcome::SentUnanswered { .. }));
    assert_eq!(world.waiting().await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_sender_whose_push_the_phone_has_does_not_wait_for_the_store() {
    let (mut world, token) = World::with_endpoint().await;
    let push = world.push(&token, None);
    let stanza = world.sent().await;
    let other = world.other_process();
    let broken = "BEGIN IMMEDIATE; CREATE TRIGGER broken BEFORE DELETE ON queue
                  BEGIN SELECT RAISE(ABORT, 'broken'); END";
    other.execute_batch(broken).unwrap();
    world.time_out().await;
    world.settle().await;
    world.answer(&stanza, Answer::Acknowledged);
    other.execute_batch("COMMIT").unwrap();
    for _ in 0..60 {
        world.sent_now().await;
        world.advance(Duration::from_secs(1)).await;
    }
    assert!(push.is_finished(), "a minute later the sender waits still");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_does_not_cut_off_a_phone_for_which_nothing_waits() {
    let (mut world, token) = World::with_endpoint().await;
    let other = world.other_process();
    other
        .execute_batch("ALTER TABLE queue RENAME TO gone")
        .unwrap();
    let failed = world.answered(&token, Answer::Failed).await;
    assert_eq!(failed, Outcome::StoreFailed);
    world.delivery.phone_spoke(&jid(PHONE));
    world.advance(Duration::from_secs(10)).await;
    let push = world.push(&token, None);
    let stanza = world.within(1).await;
    let outcome = push.is_finished().then_some(push);
    assert!(stanza.is_some(), "{:?}", outcome.unwrap().await);
}

#[tokio::test]
async fn nobody_waits_in_line_for_a_store_that_hangs() {
    let world = World::new().await;
    world.link.send_replace(LinkState::Connecting);
    world.delivery.link_down();
    let mut tokens = Vec::new();
    for number in 0..40 {
        tokens.push(
            world
                .endpoint_of(&format!("romeo{number}@example.org/orchard"))
                .await,
        );
    }
    let other = world.other_process();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let begun = Instant::now();
    let pushes = (0..4000).map(|number| world.push(&tokens[number % 40], None));
    let pushes: Vec<_> = pushes.collect();
    for push in pushes {
        assert_eq!(push.await.unwrap(), Outcome::StoreFailed);
    }
    let took = begun.elapsed();
    assert!(
        took < Duration::from_secs(25),
        "the last has waited {took:?}"
    );
}

/// The phone was off from an hour before it would have renewed until 20 days later.
#[tokio::test(start_paused = true)]
async fn a_phone_that_missed_its_renewal_finds_its_subscription_and_what_waits() {
    const DAY: Duration = Duration::from_secs(86400);
    for backend in [Backend::Paseto, Backend::Jwt, Backend::Storage] {
        let mut world = World::with_grace(backend, 28 * DAY).await;
        let token = world.registered(PHONE).await;
        world.link.send_replace(LinkState::Connecting);
        world.delivery.link_down();
        world.advance(6 * DAY).await;
        let early = world.push(&token, Some(23 * 86400)).await.unwrap();
        assert_eq!(accepted_ttl(&early), 23 * 86400);
        world.advance(20 * DAY).await;
        let late = world.push(&token, Some(28 * 86400)).await.unwrap();
        let left = (7 + 28 - 26) * 86400;
        assert_eq!(accepted_ttl(&late), left, "what is really kept");

        let renewed = world.registered(PHONE).await;
        assert_eq!(renewed == token, backend == Backend::Storage);
        world.link.send_replace(LinkState::Up);
        world.delivery.link_up();
        for _ in 0..2 {
            let stanza = world.sent().await;
            world.answer(&stanza, Answer::Acknowledged);
        }
        world.drained().await;
    }
}

#[tokio::test]
async fn a_shortest_ttl_keeps_what_was_for_now_or_never() {
    let kept = async |least: Urgency, urgency: Urgency| {
        let world = World::with(|settings| {
            settings.min_ttl = Ttl::from_secs(600);
            settings.min_ttl_urgency = least;
        });
        let world = world.await;
        let token = world.endpoint().await;
        world.link.send_replace(LinkState::Connecting);
        let message = Message {
            urgency,
            ..message(Some(0))
        };
        world.delivery.push(&token, message).await
    };
    let all = kept(Urgency::VeryLow, Urgency::Normal).await;
    assert_eq!(accepted_ttl(&all), 600, "what is kept is told");
    let urgent = kept(Urgency::High, Urgency::High).await;
    assert_eq!(accepted_ttl(&urgent), 600);
    let rest = kept(Urgency::High, Urgency::Normal).await;
    assert_eq!(rest, Outcome::LinkDown);
}

#[tokio::test]
async fn an_account_with_very_many_pushes_does_not_stand_before_the_others() {
    let world =
        World::with(|settings| settings.endpoint_rate = "1000/s, burst 1000".parse().unwrap());
    let world = world.await;
    let greedy = world.endpoint().await;
    let other = world.endpoint_of("juliet@example.org/balcony").await;
    world.link.send_replace(LinkState::Connecting);
    world.delivery.link_down();
    let disk = world.other_process();
    disk.execute_batch("BEGIN IMMEDIATE").unwrap();
    let flood: Vec<_> = (0..600).map(|_| world.push(&greedy, None)).collect();
    world.settle().await;
    let healthy = world.push(&other, None);
    world.settle().await;
    disk.execute_batch("COMMIT").unwrap();
    assert!(matches!(healthy.await.unwrap(), Outcome::Stored { .. }));
    let before = flood.iter().filter(|push| push.is_finished()).count();
    assert!(before <= 64, "{before} came before");
    for push in flood {
        assert!(matches!(push.await.unwrap(), Outcome::Stored { .. }));
    }
}
