//! The messages that wait for their phones: what becomes of them, and what there is.

use std::time::Duration;

use testbed::tests;
use unified_push::{
    model::{message::Hold, registration::Registration},
    store::{Claim, Enqueued, NewMessage, Store, Waiting},
};

use crate::{Test, messages::*};

pub fn tests() -> Vec<Test> {
    tests![
        &only_the_latest_attempt_puts_back,
        an_acknowledged_message_is_gone,
        only_who_was_asked_last_is_known,
        what_waits_follows_the_phone,
        who_waits_is_told_in_pages,
        a_message_is_cancelled_by_its_id,
        an_account_is_listed_and_dropped,
        a_message_goes_where_its_phone_registered_last,
        what_has_expired_is_purged_and_counted,
        the_oldest_is_the_first_that_was_stored,
    ]
}

async fn only_the_latest_attempt_puts_back(store: &Store) {
    put(store, message(1)).await;
    claimed(store, ORCHARD, after(1)).await;
    let put_back = async |attempt, secs| {
        let hold = Hold::Until(after(secs));
        store.put_back(key(1), attempt, &full(ORCHARD), hold).await
    };
    for stale in [0, 2] {
        put_back(stale, 30).await.unwrap();
    }
    let later = claim(store, ORCHARD, after(2)).await;
    assert_eq!(later, Claim::Later(after(61)));
    put_back(1, 30).await.unwrap();
    let later = claim(store, ORCHARD, after(2)).await;
    assert_eq!(later, Claim::Later(after(30)));
    assert_eq!(claimed(store, ORCHARD, after(30)).await.attempt, 2);
    put_back(1, 40).await.unwrap();
    let later = claim(store, ORCHARD, after(31)).await;
    assert_eq!(later, Claim::Later(after(90)), "the second's lease lasts");
}

async fn an_acknowledged_message_is_gone(store: &Store) {
    put(store, message(1)).await;
    // In whatever attempt it got there, or before any.
    assert!(store.acknowledge(key(1)).await.unwrap());
    assert!(!store.acknowledge(key(1)).await.unwrap());
    assert!(!store.is_waiting(id(1), after(1)).await.unwrap());
    assert_eq!(totals(store).await, (0, 0));
}

async fn only_who_was_asked_last_is_known(store: &Store) {
    put(store, message(1)).await;
    let asked = async |serial, attempt| store.asked(key(serial), attempt).await.unwrap();
    let whom = Some(registration(ORCHARD, 1));
    assert_eq!(asked(1, 0).await, None, "it was never sent");
    claimed(store, ORCHARD, after(1)).await;
    assert_eq!(asked(1, 1).await, whom);
    claimed(store, ORCHARD, after(100)).await;
    assert_eq!(asked(1, 1).await, None);
    assert_eq!(asked(1, 2).await, whom);
    assert_eq!(asked(1, 3).await, None);
    assert_eq!(asked(2, 1).await, None);

    // The attempt before it was stored is its first.
    let sent = |serial, sent| NewMessage {
        sent: Some(sent),
        ..message(serial)
    };
    put(store, sent(2, NOW)).await;
    assert_eq!(asked(2, 1).await, whom, "in the instant it registered");
    assert_eq!(asked(2, 0).await, None);

    // The answer of the phone as it was before it registered again tells nothing.
    let again = Registration {
        issued: after(101),
        ..registration(ORCHARD, 1)
    };
    store.redirect(&again).await.unwrap();
    assert_eq!(asked(1, 2).await, None);
    assert_eq!(asked(2, 1).await, None);
    let third = claimed(store, ORCHARD, after(200)).await;
    assert_eq!(asked(1, third.attempt).await, Some(again));
}

async fn what_waits_follows_the_phone(store: &Store) {
    let street = "romeo@example.org/street";
    put(store, message(1)).await;
    put(store, message(2)).await;
    put(store, message_to(ORCHARD, 2, 3)).await;
    put(store, message_to(BALCONY, 1, 4)).await;
    let mut newer = message_to("romeo@example.org/alley", 1, 5);
    newer.registration.issued = after(51);
    put(store, newer).await;
    assert_eq!(claimed(store, ORCHARD, after(10)).await.key, key(1));
    store
        .put_back(key(1), 1, &full(ORCHARD), Hold::Until(after(100)))
        .await
        .unwrap();
    assert_eq!(claimed(store, ORCHARD, after(20)).await.key, key(2));

    let moved = Registration {
        issued: after(50),
        expires: after(10_000),
        ..registration(street, 1)
    };
    store.redirect(&moved).await.unwrap();
    assert_eq!(claimed(store, ORCHARD, after(30)).await.key, key(3));
    let later = claim(store, street, after(30)).await;
    assert_eq!(later, Claim::Later(after(80)), "it is claimed still");
    let first = claimed(store, street, after(80)).await;
    assert_eq!(
        (first.key, first.attempt),
        (key(1), 2),
        "only the former one held it"
    );
    let hold = Hold::Until(after(100));
    let street_jid = full(street);
    let put_back = async |serial, owner| store.put_back(key(serial), 1, owner, hold).await.unwrap();
    assert_eq!(
        put_back(2, &full(ORCHARD)).await,
        Some(street_jid.clone()),
        "and the former one does not hold it from now on"
    );
    store.put_back(key(1), 2, &street_jid, hold).await.unwrap();
    let second = claimed(store, street, after(80)).await;
    assert_eq!((second.key, second.attempt), (key(2), 2));
    assert_eq!(second.registration, moved);
    assert_eq!(second.expires, message(2).expires);
    store.acknowledge(key(2)).await.unwrap();
    store.redirect(&moved).await.unwrap();
    let later = claim(store, street, after(80)).await;
    assert_eq!(later, Claim::Later(after(100)), "it is held still");
    let newer = claimed(store, "romeo@example.org/alley", after(80)).await;
    assert_eq!(newer.key, key(5));

    // The same again is no older.
    let back = Registration {
        issued: after(50),
        ..registration(ORCHARD, 1)
    };
    store.redirect(&back).await.unwrap();
    assert_eq!(claim(store, street, after(100)).await, Claim::Empty);
}

