//! How often PostgreSQL is waited for.

use futures::future::join_all;
use testbed::{Postgres, relay::Relay, tests};
use unified_push::store::{Caps, Claim, Enqueued, NewMessage, PostgresSettings, Store};

use crate::{
    PostgresTest,
    messages::{AMPLE, NOW, STORED, after, full, message_to},
    registrations::{found, romeo},
};

/// As many senders as the daemon asks its store to serve at a time.
const SENDERS: u32 = 512;

pub fn tests() -> Vec<PostgresTest> {
    tests![
        &many_messages_share_their_round_trips,
        an_endpoint_that_was_opened_lately_costs_no_round_trip,
        a_refusal_that_was_made_lately_costs_no_round_trip,
    ]
}

async fn through_relay(postgres: &Postgres) -> (Store, Relay) {
    let relay = Relay::start(postgres.port());
    let url = relay.url(&postgres.database().await).parse().unwrap();
    let store = Store::connect(&url, PostgresSettings::default())
        .await
        .unwrap();
    (store, relay)
}

fn owner(sender: u32) -> String {
    format!("romeo{sender}@example.org/orchard")
}

fn message(round: u32, sender: u32) -> NewMessage {
    message_to(&owner(sender), 1, round * SENDERS + sender)
}

async fn many_messages_share_their_round_trips(postgres: &Postgres) {
    let (store, relay) = through_relay(postgres).await;
    // In the first round, statements are prepared.
    let mut before = 0.0;
    for round in 0..2 {
        before = relay.trips();
        let all = (0..SENDERS).map(|sender| store.enqueue(message(round, sender), AMPLE, NOW));
        for answer in join_all(all).await {
            assert_eq!(answer.unwrap(), STORED);
        }
    }
    let each = (relay.trips() - before) / f64::from(SENDERS);
    assert!(
        each <= 0.1,
        "{each} round trips for a message that is stored"
    );

    let owners: Vec<_> = (0..SENDERS).map(|sender| full(&owner(sender))).collect();
    let mut done = vec![None; owners.len()];
    for _ in 0..2 {
        before = relay.trips();
        let all = owners.iter().zip(&done);
        let all = all.map(|(owner, done)| store.claim(*done, owner, NOW, after(30)));
        let claims = join_all(all).await;
        for (done, claim) in done.iter_mut().zip(claims) {
            let (was_there, Claim::Message(claimed)) = claim.unwrap() else {
                panic!("nothing to claim")
            };
            assert_eq!(was_there, done.is_some());
            *done = Some(claimed.key);
        }
    }
    let each = (relay.trips() - before) / f64::from(SENDERS);
    assert!(each <= 0.1, "{each} round trips for a message that is sent");
}

async fn an_endpoint_that_was_opened_lately_costs_no_round_trip(postgres: &Postgres) {
    let (store, relay) = through_relay(postgres).await;
    store.register(romeo(1, NOW)).await.unwrap();
    let before = relay.trips();
    found(&store, 1).await;
    let first = relay.trips();
    assert!(first > before);
    for _ in 0..100 {
        found(&store, 1).await;
    }
    // One more at most, if this took longer than it is remembered.
    assert!(relay.trips() <= first + 1.0);
}

async fn a_refusal_that_was_made_lately_costs_no_round_trip(postgres: &Postgres) {
    let (store, relay) = through_relay(postgres).await;
    let none = Caps {
        per_account: 0,
        ..AMPLE
    };
    let refused = async |count| {
        for serial in 0..count {
            let answer = store.enqueue(message(1, serial % 8), none, NOW).await;
            assert_eq!(answer.unwrap(), Enqueued::AccountFull);
        }
    };
    refused(8).await;
    let before = relay.trips();
    refused(1000).await;
    assert_eq!(relay.trips(), before);
}
