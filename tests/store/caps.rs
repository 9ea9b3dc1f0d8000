//! What comes in: what it replaces, who gives way to it, and whether it fits.

use std::time::Duration;

use futures::future::join_all;
use testbed::tests;
use unified_push::{
    model::message::Urgency,
    store::{Caps, Enqueued, NewMessage, Store, StoreError},
};

use crate::{Test, messages::*};

pub fn tests() -> Vec<Test> {
    tests![
        &the_oldest_of_the_lowest_urgency_gives_way,
        what_is_more_urgent_never_gives_way,
        a_cap_that_was_lowered_evicts_until_it_fits,
        what_has_expired_counts_no_more,
        what_has_expired_is_deleted_by_the_accounts_next_message,
        an_account_cannot_heap_up_what_has_expired,
        what_was_refused_a_moment_ago_is_refused_without_a_look,
        what_is_more_urgent_than_the_refused_is_looked_at,
        an_account_holds_so_many_on_all_its_endpoints,
        bytes_are_counted_with_what_is_freed,
        a_refusal_changes_nothing,
        thousands_at_a_time_are_each_answered,
        a_message_that_fails_takes_no_other_along,
    ]
}

pub async fn enqueue(store: &Store, message: NewMessage, caps: Caps) -> Enqueued {
    let arrived = message.arrived;
    store.enqueue(message, caps, arrived).await.unwrap()
}

async fn the_oldest_of_the_lowest_urgency_gives_way(store: &Store) {
    let caps = Caps {
        per_endpoint: 3,
        ..AMPLE
    };
    let of = |serial, urgency| NewMessage {
        urgency,
        ..message(serial)
    };
    put(store, of(1, Urgency::Normal)).await;
    // Stored later, but older than the other one of its urgency.
    put(store, of(3, Urgency::Low)).await;
    put(store, of(2, Urgency::Low)).await;
    put(store, message_to(ORCHARD, 2, 9)).await;
    assert_eq!(
        enqueue(store, of(4, Urgency::Low), caps).await,
        evicted(1),
        "it is as urgent"
    );
    assert!(!store.is_waiting(id(2), after(4)).await.unwrap());
    assert_eq!(enqueue(store, of(5, Urgency::High), caps).await, evicted(1));
    assert_eq!(drain(store, ORCHARD, after(9)).await, keys(&[5, 1, 9, 4]));
}

async fn what_is_more_urgent_never_gives_way(store: &Store) {
    let caps = Caps {
        per_endpoint: 1,
        ..AMPLE
    };
    put(store, message(1)).await;
    let low = NewMessage {
        urgency: Urgency::Low,
        ..message(2)
    };
    assert_eq!(enqueue(store, low, caps).await, Enqueued::Outranked);
    assert_eq!(drain(store, ORCHARD, after(3)).await, keys(&[1]));
}

async fn a_cap_that_was_lowered_evicts_until_it_fits(store: &Store) {
    for serial in 1..=5 {
        put(store, message(serial)).await;
    }
    let high = NewMessage {
        urgency: Urgency::High,
        ..message(6)
    };
    put(store, high).await;
    let caps = |per_endpoint| Caps {
        per_endpoint,
        ..AMPLE
    };
    let one_too_many = enqueue(store, message(7), caps(1)).await;
    assert_eq!(
        one_too_many,
        Enqueued::Outranked,
        "the last one is more urgent"
    );
    assert_eq!(totals(store).await.0, 6);
    assert_eq!(enqueue(store, message(7), caps(3)).await, evicted(4));
    assert_eq!(drain(store, ORCHARD, after(9)).await, keys(&[6, 5, 7]));
}

async fn what_has_expired_counts_no_more(store: &Store) {
    let short = |serial| NewMessage {
        expires: after(10),
        ..message(serial)
    };
    put(store, short(1)).await;
    put(store, short(2)).await;
    let caps = Caps {
        per_endpoint: 1,
        per_account: 1,
        ..AMPLE
    };
    let at = |now| store.enqueue(message(3), caps, now);
    assert_eq!(at(after(10)).await.unwrap(), STORED);
    assert!(!store.is_waiting(id(1), after(10)).await.unwrap());
}

/// As many as one write deletes.
const STEP: u32 = 500;

fn short(app: u8, serial: u32) -> NewMessage {
    NewMessage {
        arrived: NOW,
        expires: after(1),
        ..message_to(ORCHARD, app, serial)
    }
}

