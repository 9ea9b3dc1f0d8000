//! Topics: which message replaces which.

use testbed::tests;
use unified_push::{
    model::message::{Hold, Urgency},
    store::{Enqueued, NewMessage, Overtaken, Store},
};

use crate::{Test, caps::enqueue, messages::*};

pub fn tests() -> Vec<Test> {
    tests![
        &a_topic_replaces_the_stored_message_with_all_of_its_own,
        a_topic_that_arrived_earlier_comes_too_late,
        a_topic_that_came_before_the_clock_was_set_back_gives_way,
        a_topic_is_one_endpoints,
        what_a_push_overtook_is_deleted,
    ]
}

async fn a_topic_replaces_the_stored_message_with_all_of_its_own(store: &Store) {
    let first = NewMessage {
        topic: topic("mail"),
        urgency: Urgency::High,
        hold: Hold::Until(after(1000)),
        sent: Some(after(1)),
        ..message(1)
    };
    let second = NewMessage {
        topic: topic("mail"),
        urgency: Urgency::Low,
        payload: payload(4096),
        expires: after(100),
        ..message(2)
    };
    assert_eq!(enqueue(store, first, AMPLE).await, STORED);
    put(store, message(3)).await;
    assert_eq!(enqueue(store, second.clone(), AMPLE).await, REPLACED);
    assert!(!store.is_waiting(id(1), after(3)).await.unwrap());
    assert_eq!(totals(store).await, (2, size(&second) + size(&message(3))));

    // Less urgent than the other one, though the first was more.
    assert_eq!(claimed(store, ORCHARD, after(4)).await.key, key(3));
    store.acknowledge(key(3)).await.unwrap();
    let last = claimed(store, ORCHARD, after(4)).await;
    assert_eq!((last.key, last.attempt), (key(2), 1));
    assert_eq!((last.expires, last.payload.len()), (after(100), 4096));
}

async fn a_topic_that_arrived_earlier_comes_too_late(store: &Store) {
    let at = |serial, arrived| NewMessage {
        topic: topic("mail"),
        arrived,
        ..message(serial)
    };
    enqueue(store, at(1, after(10)), AMPLE).await;
    let late = store.enqueue(at(2, after(9)), AMPLE, after(11)).await;
    assert_eq!(late.unwrap(), Enqueued::Superseded);
    assert!(store.is_waiting(id(1), after(11)).await.unwrap());
    let same_instant = enqueue(store, at(3, after(10)), AMPLE).await;
    assert_eq!(same_instant, REPLACED);
    assert_eq!(drain(store, ORCHARD, after(11)).await, keys(&[3]));
}

async fn a_topic_that_came_before_the_clock_was_set_back_gives_way(store: &Store) {
    let at = |serial, arrived| NewMessage {
        topic: topic("mail"),
        arrived,
        ..message(serial)
    };
    enqueue(store, at(1, after(3600)), AMPLE).await;
    assert_eq!(enqueue(store, at(2, after(9)), AMPLE).await, REPLACED);
    assert_eq!(drain(store, ORCHARD, after(11)).await, keys(&[2]));
}

async fn a_topic_is_one_endpoints(store: &Store) {
    let with_topic = |message, text| NewMessage {
        topic: topic(text),
        ..message
    };
    put(store, with_topic(message(1), "mail")).await;
    put(store, with_topic(message(2), "news")).await;
    put(store, with_topic(message_to(ORCHARD, 2, 3), "mail")).await;
    put(store, with_topic(message_to(BALCONY, 1, 4), "mail")).await;
    put(store, message(5)).await;
    // It is the account's, not the resource's.
    let elsewhere = message_to("romeo@example.org/street", 1, 6);
    let moved = enqueue(store, with_topic(elsewhere, "mail"), AMPLE).await;
    assert_eq!(moved, REPLACED);
    assert_eq!(drain(store, ORCHARD, after(9)).await, keys(&[2, 3, 5]));
}

async fn what_a_push_overtook_is_deleted(store: &Store) {
    let with_topic = |message, text| NewMessage {
        topic: topic(text),
        ..message
    };
    let mail = |serial| with_topic(message(serial), "mail");
    put(store, mail(1)).await;
    put(store, with_topic(message(2), "chat")).await;
    put(store, message(3)).await;
    put(store, with_topic(message_to(ORCHARD, 2, 4), "mail")).await;
    let overtake = async |before| {
        let overtaken = Overtaken {
            endpoint: message(1).registration.key(),
            topic: mail(1).topic.unwrap(),
            before,
        };
        store.overtake(&overtaken).await.unwrap()
    };
    assert_eq!(overtake(mail(1).arrived).await, 0, "it came no earlier");
    assert_eq!(overtake(after(1000)).await, 1);
    assert_eq!(overtake(after(1000)).await, 0);
    assert_eq!(totals(store).await.0, 3);
    assert_eq!(drain(store, ORCHARD, after(10)).await, keys(&[2, 3, 4]));
}
