//! A later push replaces an earlier one of its topic, wherever that is.

use super::*;
use crate::model::message::Topic;

impl World {
    fn push_with_topic(&self, token: &str, ttl: Option<u64>) -> tokio::task::JoinHandle<Outcome> {
        let message = Message {
            topic: Some(Topic::parse(b"mail").unwrap()),
            ..message(ttl)
        };
        self.push_message(token, message)
    }
}

#[tokio::test(start_paused = true)]
async fn what_another_replica_has_stored_does_not_come_after_a_later_push() {
    let (mut world, token) = World::shared().await;
    world.store_elsewhere(&token, "mail").await;
    let later = world.push_with_topic(&token, None);
    let stanza = world.sent().await;
    world.hear_of_it();
    assert!(world.sent_now().await.is_none(), "the later one passes it");
    let latest = world.push_with_topic(&token, None);
    assert!(world.sent_now().await.is_none(), "no more of them do");
    assert!(matches!(latest.await.unwrap(), Outcome::Stored { .. }));

    world.answer(&stanza, Answer::Acknowledged);
    assert!(matches!(later.await.unwrap(), Outcome::Acknowledged { .. }));
    let stanza = world.sent().await;
    assert_eq!(text(&stanza), "hello");
    world.answer(&stanza, Answer::Acknowledged);
    world.drained().await;
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_sent_when_the_push_that_passed_it_has_failed() {
    let (mut world, token) = World::shared().await;
    world.store_elsewhere(&token, "chat").await;
    let other = world.push_with_topic(&token, Some(0));
    let stanza = world.sent().await;
    world.answer(&stanza, Answer::Failed);
    assert!(matches!(other.await.unwrap(), Outcome::PhoneError));
    let other = world.push_with_topic(&token, None);
    let stanza = world.sent().await;
    world.hear_of_it();
    assert!(world.sent_now().await.is_none());
    world.answer(&stanza, Answer::Acknowledged);
    assert!(matches!(other.await.unwrap(), Outcome::Acknowledged { .. }));
    assert_eq!(text(&world.sent().await), "elsewhere", "of another topic");
}

#[tokio::test(start_paused = true)]
async fn what_was_replaced_is_deleted_though_the_link_is_lost() {
    let (mut world, token) = World::shared().await;
    world.store_elsewhere(&token, "mail").await;
    let later = world.push_with_topic(&token, None);
    let stanza = world.sent().await;
    world.link.send_replace(LinkState::Connecting);
    world.answer(&stanza, Answer::Acknowledged);
    assert!(matches!(later.await.unwrap(), Outcome::Acknowledged { .. }));
    assert_eq!(world.waiting().await, 1);
    world.delivery.link_down();
    while world.waiting().await > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_push_for_now_or_never_replaces_what_waits() {
    let (mut world, token) = World::with_endpoint().await;
    let first = world.push_with_topic(&token, None);
    world.sent().await;
    world.time_out().await;
    assert!(matches!(first.await.unwrap(), Outcome::Stored { .. }));

    let now_or_never = world.push_with_topic(&token, Some(0));
    let stanza = world.sent().await;
    world.answer(&stanza, Answer::Acknowledged);
    let outcome = now_or_never.await.unwrap();
    assert!(matches!(outcome, Outcome::Acknowledged { .. }));
    world.drained().await;
}
