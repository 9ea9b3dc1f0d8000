//! Several daemons on one database.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
};

use futures::future::join_all;
use jid::Jid;
use testbed::{Postgres, eventually, postgres::connect, tests};
use tokio::time::timeout;
use unified_push::{
    link::Answer,
    model::{
        message::{Hold, MessageKey},
        registration::Registration,
    },
    store::{Caps, Claim, Enqueued, NewMessage, News, PostgresSettings, Store},
};

use crate::{
    PostgresTest,
    messages::{
        AMPLE, BALCONY, NOW, ORCHARD, STORED, after, claim, claimed, full, key, message,
        message_to, put, registration, size,
    },
    registrations::{found, romeo, scope},
};

pub const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

pub fn tests() -> Vec<PostgresTest> {
    tests![
        &what_one_stores_the_other_sends,
        no_two_send_to_one_phone_at_a_time,
        a_claim_of_a_daemon_that_is_gone_is_retaken,
        a_claim_that_was_not_answered_is_retaken,
        news_reach_the_others_only,
        news_may_be_of_the_longest_jid,
        the_others_hear_where_messages_have_moved,
        the_others_hear_what_is_released,
        answers_are_passed_on,
        a_revocation_reaches_the_others,
        purges_at_once_delete_each_message_once,
        the_cap_on_bytes_is_of_what_all_have_stored,
    ]
}

pub async fn two(postgres: &Postgres) -> [Store; 2] {
    let url = postgres.database().await.parse().unwrap();
    let connect = async || {
        Store::connect(&url, PostgresSettings::default())
            .await
            .unwrap()
    };
    [connect().await, connect().await]
}

pub async fn news(store: &Store) -> News {
    timeout(PATIENCE, store.news()).await.expect("news")
}

/// Of which each has begun to listen.
async fn two_that_listen(postgres: &Postgres) -> [Store; 2] {
    let stores = two(postgres).await;
    for store in &stores {
        assert_eq!(news(store).await, News::Rescan);
    }
    stores
}

async fn what_one_stores_the_other_sends(postgres: &Postgres) {
    let [a, b] = two(postgres).await;
    put(&a, message(1)).await;
    let Claim::Message(claimed) = claim(&b, ORCHARD, after(1)).await else {
        panic!("nothing is there")
    };
    assert_eq!(claimed.payload, message(1).payload);
    assert!(matches!(
        claim(&a, ORCHARD, after(1)).await,
        Claim::Later(_)
    ));
    assert!(a.acknowledge(claimed.key).await.unwrap());
    assert_eq!(claim(&b, ORCHARD, after(1)).await, Claim::Empty);
}

async fn a_claim_of_a_daemon_that_is_gone_is_retaken(postgres: &Postgres) {
    let [gone, here] = two_that_listen(postgres).await;
    put(&gone, message(1)).await;
    let claimed = claim(&gone, ORCHARD, after(1)).await;
    assert!(matches!(claimed, Claim::Message(_)), "{claimed:?}");
    // Long after it may have lost a connection, and still within the lease.
    let later = async || claim(&here, ORCHARD, after(11)).await;
    // Its lock comes with its connection.
    for _ in 0..3 {
        assert!(matches!(later().await, Claim::Later(_)), "it lives");
    }
    drop(gone);
    let again = eventually("the claim is retaken", PATIENCE, async || {
        match later().await {
            Claim::Message(claimed) => Some(claimed),
            _ => None,
        }
    })
    .await;
    assert_eq!((again.key, again.attempt), (key(1), 2));
}

async fn a_claim_that_was_not_answered_is_retaken(postgres: &Postgres) {
    let url = postgres.database().await;
    let store = Store::connect(&url.parse().unwrap(), PostgresSettings::default())
        .await
        .unwrap();
    put(&store, message(1)).await;
    let client = connect(&url).await.unwrap();
    let lock = "BEGIN; LOCK TABLE unified_push_queue IN EXCLUSIVE MODE";
    client.batch_execute(lock).await.unwrap();
    let asking = tokio::spawn({
        let store = store.clone();
        async move { claim(&store, ORCHARD, after(1)).await }
    });
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted";
    eventually("the claim waits", PATIENCE, async || {
        let waiting: i64 = client.query_one(waits, &[]).await.unwrap().get(0);
        (waiting > 0).then_some(())
    })
    .await;
    asking.abort();
    assert!(asking.await.is_err());
    client.batch_execute("COMMIT").await.unwrap();
    let Claim::Message(again) = claim(&store, ORCHARD, after(1)).await else {
        panic!("it waits for the end of the lease")
    };
    // The first one was made.
    assert_eq!(again.attempt, 2);
    assert!(matches!(
        claim(&store, ORCHARD, after(1)).await,
        Claim::Later(_)
    ));
}

