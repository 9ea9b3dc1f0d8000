//! What is said about the queue: messages that were accepted and that no phone has acknowledged
//! yet.
//!
//! A row is the truth: whoever delivers claims it first, by a lease that ends by itself. What a
//! phone left unanswered is *held*: its server may still deliver it, and each time it is sent again
//! it may arrive twice.

use jid::{BareJid, Jid};
use serde::{Deserialize, Serialize};

use crate::{
    link::Answer,
    model::{
        message::{Hold, MessageId, MessageKey, Topic, Urgency},
        payload::Payload,
        registration::{Registration, RegistrationKey},
        time::Timestamp,
    },
};

/// Bytes that a message is counted for beside its payload.
pub const MESSAGE_OVERHEAD: u64 = 512;

/// A message to keep.
#[derive(Clone, Debug)]
pub struct NewMessage {
    pub key: MessageKey,
    pub id: MessageId,
    /// Its `owner` is where the message goes, unless the store knows a newer one.
    pub registration: Registration,
    pub topic: Option<Topic>,
    pub urgency: Urgency,
    pub payload: Payload,
    /// Of two messages with one topic, the one that arrived later stays.
    pub arrived: Timestamp,
    pub expires: Timestamp,
    /// When it was sent last, without an answer; None: it never was.
    pub sent: Option<Timestamp>,
    /// Until [`Store::release`](super::Store::release) says otherwise, if it goes to its `owner`.
    pub hold: Hold,
    /// For the other replicas: when its phone is to be tried, as far as this one knows.
    pub try_at: Timestamp,
}

impl NewMessage {
    /// Its hold when it goes to this full JID: no other one than it was sent to may yet get it.
    pub fn hold_for(&self, owner: &Jid) -> Hold {
        match *owner == self.registration.owner {
            true => self.hold,
            false => Hold::Free,
        }
    }
}

/// A push with a topic reached its phone past the store. Another replica may have stored an earlier one
/// with this topic, which it replaces all the same (RFC 8030 §5.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overtaken {
    pub endpoint: RegistrationKey,
    pub topic: Topic,
    /// When the push arrived.
    pub before: Timestamp,
}

/// How much may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Beyond it, the oldest message of the lowest urgency gives way.
    pub per_endpoint: u32,
    /// Of one bare JID; what has expired counts until it is deleted.
    pub per_account: u32,
    /// All together, each message with [`MESSAGE_OVERHEAD`].
    pub bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Enqueued {
    /// It is on the disk.
    Stored {
        /// At most one of the two is not zero.
        replaced: u32,
        evicted: u32,
        /// Where it goes instead, if the phone has registered anew meanwhile.
        redirected: Option<Jid>,
    },
    /// A message that arrived later, with the same topic, is there already.
    Superseded,
    /// The endpoint holds as many messages as it may, and each is more urgent.
    Outranked,
    /// Over [`Caps::per_account`].
    AccountFull,
    /// Over [`Caps::bytes`].
    Full,
    /// Its registration was revoked meanwhile.
    Revoked,
}

/// What there is to send to a phone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    Message(Claimed),
    /// What waits is held, or another replica is at it; ask again then.
    Later(Timestamp),
    Empty,
}

/// A message that nobody else sends until the lease has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    pub key: MessageKey,
    pub registration: Registration,
    pub payload: Payload,
    /// This attempt's number, from 1.
    pub attempt: u16,
    pub expires: Timestamp,
}

/// What one account has waiting.
#[derive(Debug, PartialEq, Eq)]
pub struct Waiting {
    pub owner: BareJid,
    pub messages: u32,
    /// Of the payloads.
    pub bytes: u64,
    pub oldest: Timestamp,
}

/// What another replica, or the loss of its messages, has to say. The names are those of the JSON
/// in which it travels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum News {
    /// News may have been missed: look at [`Store::owners_waiting`](super::Store::owners_waiting).
    #[serde(skip)]
    Rescan,
    /// A message for this full JID was stored; its phone is to be tried then.
    Stored {
        #[serde(with = "text")]
        owner: Jid,
        try_at: Timestamp,
    },
    /// Messages for these were stored some seconds ago, and may have been heard of since.
    #[serde(skip)]
    Found { owners: Vec<Jid> },
    /// Nothing waits for this full JID any more.
    Drained {
        #[serde(with = "text")]
        owner: Jid,
    },
    /// A phone's answer to the stanza of this id; see [`Store::pass_on`](super::Store::pass_on).
    Answer {
        #[serde(with = "text")]
        from: Jid,
        id: String,
        answer: Answer,
    },
}

/// Why what other replicas say does not arrive. Their messages are found some seconds later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// The server answers, and a notification to oneself does not come back.
    Pooled,
    /// The server takes no notification.
    QueueFull,
}

impl Silence {
    pub fn reason(self) -> &'static str {
        match self {
            Self::Pooled => "do not arrive, as behind a connection pooler in transaction mode",
            Self::QueueFull => "are not taken: PostgreSQL's queue of notifications is full",
        }
    }
}

/// A JID as its text.
mod text {
    use jid::Jid;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(jid: &Jid, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(jid.as_str())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Jid, D::Error> {
        Jid::new(&String::deserialize(from)?).map_err(D::Error::custom)
    }
}
