//! What the XMPP link and the use cases say to each other: plain data, so that neither side knows
//! how the other works.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use base64_simd::{Out, URL_SAFE_NO_PAD};
use jid::Jid;
use tokio::time::Instant;

use crate::model::{
    payload::Payload, registration::Registration, time::Timestamp, vapid::PublicKey,
};

/// The id of a stanza with a push. It is unguessable, and only who made it knows what its bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StanzaId([u8; Self::LENGTH]);

impl StanzaId {
    /// How many bytes it says.
    pub const BYTES: usize = 38;

    /// How many characters of base64 that is.
    const LENGTH: usize = (Self::BYTES * 4).div_ceil(3);

    pub fn encode(bytes: &[u8; Self::BYTES]) -> Self {
        let mut text = [0; Self::LENGTH];
        let _ = URL_SAFE_NO_PAD.encode(bytes, Out::from_slice(&mut text));
        Self(text)
    }

    /// What a text says; None when it is none of these.
    pub fn decode(text: &str) -> Option<[u8; Self::BYTES]> {
        let mut bytes = [0; Self::BYTES];
        if text.len() != Self::LENGTH {
            return None;
        }
        let out = Out::from_slice(&mut bytes);
        URL_SAFE_NO_PAD.decode(text.as_bytes(), out).ok()?;
        Some(bytes)
    }

    /// As it is sent.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).expect("base64 is ASCII")
    }
}

/// A push to send as an IQ of type set.
#[derive(Debug)]
pub struct PushStanza {
    pub id: StanzaId,
    pub registration: Arc<Registration>,
    /// Who is asked in place of the JID that registered.
    pub stand_in: Option<Jid>,
    pub payload: Payload,
    /// After this nobody waits for it any more.
    pub deadline: Instant,
    pub sent: Sent,
}

impl PushStanza {
    /// Who is asked.
    pub fn to(&self) -> &Jid {
        self.stand_in.as_ref().unwrap_or(&self.registration.owner)
    }
}

/// Whether a stanza goes out: whoever waits for its answer and the link each hold one, and the first
/// of the two decides.
#[derive(Clone, Debug, Default)]
pub struct Sent(Arc<AtomicBool>);

impl Sent {
    /// The link starts to send it; false when it was withdrawn.
    pub fn take(&self) -> bool {
        self.decide()
    }

    /// It shall not go out any more. False when it is too late for that.
    pub fn withdraw(&self) -> bool {
        self.decide()
    }

    fn decide(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
}

/// What came back for a push. Replicas pass it on to each other under these names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// A result: the phone handed the push to the app.
    Acknowledged,
    /// `item-not-found` or `feature-not-implemented`: the phone knows this registration no longer.
    NotRegistered,
    /// The server says that this resource, or the account, is not there now.
    Unreachable,
    /// Any other error, well-formed or not: not now.
    Failed,
}

/// A register or unregister stanza, its attributes as they came.
#[derive(Debug)]
pub struct RegisterRequest {
    pub from: Jid,
    pub id: String,
    pub application: Option<String>,
    pub instance: Option<String>,
    pub wish: Wish,
}

/// What a phone wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// An endpoint. It takes only messages signed by the key `vapid`, if there is one.
    Register { vapid: Option<String> },
    /// To have none any more.
    Unregister,
}

/// The answer to a [`RegisterRequest`].
#[derive(Debug)]
pub struct RegisterReply {
    pub to: Jid,
    pub id: String,
    pub result: Result<Granted, RegisterError>,
}

#[derive(Debug)]
pub enum Granted {
    Registered(Registered),
    /// There is no such registration any more, whether or not there was one.
    Unregistered,
}

pub struct Registered {
    pub endpoint: String,
    pub expires: Timestamp,
    /// The key that has to sign what comes in.
    pub vapid: Option<PublicKey>,
}

/// What this server does beyond the protocol of others, as phones are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    /// Endpoints that take the messages of one key only.
    pub vapid: bool,
}

/// The endpoint is a bearer secret.
impl std::fmt::Debug for Registered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Registered(until {})", self.expires)
    }
}

/// Why a registration was refused. Conditions and texts are mod_unified_push's where it has them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// auth/forbidden
    #[error("the sender is not in the ACL")]
    Forbidden,
    /// modify/bad-request
    #[error("{0}")]
    BadRequest(String),
    /// modify/not-acceptable
    #[error("the endpoint for this address would exceed 1000 bytes; use a shorter resource")]
    EndpointTooLong,
    /// wait/resource-constraint
    #[error("this account already has as many registrations as this server allows")]
    TooMany,
    /// wait/resource-constraint
    #[error("this account registers too often; try again later")]
    RateLimited,
    /// wait/resource-constraint
    #[error("too many phones are registering at once; try again later")]
    Busy,
    /// wait/internal-server-error
    #[error("the registration could not be stored; try again later")]
    StoreFailed,
    /// wait/internal-server-error
    #[error("the server's clock is wrong; try again later")]
    ClockWrong,
}

/// What the link hands up. It is called from the link's own task, so every method returns at once.
pub trait Inbound: Send + Sync + 'static {
    /// Stanzas can be sent from now on.
    fn link_up(&self);

    /// The connection is gone, with whatever was waiting for an answer on it.
    fn link_down(&self);

    /// An answer to an IQ that is not the link's own. False when this id was never sent to this
    /// sender. It is written as it came, and may be no JID at all.
    fn answer(&self, from: &str, id: &str, answer: Answer) -> bool;

    /// Directed presence.
    fn presence(&self, from: &Jid, available: bool);

    /// Takes a registration, or the end of one; its reply goes out on the link's reply channel. A refusal that needs
    /// no work comes back at once.
    fn register(&self, request: RegisterRequest) -> Result<(), RegisterReply>;
}
