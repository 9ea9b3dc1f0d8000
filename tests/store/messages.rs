//! Messages to make, and what is asked of a store about them again and again.

use std::time::Duration;

use bytes::Bytes;
use jid::{BareJid, Jid};
use unified_push::{
    model::{
        message::{Hold, MessageId, MessageKey, Topic, Urgency},
        payload::Payload,
        registration::{Digest, Registration},
        time::Timestamp,
    },
    store::{Caps, Claim, Claimed, Enqueued, MESSAGE_OVERHEAD, NewMessage, Store},
};

pub const NOW: Timestamp = Timestamp::from_secs(1_764_000_000);

/// A resource as Bind 2 (XEP-0386) names it.
pub const ORCHARD: &str = "romeo@example.org/Conversations~Nq/+Bk7zW0Tc";
pub const BALCONY: &str = "juliet@example.org/balcony";

/// More than any test needs.
pub const AMPLE: Caps = Caps {
    per_endpoint: 10_000,
    per_account: 10_000,
    bytes: 1 << 30,
};

pub const STORED: Enqueued = Enqueued::Stored {
    replaced: 0,
    evicted: 0,
    redirected: None,
};
pub const REPLACED: Enqueued = Enqueued::Stored {
    replaced: 1,
    evicted: 0,
    redirected: None,
};

pub fn evicted(evicted: u32) -> Enqueued {
    Enqueued::Stored {
        replaced: 0,
        evicted,
        redirected: None,
    }
}

pub fn after(secs: u64) -> Timestamp {
    NOW.saturating_add(Duration::from_secs(secs))
}

/// Milliseconds.
pub fn before(now: Timestamp, ago: u64) -> Timestamp {
    Timestamp::from_millis(now.as_millis() - ago)
}

/// Milliseconds.
pub fn ahead(now: Timestamp, millis: u64) -> Timestamp {
    now.saturating_add(Duration::from_millis(millis))
}

pub fn full(jid: &str) -> Jid {
    Jid::new(jid).unwrap()
}

pub fn bare(jid: &str) -> BareJid {
    BareJid::new(jid).unwrap()
}

pub fn topic(text: &str) -> Option<Topic> {
    Some(Topic::parse(text.as_bytes()).unwrap())
}

pub fn key(serial: u32) -> MessageKey {
    let mut key = [0xaa; 16];
    key[..4].copy_from_slice(&serial.to_be_bytes());
    MessageKey::from_bytes(key)
}

pub fn id(serial: u32) -> MessageId {
    let mut id = [0xbb; 16];
    id[..4].copy_from_slice(&serial.to_be_bytes());
    MessageId::from_bytes(id)
}

pub fn payload(len: usize) -> Payload {
    Payload::new(Bytes::from(vec![b'x'; len])).unwrap()
}

/// `app` makes the application; registered at [`NOW`], for a week.
pub fn registration(jid: &str, app: u8) -> Registration {
    Registration {
        owner: full(jid),
        application: Digest::from_bytes([app; 32]),
        instance: Digest::from_bytes([9; 32]),
        issued: NOW,
        expires: after(7 * 86_400),
    }
}

/// `serial` makes the key, the id and the payload, and how many seconds after [`NOW`] it arrived.
pub fn message_to(jid: &str, app: u8, serial: u32) -> NewMessage {
    let arrived = after(serial.into());
    NewMessage {
        key: key(serial),
        id: id(serial),
        registration: registration(jid, app),
        topic: None,
        urgency: Urgency::Normal,
        payload: Payload::new(Bytes::from(format!("message {serial:06}"))).unwrap(),
        arrived,
        expires: arrived.saturating_add(Duration::from_secs(86_400)),
        sent: None,
        hold: Hold::Until(NOW),
        try_at: NOW,
    }
}

/// To [`ORCHARD`]'s first app.
pub fn message(serial: u32) -> NewMessage {
    message_to(ORCHARD, 1, serial)
}

/// What a message counts for of the cap on bytes.
pub fn size(message: &NewMessage) -> u64 {
    MESSAGE_OVERHEAD + message.payload.len() as u64
}

pub async fn put(store: &Store, message: NewMessage) {
    let arrived = message.arrived;
    let stored = store.enqueue(message, AMPLE, arrived).await.unwrap();
    assert_eq!(stored, STORED);
}

/// Claims for a minute.
pub async fn claim(store: &Store, jid: &str, now: Timestamp) -> Claim {
    let lease = now.saturating_add(Duration::from_secs(60));
    let claimed = store.claim(None, &full(jid), now, lease).await;
    claimed.unwrap().1
}

pub async fn claimed(store: &Store, jid: &str, now: Timestamp) -> Claimed {
    match claim(store, jid, now).await {
        Claim::Message(claimed) => claimed,
        other => panic!("{jid}: {other:?}"),
    }
}

/// Takes everything out, in the order in which it is sent.
pub async fn drain(store: &Store, jid: &str, now: Timestamp) -> Vec<MessageKey> {
    let mut keys = Vec::new();
    while let Claim::Message(claimed) = claim(store, jid, now).await {
        assert!(store.acknowledge(claimed.key).await.unwrap());
        keys.push(claimed.key);
    }
    assert_eq!(claim(store, jid, now).await, Claim::Empty);
    keys
}

pub fn keys(serials: &[u32]) -> Vec<MessageKey> {
    serials.iter().copied().map(key).collect()
}

/// How many messages there are, and what they count for.
pub async fn totals(store: &Store) -> (u64, u64) {
    let sizes = store.sizes().await.unwrap();
    (sizes.queued, sizes.queued_bytes)
}