async fn no_two_send_to_one_phone_at_a_time(postgres: &Postgres) {
    const MESSAGES: u32 = 240;
    let stores = two(postgres).await;
    let phone = |number: u32| format!("romeo@example.org/{}", number % 3);
    for serial in 0..MESSAGES {
        put(
            &stores[serial as usize % 2],
            message_to(&phone(serial), 1, serial),
        )
        .await;
    }
    let busy: Arc<Mutex<HashSet<String>>> = Arc::default();
    let sent: Arc<Mutex<HashSet<MessageKey>>> = Arc::default();
    let workers = (0..12).map(|number| {
        let (store, phone) = (stores[number as usize % 2].clone(), phone(number / 2));
        let (busy, sent) = (busy.clone(), sent.clone());
        tokio::spawn(async move {
            loop {
                match claim(&store, &phone, after(1000)).await {
                    Claim::Message(claimed) => {
                        assert!(busy.lock().unwrap().insert(phone.clone()), "two at once");
                        assert!(sent.lock().unwrap().insert(claimed.key), "sent twice");
                        assert_eq!(claimed.attempt, 1);
                        tokio::task::yield_now().await;
                        busy.lock().unwrap().remove(&phone);
                        assert!(store.acknowledge(claimed.key).await.unwrap());
                    }
                    Claim::Later(_) => {}
                    Claim::Empty => return,
                }
            }
        })
    });
    for worker in join_all(workers).await {
        worker.unwrap();
    }
    assert_eq!(sent.lock().unwrap().len(), MESSAGES as usize);
}

async fn news_reach_the_others_only(postgres: &Postgres) {
    let [a, b] = two_that_listen(postgres).await;
    let stored = NewMessage {
        try_at: after(70),
        ..message(1)
    };
    put(&a, stored).await;
    let owner = full(ORCHARD);
    let try_at = after(70);
    assert_eq!(news(&b).await, News::Stored { owner, try_at });
    assert!(b.acknowledge(key(1)).await.unwrap());
    assert_eq!(claim(&b, ORCHARD, after(2)).await, Claim::Empty);
    // Had it heard itself, that would have come first.
    let owner = full(ORCHARD);
    assert_eq!(news(&a).await, News::Drained { owner });
    put(&a, message_to("juliet@example.org/x", 1, 2)).await;
    assert!(matches!(news(&b).await, News::Stored { owner, .. } if owner != full(ORCHARD)));
}

/// The replica to which the phone has registered may be gone before it has sent them.
async fn the_others_hear_where_messages_have_moved(postgres: &Postgres) {
    let [a, b] = two_that_listen(postgres).await;
    put(&a, message(1)).await;
    assert!(matches!(news(&b).await, News::Stored { owner, .. } if owner == full(ORCHARD)));
    let street = "romeo@example.org/street";
    let moved = Registration {
        issued: after(50),
        ..registration(street, 1)
    };
    assert_eq!(a.redirect(&moved).await.unwrap(), 1);
    assert_eq!(claim(&b, ORCHARD, after(60)).await, Claim::Empty);
    // b has nothing left to try, and the message waits.
    let heard = timeout(std::time::Duration::from_secs(3), b.news()).await;
    assert!(
        matches!(&heard, Ok(News::Stored { owner, .. }) if *owner == full(street)),
        "{heard:?}"
    );
}

/// They wait for the end of the hold otherwise.
async fn the_others_hear_what_is_released(postgres: &Postgres) {
    let [a, b] = two_that_listen(postgres).await;
    let held = NewMessage {
        sent: Some(after(1)),
        hold: Hold::Until(after(900)),
        ..message(1)
    };
    put(&a, held).await;
    let phone = full(ORCHARD);
    assert!(matches!(news(&b).await, News::Stored { owner, .. } if owner == phone));
    let later = claim(&b, ORCHARD, after(2)).await;
    assert_eq!(later, Claim::Later(after(900)));
    a.release(&phone, after(2)..=after(9)).await.unwrap();
    a.release(&phone, after(1)..=after(9)).await.unwrap();
    assert!(matches!(news(&b).await, News::Stored { owner, .. } if owner == phone));
    assert_eq!(claimed(&b, ORCHARD, after(3)).await.key, key(1));
    a.release(&phone, after(1)..=after(9)).await.unwrap();
    put(&a, message_to(BALCONY, 1, 2)).await;
    assert!(
        matches!(news(&b).await, News::Stored { owner, .. } if owner == full(BALCONY)),
        "nothing was held"
    );
}

