//! One push with every ending, the link played by the test.

mod forwarding;
mod interleavings;
mod keeping;
mod topics;
mod world;

use self::world::{OTHER, PHONE, WEEK, World, accepted_ttl, jid, message, text};
use super::{push::admission::OVERHEAD, *};
use crate::{metrics::QueueEvent, model::registration::Digest, token::Backend};

#[tokio::test]
async fn an_acknowledged_push_reports_the_accepted_ttl() {
    let (mut world, token) = World::with_endpoint().await;
    let push = world.push(&token, Some(60));
    let stanza = world.sent().await;
    assert_eq!(
        (stanza.to().as_str(), stanza.payload.as_bytes()),
        (PHONE, &b"hello"[..])
    );
    assert_eq!(world.metrics.in_flight.get(), 1);
    assert!(world.delivery.answer(
        stanza.to().as_str(),
        stanza.id.as_str(),
        Answer::Acknowledged
    ));
    assert_eq!(accepted_ttl(&push.await.unwrap()), 60);
    assert_eq!(world.metrics.acknowledgement_seconds.get_sample_count(), 1);
    assert_eq!(
        (
            world.metrics.in_flight.get(),
            world.metrics.in_flight_bytes.get()
        ),
        (0, 0)
    );
}

#[tokio::test]
async fn the_ttl_is_capped_by_the_maximum_and_the_registrations_life() {
    let mut world = World::with(|settings| settings.max_ttl = Ttl::from_secs(600)).await;
    let token = world.endpoint().await;
    let default = world.answered(&token, Answer::Acknowledged).await;
    assert_eq!(accepted_ttl(&default), 600, "the default is capped as well");
    world.clock.advance(WEEK - Duration::from_secs(5));
    let last = world.answered(&token, Answer::Acknowledged).await;
    assert_eq!(accepted_ttl(&last), 5);
}

#[tokio::test]
async fn a_stranger_or_a_guess_acknowledges_nothing() {
    let (mut world, token) = World::with_endpoint().await;
    let push = world.push(&token, None);
    let stanza = world.sent().await;
    let acknowledge = |from: &str, id: &str| world.delivery.answer(from, id, Answer::Acknowledged);
    assert!(
        !acknowledge("eve@example.org/x", stanza.id.as_str()),
        "the right id from another JID"
    );
    assert!(
        !acknowledge("romeo@example.org/balcony", stanza.id.as_str()),
        "another resource"
    );
    assert!(!acknowledge(PHONE, "guessed"));
    assert!(!push.is_finished());
    assert!(acknowledge(PHONE, stanza.id.as_str()));
    assert_eq!(accepted_ttl(&push.await.unwrap()), 86_400);
}

#[tokio::test(start_paused = true)]
async fn ttl_0_is_content_with_having_been_sent() {
    let (mut world, token) = World::with_endpoint().await;

    let sent = world.push(&token, Some(0));
    world.sent().await;
    world.time_out().await;
    assert!(matches!(
        sent.await.unwrap(),
        Outcome::SentUnanswered { .. }
    ));

    let queued_only = world.push(&token, Some(0));
    tokio::task::yield_now().await;
    world.time_out().await;
    assert_eq!(
        queued_only.await.unwrap(),
        Outcome::Unanswered,
        "it never went out"
    );
    world.stanzas.recv().await.unwrap();

    let refused = world.push(&token, Some(0));
    let stanza = world.sent().await;
    world
        .delivery
        .answer(stanza.to().as_str(), stanza.id.as_str(), Answer::Failed);
    assert_eq!(refused.await.unwrap(), Outcome::PhoneError);

    world.link.send_replace(LinkState::Connecting);
    assert_eq!(
        world.push(&token, Some(0)).await.unwrap(),
        Outcome::LinkDown
    );
}

#[tokio::test]
async fn a_lost_link_is_told_at_once() {
    let (mut world, token) = World::with_endpoint().await;
    let push = world.push(&token, Some(0));
    world.sent().await;
    world.delivery.link_down();
    assert_eq!(push.await.unwrap(), Outcome::LinkDown);
}

#[tokio::test]
async fn an_unknown_registration_is_revoked_for_good() {
    let (mut world, token) = World::with_endpoint().await;
    let outcome = world.answered(&token, Answer::NotRegistered).await;
    assert_eq!(outcome, Outcome::Revoked);
    assert_eq!(world.metrics.revocations.get(), 1);
    assert_eq!(world.push(&token, None).await.unwrap(), Outcome::Gone);

    // The phone registers anew: another token, which lives.
    let token = world.endpoint().await;
    let outcome = world.answered(&token, Answer::Acknowledged).await;
    assert_eq!(accepted_ttl(&outcome), 86_400);
}

#[tokio::test]
async fn a_refusal_that_a_registration_overtook_is_no_404_for_a_url_that_lives() {
    let mut world = World::issuing(Backend::Storage).await;
    let token = world.endpoint().await;
    let push = world.push(&token, None);
    let stanza = world.sent().await;
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(
        world.endpoint().await,
        token,
        "the same URL, registered again"
    );
    assert!(world.delivery.answer(
        stanza.to().as_str(),
        stanza.id.as_str(),
        Answer::NotRegistered
    ));
    // The message is for the new registration.
    assert!(matches!(push.await.unwrap(), Outcome::Stored { .. }));
    let stanza = world.sent().await;
    world.answer(&stanza, Answer::Acknowledged);
}

