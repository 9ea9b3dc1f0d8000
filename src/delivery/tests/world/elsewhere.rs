//! What another replica does.

use super::*;
use crate::{
    model::message::{Hold, MessageId, MessageKey, Topic},
    store::{Claim, Claimed, Enqueued, NewMessage},
};

/// Of a claim that another replica makes.
pub const LEASE: Duration = Duration::from_secs(6);

impl World {
    /// With the token of the phone's app, on a store that is not this replica's alone.
    pub async fn shared() -> (Self, String) {
        let state_dir = tempfile::tempdir().unwrap();
        let world = Self::on(state_dir, START, Backend::Paseto, settings(), true).await;
        let token = world.endpoint().await;
        (world, token)
    }

    /// Another replica stores a push, and says so when [`hear_of_it`](Self::hear_of_it) is called.
    pub async fn store_elsewhere(&self, token: &str, topic: &str) {
        let endpoint = self.tokens.open(token).await.unwrap();
        let now = self.clock.now();
        let message = NewMessage {
            key: MessageKey::from_bytes([1; 16]),
            id: MessageId::from_bytes([1; 16]),
            registration: Registration::clone(&endpoint.registration),
            topic: Some(Topic::parse(topic.as_bytes()).unwrap()),
            urgency: Urgency::Normal,
            payload: Payload::new(Bytes::from_static(b"elsewhere")).unwrap(),
            arrived: now,
            expires: now.saturating_add(WEEK),
            sent: None,
            hold: Hold::Free,
            try_at: now,
        };
        let stored = self.store.enqueue(message, settings().caps, now).await;
        assert!(matches!(stored, Ok(Enqueued::Stored { .. })));
        self.clock.advance(Duration::from_millis(1));
    }

    pub fn hear_of_it(&self) {
        let phones = &self.delivery.phones;
        phones.message_waits(&jid(PHONE), tokio::time::Instant::now());
    }

    /// Another replica is about to send what waits for the phone.
    pub async fn claim_elsewhere(&self) -> Claimed {
        let now = self.clock.now();
        let (phone, lease) = (jid(PHONE), now.saturating_add(LEASE));
        match self.store.claim(None, &phone, now, lease).await {
            Ok((_, Claim::Message(claimed))) => claimed,
            other => panic!("{other:?}"),
        }
    }

    pub async fn acknowledge_elsewhere(&self, claimed: &Claimed) {
        assert!(self.store.acknowledge(claimed.key).await.unwrap());
    }

    /// It had no answer.
    pub async fn hold_elsewhere(&self, claimed: &Claimed) {
        let hold = Hold::Until(self.clock.now().saturating_add(phones::HOLD));
        let (phone, store) = (jid(PHONE), &self.store);
        let put_back = store.put_back(claimed.key, claimed.attempt, &phone, hold);
        assert_eq!(put_back.await.unwrap(), Some(phone.clone()));
    }
}
