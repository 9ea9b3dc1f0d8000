//! Which message is sent next to a phone, and when.

use std::time::Duration;

use testbed::tests;
use unified_push::{
    model::{
        message::{Hold, Urgency},
        payload::Head,
    },
    store::{Claim, NewMessage, Store},
};

use crate::{Test, messages::*};

pub fn tests() -> Vec<Test> {
    tests![
        &nothing_waits_at_first,
        what_is_claimed_is_what_was_stored,
        the_largest_message_comes_back_with_its_head,
        the_most_urgent_goes_first_then_the_oldest,
        a_jid_has_one_lease_at_a_time,
        what_is_held_waits_until_then_or_until_released,
        what_was_never_held_goes_before_what_was,
        a_lease_and_a_hold_do_not_touch_each_other,
        what_has_expired_is_not_sent,
    ]
}

async fn nothing_waits_at_first(store: &Store) {
    assert!(store.owners_waiting(None, 10).await.unwrap().is_empty());
    assert_eq!(store.waiting(NOW).await.unwrap(), []);
    assert_eq!(claim(store, ORCHARD, NOW).await, Claim::Empty);
    assert_eq!(totals(store).await, (0, 0));
    assert_eq!(store.sizes().await.unwrap().oldest, None);
}

async fn what_is_claimed_is_what_was_stored(store: &Store) {
    let new = message(1);
    put(store, new.clone()).await;
    assert_eq!(claim(store, BALCONY, after(1)).await, Claim::Empty);
    let claimed = claimed(store, ORCHARD, after(1)).await;
    assert_eq!((claimed.key, claimed.attempt), (new.key, 1));
    assert_eq!(claimed.registration, new.registration);
    assert_eq!(claimed.payload, new.payload);
    assert_eq!(claimed.expires, new.expires);
}

async fn the_largest_message_comes_back_with_its_head(store: &Store) {
    let head = Head::aesgcm(&[b's'; 100], &[b'k'; 800]).unwrap();
    let new = NewMessage {
        payload: payload(4096).behind(&head),
        ..message(1)
    };
    assert!(new.payload.len() > 5000);
    put(store, new.clone()).await;
    let claimed = claimed(store, ORCHARD, NOW).await;
    assert_eq!(claimed.payload, new.payload);
}

async fn the_most_urgent_goes_first_then_the_oldest(store: &Store) {
    let of = |serial, arrived, urgency| NewMessage {
        urgency,
        arrived: after(arrived),
        ..message(serial)
    };
    for new in [
        of(1, 1, Urgency::VeryLow),
        of(2, 9, Urgency::Normal),
        of(3, 2, Urgency::Low),
        of(4, 5, Urgency::Normal),
        of(5, 5, Urgency::Normal),
        of(6, 9, Urgency::High),
    ] {
        put(store, new).await;
    }
    let order = drain(store, ORCHARD, after(10)).await;
    assert_eq!(order, keys(&[6, 4, 5, 2, 3, 1]));
}

async fn a_jid_has_one_lease_at_a_time(store: &Store) {
    put(store, message(1)).await;
    put(store, message_to(ORCHARD, 2, 2)).await;
    put(store, message_to(BALCONY, 1, 3)).await;
    assert_eq!(claimed(store, ORCHARD, after(10)).await.key, key(1));
    let lease = after(70);
    assert_eq!(claim(store, ORCHARD, after(11)).await, Claim::Later(lease));
    assert_eq!(claimed(store, BALCONY, after(11)).await.key, key(3));

    let again = claimed(store, ORCHARD, lease).await;
    assert_eq!((again.key, again.attempt), (key(1), 2));
    store.acknowledge(key(1)).await.unwrap();
    assert_eq!(claimed(store, ORCHARD, lease).await.key, key(2));
}

async fn what_is_held_waits_until_then_or_until_released(store: &Store) {
    let held = |serial: u32, secs| NewMessage {
        sent: Some(after(serial.into())),
        hold: Hold::Until(after(secs)),
        ..message(serial)
    };
    put(store, held(1, 200)).await;
    put(store, held(2, 100)).await;
    put(store, message(3)).await;
    assert_eq!(claimed(store, ORCHARD, after(10)).await.key, key(3));
    store.acknowledge(key(3)).await.unwrap();
    let later = claim(store, ORCHARD, after(10)).await;
    assert_eq!(later, Claim::Later(after(100)));

    store.release(&full(BALCONY), NOW..=after(9)).await.unwrap();
    for sent in [after(3)..=after(9), NOW..=NOW] {
        store.release(&full(ORCHARD), sent).await.unwrap();
    }
    let later = claim(store, ORCHARD, after(99)).await;
    assert_eq!(later, Claim::Later(after(100)));
    assert_eq!(claimed(store, ORCHARD, after(100)).await.key, key(2));
    store.acknowledge(key(2)).await.unwrap();
    store
        .release(&full(ORCHARD), after(1)..=after(1))
        .await
        .unwrap();
    assert_eq!(claimed(store, ORCHARD, after(101)).await.key, key(1));
    store.acknowledge(key(1)).await.unwrap();

    // The clock is set back.
    put(store, held(4, 900)).await;
    let earlier = NOW.saturating_sub(Duration::from_secs(7200));
    store
        .release(&full(ORCHARD), earlier..=earlier)
        .await
        .unwrap();
    assert_eq!(claimed(store, ORCHARD, after(102)).await.key, key(4));
}

async fn what_was_never_held_goes_before_what_was(store: &Store) {
    let held = NewMessage {
        urgency: Urgency::High,
        hold: Hold::Until(after(5)),
        ..message(1)
    };
    let never = |serial| NewMessage {
        hold: Hold::Free,
        ..message(serial)
    };
    put(store, held).await;
    put(store, never(2)).await;
    put(store, never(3)).await;
    let order = drain(store, ORCHARD, after(10)).await;
    assert_eq!(order, keys(&[2, 3, 1]));
}

async fn a_lease_and_a_hold_do_not_touch_each_other(store: &Store) {
    put(store, message(1)).await;
    claimed(store, ORCHARD, after(1)).await;
    store.release(&full(ORCHARD), NOW..=after(2)).await.unwrap();
    let later = claim(store, ORCHARD, after(2)).await;
    assert_eq!(later, Claim::Later(after(61)), "released is not put back");

    store
        .put_back(key(1), 1, &full(ORCHARD), Hold::Until(after(500)))
        .await
        .unwrap();
    let later = claim(store, ORCHARD, after(61)).await;
    assert_eq!(later, Claim::Later(after(500)), "held beyond the lease");
}

async fn what_has_expired_is_not_sent(store: &Store) {
    put(store, message(1)).await;
    let end = message(1).expires;
    claimed(store, ORCHARD, after(86_400)).await;
    assert!(!store.is_waiting(id(1), end).await.unwrap());
    assert_eq!(claim(store, ORCHARD, end).await, Claim::Empty);
}
