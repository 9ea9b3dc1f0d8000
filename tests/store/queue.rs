//! The messages that wait for their phones: who gets which, and what becomes of it.

use std::time::Duration;

use testbed::tests;
use unified_push::{
    model::{
        message::{Hold, Urgency},
        payload::Head,
        registration::Registration,
        revocation::Scope,
    },
    store::{Claim, Enqueued, NewMessage, Overtaken, Store, Waiting},
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
        only_the_latest_attempt_puts_back,
        a_lease_and_a_hold_do_not_touch_each_other,
        what_has_expired_is_not_sent,
        an_acknowledged_message_is_gone,
        only_who_was_asked_last_is_known,
        what_waits_follows_the_phone,
        who_waits_is_told_in_pages,
        a_message_is_cancelled_by_its_id,
        an_account_is_listed_and_dropped,
        what_was_revoked_is_dropped,
        what_was_revoked_meanwhile_is_not_stored,
        what_is_revoked_is_not_what_was_registered_again,
        a_message_goes_where_its_phone_registered_last,
        what_was_never_held_goes_before_what_was,
        what_has_expired_is_purged_and_counted,
        the_oldest_is_the_first_that_was_stored,
        what_a_push_overtook_is_deleted,
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

    store.release(&full(BALCONY), NOW).await.unwrap();
    store.release(&full(ORCHARD), after(3)).await.unwrap();
    let later = claim(store, ORCHARD, after(99)).await;
    assert_eq!(later, Claim::Later(after(100)));
    assert_eq!(claimed(store, ORCHARD, after(100)).await.key, key(2));
    store.acknowledge(key(2)).await.unwrap();
    store.release(&full(ORCHARD), after(1)).await.unwrap();
    assert_eq!(claimed(store, ORCHARD, after(101)).await.key, key(1));
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

async fn a_lease_and_a_hold_do_not_touch_each_other(store: &Store) {
    put(store, message(1)).await;
    claimed(store, ORCHARD, after(1)).await;
    store.release(&full(ORCHARD), NOW).await.unwrap();
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

async fn what_was_revoked_is_dropped(store: &Store) {
    let revoke = async |scope, at| store.revoke(scope, at, after(9999)).await.unwrap().dropped;
    put(store, message(1)).await;
    put(store, message(2)).await;
    put(store, message_to(ORCHARD, 2, 3)).await;
    put(store, message_to(BALCONY, 1, 4)).await;
    let mut later = message(5);
    later.registration.issued = after(1);
    put(store, later).await;
    let one = Scope::Registration(registration(ORCHARD, 1).key());
    assert_eq!(revoke(one.clone(), after(0)).await, 2);
    assert_eq!(revoke(one, after(0)).await, 0);
    let all = Scope::Owner(bare("romeo@example.org"));
    assert_eq!(revoke(all, after(1)).await, 2);
    assert_eq!(totals(store).await, (1, size(&message(4))));
    assert_eq!(drain(store, BALCONY, after(5)).await, keys(&[4]));
}

async fn what_is_revoked_is_not_what_was_registered_again(store: &Store) {
    store
        .register(crate::registrations::romeo(1, NOW))
        .await
        .unwrap();
    // The same URL, for which a push is in flight since before.
    store
        .register(crate::registrations::romeo(1, after(1)))
        .await
        .unwrap();
    let scope = Scope::Registration(registration(ORCHARD, 1).key());
    store.revoke(scope, NOW, after(1000)).await.unwrap();
    let answer = store.enqueue(message(1), AMPLE, after(2)).await.unwrap();
    assert!(matches!(answer, Enqueued::Stored { .. }), "{answer:?}");
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

async fn what_was_revoked_meanwhile_is_not_stored(store: &Store) {
    let scope = Scope::Registration(registration(ORCHARD, 1).key());
    store.revoke(scope, NOW, after(9999)).await.unwrap();
    let answer = store.enqueue(message(1), AMPLE, NOW).await.unwrap();
    assert_eq!(answer, Enqueued::Revoked);
    put(store, message_to(ORCHARD, 2, 2)).await;
    let mut renewed = message(3);
    renewed.registration.issued = after(1);
    put(store, renewed).await;
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
