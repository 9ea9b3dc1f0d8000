//! Use case: one push, from an opened request to its outcome.

use crate::{
    message::{Topic, Ttl, Urgency},
    payload::Payload,
};

/// A push as an application server sent it.
#[derive(Debug)]
pub struct Message {
    /// None: the sender named none.
    pub ttl: Option<Ttl>,
    pub topic: Option<Topic>,
    pub urgency: Urgency,
    pub payload: Payload,
}

/// How a push ended. `http::answer` gives each its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The phone has it. `ttl` is the accepted time to live.
    Acknowledged { ttl: Ttl, message: MessageId },
    /// A requested TTL of 0: it went out, and no answer came in time.
    SentUnanswered { message: MessageId },
    /// No answer in time.
    Unanswered,
    /// The phone, or its server, answered with a temporary error.
    DeviceError,
    /// No link to the XMPP server, or it was lost while waiting.
    LinkDown,
    /// The phone said that it knows this registration no longer; it is revoked now.
    Revoked,
    /// The token fails authentication: made up, or of a secret that is gone.
    BadToken,
    /// The token is authentic, but expired or revoked.
    Gone,
    /// Over `limits.endpoint_rate`.
    RateLimited,
    /// Over `limits.in_flight_memory`.
    MemoryFull,
    /// The link's queue is full.
    LinkBusy,
    /// The store could not be read or written.
    StoreFailed,
}

/// The opaque id of a message resource (RFC 8030 §5): random, tells nothing about the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageId([u8; 16]);

impl MessageId {
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl std::fmt::Display for MessageId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

/// Takes pushes in. Cheap to clone.
#[derive(Clone)]
pub struct Delivery {}

impl Delivery {
    /// Opens the token, sends the push to the phone and waits for its acknowledgement.
    pub async fn push(&self, _token: &str, _message: Message) -> Outcome {
        todo!()
    }
}