async fn who_waits_is_told_in_pages(store: &Store) {
    let mut all = Vec::new();
    for serial in 0..10 {
        let jid = format!("u{serial}@example.org/x");
        for message in 0..3 {
            put(store, message_to(&jid, 1, serial * 3 + message)).await;
        }
        all.push(jid);
    }
    // By their bytes, as a text: "." comes before "/", and both before "a".
    for (serial, jid) in ["a@example.org.uk/x", "a@example.org", "a@example.org/É"]
        .into_iter()
        .enumerate()
    {
        put(store, message_to(jid, 1, 100 + serial as u32)).await;
        all.push(jid.to_owned());
    }
    all.sort();
    let mut told = Vec::new();
    loop {
        let page = store.owners_waiting(told.last(), 4).await.unwrap();
        assert!(page.len() <= 4);
        if page.is_empty() {
            break;
        }
        told.extend(page);
    }
    assert_eq!(told, all.iter().map(|jid| full(jid)).collect::<Vec<_>>());
    let none = store.owners_waiting(None, 0).await.unwrap();
    assert!(none.is_empty());
}

async fn a_message_is_cancelled_by_its_id(store: &Store) {
    put(store, message(1)).await;
    put(store, message(2)).await;
    assert!(store.is_waiting(id(1), after(2)).await.unwrap());
    assert!(store.cancel(id(1)).await.unwrap());
    assert!(!store.cancel(id(1)).await.unwrap());
    assert!(!store.is_waiting(id(1), after(2)).await.unwrap());
    assert_eq!(drain(store, ORCHARD, after(2)).await, keys(&[2]));
}

async fn an_account_is_listed_and_dropped(store: &Store) {
    // More than one step deletes.
    for serial in 1..=600 {
        put(store, message(serial)).await;
    }
    put(store, message_to("romeo@example.org/street", 2, 601)).await;
    put(store, message_to(BALCONY, 1, 602)).await;
    let short = NewMessage {
        expires: after(700),
        ..message_to(BALCONY, 1, 603)
    };
    put(store, short).await;
    let of = |jid, messages: u32, oldest| Waiting {
        owner: bare(jid),
        messages,
        bytes: u64::from(messages) * message(1).payload.len() as u64,
        oldest: after(oldest),
    };
    let juliet = of("juliet@example.org", 1, 602);
    let romeo = of("romeo@example.org", 601, 1);
    assert_eq!(store.waiting(after(700)).await.unwrap(), [juliet, romeo]);

    let romeo = bare("romeo@example.org");
    assert_eq!(store.drop_waiting(&romeo).await.unwrap(), 601);
    assert_eq!(store.drop_waiting(&romeo).await.unwrap(), 0);
    assert_eq!(totals(store).await.0, 2);
}

async fn a_message_goes_where_its_phone_registered_last(store: &Store) {
    let attic = "romeo@example.org/attic";
    let renewed = crate::registrations::new(attic, 1, 1, after(1));
    store.register(renewed).await.unwrap();
    let answer = store.enqueue(message(1), AMPLE, after(2)).await.unwrap();
    let redirected = Enqueued::Stored {
        replaced: 0,
        evicted: 0,
        redirected: Some(full(attic)),
    };
    assert_eq!(answer, redirected);
    assert_eq!(claim(store, ORCHARD, after(3)).await, Claim::Empty);
    let claimed = claimed(store, attic, after(3)).await;
    assert_eq!(claimed.registration.issued, after(1));
    let mut newer = message(2);
    newer.registration.issued = after(2);
    put(store, newer).await;
}

async fn what_has_expired_is_purged_and_counted(store: &Store) {
    for serial in 1..=700 {
        let expires = after(if serial <= 600 { 1000 } else { 1001 });
        let new = NewMessage {
            expires,
            ..message(serial)
        };
        put(store, new).await;
    }
    assert_eq!(store.purge(after(999)).await.unwrap(), 0);
    assert_eq!(store.purge(after(1000)).await.unwrap(), 600);
    assert_eq!(totals(store).await, (100, 100 * size(&message(1))));
    assert_eq!(store.purge(after(2000)).await.unwrap(), 100);
    assert_eq!(totals(store).await, (0, 0));
}

async fn the_oldest_is_the_first_that_was_stored(store: &Store) {
    let oldest = async || store.sizes().await.unwrap().oldest;
    for serial in [1, 2, 3] {
        put(store, message(serial)).await;
    }
    assert_eq!(oldest().await, Some(after(1)));
    store.acknowledge(key(2)).await.unwrap();
    assert_eq!(oldest().await, Some(after(1)));
    store.acknowledge(key(1)).await.unwrap();
    assert_eq!(oldest().await, Some(after(3)));
    let far = message(3).expires.saturating_add(Duration::from_secs(1));
    store.purge(far).await.unwrap();
    assert_eq!(oldest().await, None);
}