#[tokio::test]
async fn the_refusal_of_a_former_resource_spares_the_present_one() {
    for backend in [Backend::Paseto, Backend::Jwt] {
        let mut world = World::issuing(backend).await;
        let former = world.endpoint().await;
        world.clock.advance(Duration::from_secs(5));
        let present = world.endpoint_of("romeo@example.org/new").await;
        world.clock.advance(Duration::from_secs(5));
        let outcome = world.answered(&former, Answer::NotRegistered).await;
        assert_eq!(outcome, Outcome::Revoked);
        let outcome = world.answered(&present, Answer::Acknowledged).await;
        assert_eq!(accepted_ttl(&outcome), 86_400);
    }
}

#[tokio::test]
async fn a_refusal_is_an_answer_to_ttl_0_even_while_the_disk_is_slow() {
    let (mut world, token) = World::with_endpoint().await;
    let other = world.other_process();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let push = world.push(&token, Some(0));
    let stanza = world.sent().await;
    assert!(world.delivery.answer(
        stanza.to().as_str(),
        stanza.id.as_str(),
        Answer::NotRegistered
    ));
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(push.await.unwrap(), Outcome::Revoked);
    assert_eq!(world.push(&token, None).await.unwrap(), Outcome::Gone);
}

#[tokio::test]
async fn bad_and_dead_tokens_send_nothing() {
    let (mut world, token) = World::with_endpoint().await;
    assert_eq!(
        world.push("v4.local.nonsense", None).await.unwrap(),
        Outcome::BadToken
    );
    world.clock.advance(WEEK);
    assert_eq!(world.push(&token, None).await.unwrap(), Outcome::Gone);
    assert!(world.stanzas.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn every_limit_has_its_own_outcome() {
    let world = World::with(|settings| {
        settings.endpoint_rate = "1/s, burst 4".parse().unwrap();
        settings.in_flight_memory = 3 * (5 + OVERHEAD);
    })
    .await;
    let token = world.endpoint().await;
    let push = |ttl| world.push(&token, Some(ttl));
    // Two fit the link's queue, the memory is for three, the rate for four.
    let (first, second) = (push(0), push(0));
    assert_eq!(push(0).await.unwrap(), Outcome::LinkBusy);
    let kept = push(60).await.unwrap();
    assert!(matches!(kept, Outcome::Stored { .. }));
    assert_eq!(push(0).await.unwrap(), Outcome::RateLimited);
    world.time_out().await;
    assert_eq!(first.await.unwrap(), Outcome::Unanswered);
    assert_eq!(second.await.unwrap(), Outcome::Unanswered);
    assert_eq!(world.metrics.in_flight_bytes.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_memory_in_flight_is_bounded_by_bytes() {
    let world = World::with(|settings| settings.in_flight_memory = 2 * (5 + OVERHEAD) - 1).await;
    let token = world.endpoint().await;
    let first = world.push(&token, Some(0));
    let second = world.push(&token, Some(0));
    assert_eq!(second.await.unwrap(), Outcome::MemoryFull);
    world.time_out().await;
    assert_eq!(first.await.unwrap(), Outcome::Unanswered);
}

#[tokio::test]
async fn only_the_acls_phones_are_remembered_as_available() {
    let world = World::new().await;
    world.delivery.presence(&jid(PHONE), true);
    world.delivery.presence(&jid("eve@example.net/x"), true);
    assert_eq!(world.metrics.phones_available.get(), 1);
    world.delivery.presence(&jid(PHONE), false);
    assert_eq!(world.metrics.phones_available.get(), 0);
}

#[tokio::test]
async fn a_restricted_endpoint_takes_what_its_key_has_signed() {
    use crate::model::vapid::{BadSignature, KeyHash};
    let world = World::with(|_| {}).await;
    let (ours, other) = (KeyHash::from_bytes([1; 16]), KeyHash::from_bytes([2; 16]));
    let digest = Digest::from_bytes([1; 32]);
    let phone = jid(PHONE);
    let issued = world.tokens.issue(&phone, digest, digest, Some(ours));
    let restricted = issued.await.unwrap().token;
    let open = world.endpoint().await;
    world.link.send_replace(LinkState::Connecting);
    let push = async |token: &str, signature| {
        let signed = Message {
            signature,
            ..message(Some(60))
        };
        world.delivery.push(token, signed).await
    };
    let bad = Signature::Bad(BadSignature::Expired);
    for (signature, refusal) in [
        (Signature::Absent, Some(Unauthorized::Unsigned)),
        (bad, Some(Unauthorized::Bad(BadSignature::Expired))),
        (Signature::Good(other), Some(Unauthorized::OtherKey)),
        (Signature::Good(ours), None),
        (Signature::Unread, None),
    ] {
        let outcome = push(&restricted, signature).await;
        match refusal {
            Some(reason) => assert_eq!(outcome, Outcome::Unauthorized(reason)),
            None => assert!(matches!(outcome, Outcome::Stored { .. }), "{outcome:?}"),
        }
    }
    let counted = |metrics: &Metrics| {
        use SignatureResult::{Absent, Bad, Good, OtherKey};
        [Absent, Bad, Good, OtherKey].map(|result| metrics.signatures.get(result))
    };
    assert_eq!(counted(&world.metrics), [1, 1, 1, 1]);
    // Whoever registered no key takes everything, and a token that is none counts nothing.
    for signature in [Signature::Absent, bad, Signature::Good(other)] {
        let outcome = push(&open, signature).await;
        assert!(matches!(outcome, Outcome::Stored { .. }), "{outcome:?}");
        assert_eq!(push("none", signature).await, Outcome::BadToken);
    }
    assert_eq!(counted(&world.metrics), [2, 2, 2, 1]);
}

/// A hundred thousand may be in flight.
#[tokio::test]
async fn a_push_in_flight_takes_little_memory() {
    let world = World::new().await;
    let push = world.delivery.push("none", message(None));
    assert!(size_of_val(&push) <= 700, "{}", size_of_val(&push));
}
