//! What a daemon remembers of the messages that wait, so that it does not read all of them each time.

use futures::FutureExt;
use testbed::{Postgres, eventually, postgres::connect, tests};
use tokio::join;
use tokio_postgres::Client;
use unified_push::{
    model::message::{Hold, MessageKey, Urgency},
    store::{Caps, Claim, Enqueued, NewMessage, PostgresSettings, Store},
};

use crate::{
    PostgresTest,
    messages::*,
    plans::WAITING,
    replicas::{PATIENCE, two},
};

pub fn tests() -> Vec<PostgresTest> {
    tests![
        &most_claims_read_little,
        what_is_more_urgent_goes_first_all_the_same,
        what_is_gone_meanwhile_is_passed_over,
        what_has_moved_meanwhile_is_left_alone,
        whoever_lost_its_claim_knows_nothing,
        what_is_put_back_goes_first_again,
        a_second_look_leaves_the_claims_of_the_first,
        most_messages_are_stored_without_a_count,
        what_others_store_and_send_counts,
        acknowledgements_disturb_no_count,
    ]
}

const STREET: &str = "romeo@example.org/street";

/// Never held.
fn free(serial: u32) -> NewMessage {
    NewMessage {
        hold: Hold::Free,
        ..message(serial)
    }
}

/// As a daemon does once the phone has a message.
async fn next(store: &Store, done: u32, secs: u64) -> Claim {
    let (done, owner, lease) = (Some(key(done)), full(ORCHARD), after(secs + 10));
    let claim = store.claim(done, &owner, after(secs), lease);
    claim.await.unwrap().1
}

fn number(claim: Claim) -> MessageKey {
    match claim {
        Claim::Message(claimed) => claimed.key,
        other => panic!("{other:?}"),
    }
}

async fn put_five(store: &Store) {
    for serial in 1..=5 {
        put(store, free(serial)).await;
    }
}

/// How many wait for the one phone.
const MESSAGES: u32 = 100;

/// Has all of them wait, beside many for others; how many rows were read for that.
async fn fill(url: &str) -> (Client, i64) {
    let store = Store::connect(&url.parse().unwrap(), PostgresSettings::default())
        .await
        .unwrap();
    let client = connect(url).await.unwrap();
    put(&store, free(0)).await;
    client.batch_execute(WAITING).await.unwrap();
    let analyze = "VACUUM ANALYZE unified_push_queue";
    client.batch_execute(analyze).await.unwrap();
    for serial in 1..MESSAGES {
        put(&store, free(serial)).await;
    }
    // What a connection has read is counted at its end at the latest.
    drop(store);
    let read = read_until(&client, "n_tup_ins > 20000 + 99").await;
    (client, read)
}

async fn most_claims_read_little(postgres: &Postgres) {
    let url = postgres.database().await;
    let (client, before) = fill(&url).await;
    let store = Store::connect(&url.parse().unwrap(), PostgresSettings::default())
        .await
        .unwrap();
    assert_eq!(number(claim(&store, ORCHARD, after(1)).await), key(0));
    for serial in 1..MESSAGES {
        assert_eq!(number(next(&store, serial - 1, 1).await), key(serial));
    }
    assert_eq!(next(&store, MESSAGES - 1, 1).await, Claim::Empty);
    drop(store);
    let read = read_until(&client, "n_tup_del = 100").await - before;
    let each = read / i64::from(MESSAGES);
    println!("{each} rows are read for a message that is sent");
    assert!(each < 10, "half of what waits would be 50");
}

/// How many rows were read when the table's counters say so.
async fn read_until(client: &Client, condition: &str) -> i64 {
    let sql = format!(
        "SELECT idx_tup_fetch FROM pg_stat_user_tables
         WHERE relname = 'unified_push_queue' AND {condition}"
    );
    eventually("the reads are counted", PATIENCE, async || {
        let row = client.query_opt(&sql, &[]).await.unwrap()?;
        Some(row.get(0))
    })
    .await
}

async fn what_is_more_urgent_goes_first_all_the_same(postgres: &Postgres) {
    let [store, other] = two(postgres).await;
    put_five(&store).await;
    assert_eq!(number(claim(&store, ORCHARD, after(1)).await), key(1));
    assert_eq!(number(next(&store, 1, 2).await), key(2));
    let urgent = NewMessage {
        urgency: Urgency::High,
        ..free(6)
    };
    assert!(urgent.urgency > free(3).urgency);
    put(&other, urgent).await;
    for (done, then) in [(2, 6), (6, 3), (3, 4), (4, 5)] {
        assert_eq!(number(next(&store, done, 3).await), key(then));
    }
}

async fn what_is_gone_meanwhile_is_passed_over(postgres: &Postgres) {
    let [store, other] = two(postgres).await;
    put_five(&store).await;
    assert_eq!(number(claim(&store, ORCHARD, after(1)).await), key(1));
    assert!(other.cancel(id(2)).await.unwrap());
    assert!(other.cancel(id(3)).await.unwrap());
    assert_eq!(number(next(&store, 1, 2).await), key(4));
    assert!(other.acknowledge(key(5)).await.unwrap());
    assert_eq!(next(&store, 4, 3).await, Claim::Empty);
}