async fn news_may_be_of_the_longest_jid(postgres: &Postgres) {
    let [a, b] = two_that_listen(postgres).await;
    // In JSON it is longer still; the other one, no index could make shorter.
    let quotes = "\"\\".repeat(511);
    let letters = (0..1023_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 27) as u8 % 26 + b'a');
    let letters = String::from_utf8(letters.collect()).unwrap();
    for (serial, jid) in [
        (1, format!("{letters}@example.org/{quotes}")),
        (2, format!("{letters}@example.org/{letters}")),
        (3, format!("{letters}@example.org/{}", &letters[1..])),
    ] {
        put(&a, message_to(&jid, 1, serial)).await;
        let owner = full(&jid);
        assert!(matches!(news(&b).await, News::Stored { owner: told, .. } if told == owner));
        assert!(matches!(claim(&b, &jid, after(9)).await, Claim::Message(_)));
    }
    assert_eq!(a.owners_waiting(None, 10).await.unwrap().len(), 3);
}

async fn answers_are_passed_on(postgres: &Postgres) {
    let [a, b] = two_that_listen(postgres).await;
    let from: Jid = full(ORCHARD);
    for answer in [
        Answer::Acknowledged,
        Answer::NotRegistered,
        Answer::Unreachable,
        Answer::Failed,
    ] {
        let id = "the id of a stanza".to_owned();
        a.pass_on(&from, &id, answer).await.unwrap();
        let from = from.clone();
        assert_eq!(news(&b).await, News::Answer { from, id, answer });
    }
    // None of ours is so long.
    let long = "x".repeat(9000);
    a.pass_on(&from, &long, Answer::Failed).await.unwrap();
    a.pass_on(&from, "short", Answer::Failed).await.unwrap();
    assert!(matches!(news(&b).await, News::Answer { id, .. } if id == "short"));
}

async fn a_revocation_reaches_the_others(postgres: &Postgres) {
    let [a, b] = two(postgres).await;
    a.register(romeo(1, NOW)).await.unwrap();
    put(&a, message(1)).await;
    assert_eq!(a.revocations_if_changed().await.unwrap(), None);
    let revoked = b.revoke(scope(), after(1), NOW).await.unwrap();
    assert_eq!(revoked.dropped, 1);
    let known = Some(vec![revoked.revocation]);
    assert_eq!(a.revocations_if_changed().await.unwrap(), known);
    assert_eq!(a.revocations_if_changed().await.unwrap(), None);
    assert_eq!(b.revocations_if_changed().await.unwrap(), None, "its own");
    assert!(found(&a, 1).await.revoked);
    b.forget_key(romeo(1, NOW).key).await.unwrap();
    assert!(a.revocations_if_changed().await.unwrap().is_some());
}

async fn purges_at_once_delete_each_message_once(postgres: &Postgres) {
    let stores = two(postgres).await;
    let all = (0..1200).map(|serial| {
        let owner = format!("user{}@example.org/x", serial % 20);
        (serial, message_to(&owner, 1, serial))
    });
    for (serial, message) in all {
        put(&stores[serial as usize % 2], message).await;
    }
    put(&stores[0], message(1_000_000)).await;
    let late = after(200_000);
    let [a, b] = &stores;
    let (a, b) = tokio::join!(a.purge(late), b.purge(late));
    assert_eq!(a.unwrap() + b.unwrap(), 1200);
    assert_eq!(stores[0].sizes().await.unwrap().queued, 1);
}

async fn the_cap_on_bytes_is_of_what_all_have_stored(postgres: &Postgres) {
    let [a, b] = two(postgres).await;
    let bytes = size(&message(1));
    let caps = Caps { bytes, ..AMPLE };
    assert_eq!(a.enqueue(message(1), caps, NOW).await.unwrap(), STORED);
    b.sizes().await.unwrap();
    let full = b.enqueue(message(2), caps, NOW).await.unwrap();
    assert_eq!(full, Enqueued::Full);
    assert!(a.acknowledge(key(1)).await.unwrap());
    eventually("there is room", PATIENCE, async || {
        b.sizes().await.unwrap();
        let stored = b.enqueue(message(2), caps, NOW).await.unwrap();
        (stored == STORED).then_some(())
    })
    .await;
}