async fn what_has_expired_is_deleted_by_the_accounts_next_message(store: &Store) {
    let dead = STEP + 200;
    for serial in 0..dead {
        put(store, short((serial % 7) as u8, serial)).await;
    }
    let another = NewMessage {
        topic: topic("mail"),
        ..message_to(BALCONY, 1, 1000)
    };
    put(store, another.clone()).await;
    assert_eq!(
        totals(store).await.0,
        u64::from(dead + 1),
        "it is another's"
    );

    let next = |serial, caps| store.enqueue(message(serial), caps, after(1));
    let caps = |per_account| Caps {
        per_account,
        per_endpoint: 1,
        ..AMPLE
    };
    // What is left counts for the account, and nothing gives way to it.
    let answer = next(dead, caps(200)).await.unwrap();
    assert_eq!(answer, Enqueued::AccountFull);
    assert_eq!(totals(store).await.0, 200 + 1);
    assert_eq!(next(dead, caps(1)).await.unwrap(), STORED);
    assert_eq!(
        totals(store).await,
        (2, size(&message(dead)) + size(&another))
    );
    assert_eq!(
        store.purge(after(1)).await.unwrap(),
        u64::from(dead),
        "they count"
    );
    assert_eq!(store.purge(after(1)).await.unwrap(), 0, "once");
}

async fn an_account_cannot_heap_up_what_has_expired(store: &Store) {
    let caps = Caps {
        per_endpoint: 10,
        per_account: 30,
        ..AMPLE
    };
    let all = (0..400).map(|serial| {
        let message = short((serial % 40) as u8, serial);
        store.enqueue(message, caps, after(2))
    });
    for answer in join_all(all).await {
        assert!(matches!(answer.unwrap(), STORED | Enqueued::AccountFull));
    }
    assert!(totals(store).await.0 <= 30, "{:?}", totals(store).await);
}

async fn what_was_refused_a_moment_ago_is_refused_without_a_look(store: &Store) {
    let caps = Caps {
        per_account: 1,
        ..AMPLE
    };
    put(store, message_to(ORCHARD, 2, 1)).await;
    let then = |millis| after(2).saturating_add(Duration::from_millis(millis));
    let ask = |message, caps, millis| async move {
        store.enqueue(message, caps, then(millis)).await.unwrap()
    };
    assert_eq!(ask(message(2), caps, 0).await, Enqueued::AccountFull);
    assert_eq!(
        store
            .drop_waiting(&bare("romeo@example.org"))
            .await
            .unwrap(),
        1
    );
    // There is room now; but nobody has looked.
    for (urgency, millis) in [(Urgency::Normal, 0), (Urgency::VeryLow, 999)] {
        let message = NewMessage {
            urgency,
            ..message(2)
        };
        let again = ask(message, caps, millis).await;
        assert_eq!(again, Enqueued::AccountFull);
    }
    assert_eq!(totals(store).await.0, 0);

    // Another endpoint, account or cap is another matter.
    let wider = Caps {
        per_account: 3,
        ..AMPLE
    };
    assert_eq!(ask(message_to(ORCHARD, 2, 3), caps, 0).await, STORED);
    assert_eq!(ask(message_to(BALCONY, 1, 4), caps, 0).await, STORED);
    assert_eq!(ask(message(5), wider, 0).await, STORED);
    assert_eq!(ask(message(2), caps, 500).await, Enqueued::AccountFull);
    store
        .drop_waiting(&bare("romeo@example.org"))
        .await
        .unwrap();
    assert_eq!(ask(message(2), caps, 1000).await, STORED);
}

async fn what_is_more_urgent_than_the_refused_is_looked_at(store: &Store) {
    let caps = Caps {
        per_endpoint: 1,
        ..AMPLE
    };
    put(store, message(1)).await;
    let of = |serial, urgency| NewMessage {
        urgency,
        ..message(serial)
    };
    let ask = |message| store.enqueue(message, caps, after(2));
    let low = ask(of(2, Urgency::Low)).await;
    assert_eq!(low.unwrap(), Enqueued::Outranked);
    assert_eq!(ask(of(3, Urgency::Normal)).await.unwrap(), evicted(1));
    let low = ask(of(4, Urgency::VeryLow)).await;
    assert_eq!(low.unwrap(), Enqueued::Outranked);
}