async fn what_has_moved_meanwhile_is_left_alone(postgres: &Postgres) {
    let [store, other] = two(postgres).await;
    put_five(&store).await;
    assert_eq!(number(claim(&store, ORCHARD, after(1)).await), key(1));
    let mut moved = registration(STREET, 1);
    moved.issued = after(1);
    assert_eq!(other.redirect(&moved).await.unwrap(), 5);
    assert_eq!(next(&store, 1, 2).await, Claim::Empty);
}

async fn whoever_lost_its_claim_knows_nothing(postgres: &Postgres) {
    let [store, other] = two(postgres).await;
    put_five(&store).await;
    assert_eq!(number(claim(&store, ORCHARD, after(1)).await), key(1));
    // Its lease of a minute is over.
    assert_eq!(number(claim(&other, ORCHARD, after(62)).await), key(1));
    assert_eq!(number(next(&other, 1, 63).await), key(2));
    let late = next(&store, 1, 64).await;
    assert!(matches!(late, Claim::Later(_)), "{late:?}");
}

async fn what_is_put_back_goes_first_again(postgres: &Postgres) {
    let [store, _other] = two(postgres).await;
    put_five(&store).await;
    let owner = full(ORCHARD);
    let put_back = async |hold| {
        let put_back = store.put_back(key(1), 1, &owner, hold);
        assert_eq!(put_back.await.unwrap().as_ref(), Some(&owner));
    };
    assert_eq!(number(claim(&store, ORCHARD, after(1)).await), key(1));
    put_back(Hold::Until(after(99))).await;
    assert_eq!(number(claim(&store, ORCHARD, after(1)).await), key(2));
    // The phone is known to have lost it.
    put_back(Hold::Free).await;
    assert_eq!(number(next(&store, 2, 1).await), key(1));
}

async fn a_second_look_leaves_the_claims_of_the_first(postgres: &Postgres) {
    let [store, other] = two(postgres).await;
    put_five(&store).await;
    let street = |serial| NewMessage {
        hold: Hold::Free,
        ..message_to(STREET, 1, serial)
    };
    put(&store, street(6)).await;
    put(&store, street(7)).await;
    let known = claim(&store, STREET, after(8)).await;
    assert_eq!(number(known), key(6));
    assert!(other.cancel(id(7)).await.unwrap());
    // Whether this one was made, nobody was told.
    let asked = claim(&store, ORCHARD, after(9)).now_or_never();
    assert_eq!(asked, None);
    // While the first is asked for, the others come together.
    let (done, phone, lease) = (Some(key(6)), full(STREET), after(60));
    let (first, orchard, street) = join!(
        claim(&store, "romeo@example.org", after(9)),
        claim(&store, ORCHARD, after(9)),
        store.claim(done, &phone, after(9), lease),
    );
    assert_eq!(first, Claim::Empty);
    assert_eq!(number(orchard), key(1));
    assert_eq!(street.unwrap(), (true, Claim::Empty));
    let late = claim(&other, ORCHARD, after(10)).await;
    assert!(matches!(late, Claim::Later(_)), "{late:?}");
}

async fn most_messages_are_stored_without_a_count(postgres: &Postgres) {
    let (_client, read) = fill(&postgres.database().await).await;
    let each = read / i64::from(MESSAGES);
    println!("{each} rows are read for a message that is stored");
    assert!(each < 10, "half of what waits would be 50");
}

async fn what_others_store_and_send_counts(postgres: &Postgres) {
    let [store, other] = two(postgres).await;
    let caps = Caps {
        per_account: 4,
        ..AMPLE
    };
    let enqueue = async |store: &Store, serial| {
        let answer = store.enqueue(free(serial), caps, after(serial.into()));
        answer.await.unwrap()
    };
    assert_eq!(enqueue(&store, 1).await, STORED);
    assert_eq!(enqueue(&other, 2).await, STORED);
    assert_eq!(enqueue(&store, 3).await, STORED);
    assert_eq!(enqueue(&other, 4).await, STORED);
    assert_eq!(enqueue(&store, 5).await, Enqueued::AccountFull);
    for serial in 1..4 {
        assert!(other.acknowledge(key(serial)).await.unwrap());
    }
    // Refusals are remembered for a second.
    let later = |serial: u32| NewMessage {
        urgency: Urgency::High,
        ..free(serial)
    };
    for serial in 6..9 {
        let answer = store.enqueue(later(serial), caps, after(10)).await;
        assert_eq!(answer.unwrap(), STORED);
    }
    let answer = other.enqueue(later(9), caps, after(10)).await;
    assert_eq!(answer.unwrap(), Enqueued::AccountFull);
}

async fn acknowledgements_disturb_no_count(postgres: &Postgres) {
    let [store, other] = two(postgres).await;
    // Each is close to it, so that all are counted.
    let caps = Caps {
        per_account: 2,
        ..AMPLE
    };
    for serial in 1..100 {
        let news = NewMessage {
            topic: topic("news"),
            ..free(serial)
        };
        let (stored, acknowledged) = join!(
            store.enqueue(news, caps, after(serial.into())),
            other.acknowledge(key(serial - 1)),
        );
        let stored = stored.unwrap();
        assert!(stored == STORED || stored == REPLACED, "{stored:?}");
        acknowledged.unwrap();
    }
}