async fn an_account_holds_so_many_on_all_its_endpoints(store: &Store) {
    let caps = Caps {
        per_endpoint: 2,
        per_account: 3,
        ..AMPLE
    };
    for (app, serial) in [(1, 1), (1, 2), (2, 3)] {
        put(store, message_to(ORCHARD, app, serial)).await;
    }
    let elsewhere = message_to("romeo@example.org/street", 3, 4);
    let refused = enqueue(store, elsewhere, caps).await;
    assert_eq!(refused, Enqueued::AccountFull);
    assert_eq!(enqueue(store, message(5), caps).await, evicted(1));
    let juliet = enqueue(store, message_to(BALCONY, 3, 6), caps).await;
    assert_eq!(juliet, STORED);
    let on_topic = |serial| NewMessage {
        topic: topic("mail"),
        ..message_to(ORCHARD, 2, serial)
    };
    assert_eq!(
        enqueue(store, on_topic(7), caps).await,
        Enqueued::AccountFull
    );
    put(store, on_topic(7)).await;
    assert_eq!(enqueue(store, on_topic(8), caps).await, REPLACED);
}

async fn bytes_are_counted_with_what_is_freed(store: &Store) {
    let of = |serial, len| NewMessage {
        payload: payload(len),
        topic: topic("mail"),
        ..message(serial)
    };
    let exact = |bytes| Caps { bytes, ..AMPLE };
    let first = of(1, 100);
    let bytes = size(&first);
    let full = enqueue(store, first.clone(), exact(bytes - 1)).await;
    assert_eq!(full, Enqueued::Full);
    assert_eq!(enqueue(store, first, exact(bytes)).await, STORED);
    assert_eq!(totals(store).await, (1, bytes));

    // Replaced or evicted, the other one's bytes are free.
    let larger = of(2, 101);
    let full = enqueue(store, larger.clone(), exact(bytes)).await;
    assert_eq!(full, Enqueued::Full);
    assert_eq!(enqueue(store, larger, exact(bytes + 1)).await, REPLACED);
    let caps = Caps {
        per_endpoint: 1,
        ..exact(bytes)
    };
    let third = NewMessage {
        payload: payload(100),
        ..message(3)
    };
    assert_eq!(enqueue(store, third, caps).await, evicted(1));
    assert_eq!(totals(store).await, (1, bytes));
}

async fn a_refusal_changes_nothing(store: &Store) {
    let on_topic = |serial| NewMessage {
        topic: topic("mail"),
        ..message(serial)
    };
    put(store, on_topic(1)).await;
    put(store, message(2)).await;
    let before = store.sizes().await.unwrap();
    let (full, one) = (Caps { bytes: 1, ..AMPLE }, 1);
    let evicting = Caps {
        per_endpoint: one,
        ..full
    };
    for (refused, caps) in [
        (on_topic(3), full),
        (message(3), full),
        (message(3), evicting),
    ] {
        assert_eq!(enqueue(store, refused, caps).await, Enqueued::Full);
    }
    let after_all = store.sizes().await.unwrap();
    assert_eq!(
        (after_all.queued_bytes, after_all.oldest),
        (before.queued_bytes, before.oldest)
    );
    assert_eq!(drain(store, ORCHARD, after(4)).await, keys(&[1, 2]));
}

async fn thousands_at_a_time_are_each_answered(store: &Store) {
    let many = 3000;
    let all = (0..many).map(|serial| store.enqueue(message(serial), AMPLE, after(0)));
    let mut stored = Vec::new();
    for (serial, answer) in (0..).zip(join_all(all).await) {
        match answer {
            Ok(outcome) => {
                assert_eq!(outcome, STORED);
                stored.push(serial);
            }
            // More than wait at once: some are told so.
            Err(error) => assert!(matches!(error, StoreError::Busy), "{error}"),
        }
    }
    assert!(!stored.is_empty());
    assert_eq!(totals(store).await.0, stored.len() as u64);
    for serial in 0..many {
        let waits = store.is_waiting(id(serial), after(0)).await.unwrap();
        assert_eq!(waits, stored.contains(&serial), "{serial}");
    }
}

async fn a_message_that_fails_takes_no_other_along(store: &Store) {
    put(store, message(0)).await;
    // A key is drawn at random: a second one with it is a defect.
    let again = NewMessage {
        id: id(1000),
        ..message(0)
    };
    let all = (1..100).map(|serial| match serial {
        50 => store.enqueue(again.clone(), AMPLE, NOW),
        _ => store.enqueue(message(serial), AMPLE, NOW),
    });
    let answers = join_all(all).await;
    let failed = answers.iter().filter(|answer| answer.is_err()).count();
    assert_eq!(failed, 1, "{answers:?}");
    assert!(matches!(answers[49], Err(StoreError::Failed(_))));
    assert_eq!(totals(store).await, (99, 99 * size(&message(0))));
}
