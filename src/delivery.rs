//! One push, from its token to its outcome, and on to its phone.
//!
//! Delivery knows neither HTTP nor XML: messages come from [`http`](crate::http), stanzas go to the
//! link as plain data. It is made of four parts, none of which knows another: `attempts` sends
//! stanzas and recognises their answers, `queue` is the store, `phones` tells who is tried when,
//! `push` lets a push in and decides what follows its first attempt. `forward`, `answers` and `link` hold
//! nothing; they move messages from one part to the next.
//!
//! # A push whose phone is there
//!
//! [`Delivery::push`] opens the token, which gives the registration, and admits the push under its
//! endpoint's rate and the memory for all. Nothing waits for this phone, so the push goes out at
//! once: `attempts` mints the stanza's id, notes who waits for its answer, and puts the stanza into
//! the link's queue. 30 ms later the link hands up a result from the phone. [`Delivery::answer`]
//! verifies that the id was minted for a stanza to this very JID, and wakes the waiter; `push`
//! returns [`Outcome::Acknowledged`]. The store was never asked.
//!
//! # A push that waits
//!
//! This time the phone is in a tunnel. After the time that a sender may be kept waiting `attempts`
//! has no answer, and the stanza has gone out. So the phone may yet get it: the message is to be
//! *held*, and the phone is *quiet* from now on. `phones` is told first, so that no later push
//! overtakes; then `queue` stores the message, in a task that goes on if the sender hangs up, and
//! the sender gets [`Outcome::Stored`]. Later pushes to this phone are stored at once.
//!
//! A quarter of an hour later, or as soon as the phone says something, `phones` gives it to
//! `forward`. That claims one message after the other from the queue, and sends each as a new
//! attempt of the same message. The phone acknowledges; the message is deleted with the claim of
//! the next one; the queue is empty, and `phones` forgets the phone.
//!
//! An answer may come when nobody waits for it any more, or on the link of another replica. Its id
//! still tells which message it is about: `answers` deletes that one from the queue, or frees it.

mod answers;
mod attempts;
mod forward;
mod link;
mod phones;
mod push;
mod queue;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use futures::future::Either;
use jid::Jid;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until, timeout_at},
};
use tokio_util::task::TaskTracker;

// For fuzzing.
#[doc(hidden)]
pub use self::attempts::{AttemptId, Replica, StanzaIds};
use self::{
    attempts::Attempts,
    phones::Phones,
    push::{Begun, admission::Admission},
    queue::Queue,
};
use crate::{
    link::{Answer, PushStanza},
    metrics::{LinkState, Metrics, SignatureResult},
    model::{
        acl::Acl,
        message::{MessageId, Topic, Ttl, Urgency},
        payload::Payload,
        random::Random,
        rate::Rate,
        registration::Registration,
        secret::Secret,
        sync::Current,
        time::Clock,
        vapid::{Signature, Unauthorized},
    },
    store::{Caps, Store, StoreError},
    token::{Endpoint, OpenError, Tokens},
};

/// A push as an application server sent it.
#[derive(Debug)]
pub struct Message {
    /// None: the sender named none.
    pub ttl: Option<Ttl>,
    /// Topic and urgency are about messages that wait.
    pub topic: Option<Topic>,
    pub urgency: Urgency,
    pub payload: Payload,
    /// Who has signed it, if anybody.
    pub signature: Signature,
}

/// How a push ended. `http::answer` gives each its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The phone has it. `ttl` is the accepted time to live.
    Acknowledged { ttl: Ttl, message: MessageId },
    /// A requested TTL of 0: it went out, and no answer came in time.
    SentUnanswered { message: MessageId },
    /// On the disk until the phone has it, or its time is over.
    Stored { ttl: Ttl, message: MessageId },
    /// A requested TTL of 0: it did not go out in time.
    Unanswered,
    /// A requested TTL of 0: the phone, or its server, answered with a temporary error.
    PhoneError,
    /// A requested TTL of 0: no link to the XMPP server, or it was lost while waiting.
    LinkDown,
    /// A requested TTL of 0: the link's queue is full.
    LinkBusy,
    /// The phone said that it knows this registration no longer; it is revoked now.
    Revoked,
    /// The token fails authentication: made up, or of a secret that is gone.
    BadToken,
    /// The token is authentic, but expired or revoked.
    Gone,
    /// The endpoint takes only what the key that it was registered with has signed.
    Unauthorized(Unauthorized),
    /// Over `limits.endpoint_rate`.
    RateLimited,
    /// Over `limits.in_flight_memory`.
    MemoryFull,
    /// Over `delivery.max_queued_per_jid`.
    AccountFull,
    /// Over `delivery.max_queued_bytes`, or every message of the endpoint is more urgent.
    QueueFull,
    /// The store could not be read or written.
    StoreFailed,
    /// The system's clock is certainly wrong, and nothing tells what time it is.
    ClockWrong,
}

#[derive(Clone)]
pub struct Settings {
    /// How long a sender waits for the phone.
    pub ack_timeout: Duration,
    /// For a sender that names no TTL.
    pub default_ttl: Ttl,
    pub max_ttl: Ttl,
    /// Whatever a sender asks for, if its message is so urgent at least.
    pub min_ttl: Ttl,
    pub min_ttl_urgency: Urgency,
    /// Per registration.
    pub endpoint_rate: Rate,
    /// Bytes of pushes that wait for an answer, all together.
    pub in_flight_memory: usize,
    /// What may wait in the store.
    pub caps: Caps,
}

/// What delivery works with.
pub struct Dependencies {
    pub tokens: Tokens,
    pub store: Store,
    pub acl: Arc<Current<Acl>>,
    pub pushes: mpsc::Sender<PushStanza>,
    pub link: watch::Receiver<LinkState>,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    pub metrics: Arc<Metrics>,
}

/// Shared by all who push, and by the link. [`recover`](Self::recover) comes first; then
/// [`forward`](Self::forward) and [`follow`](Self::follow) are to run.
pub struct Delivery {
    settings: Current<Settings>,
    tokens: Tokens,
    acl: Arc<Current<Acl>>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    metrics: Arc<Metrics>,
    admission: Admission,
    attempts: Attempts,
    queue: Queue,
    phones: Phones,
    tasks: TaskTracker,
}

/// The store failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store failed")]
pub struct StoreFailed;

impl Delivery {
    /// `secret` and `previous` sign and verify the ids of stanzas.
    pub fn new(
        settings: Settings,
        secret: &Secret,
        previous: &[Secret],
        with: Dependencies,
    ) -> Self {
        let (random, metrics) = (with.random, with.metrics);
        let memory = settings.in_flight_memory;
        let ids = StanzaIds::new(secret, previous);
        Self {
            admission: Admission::new(settings.endpoint_rate, memory, &metrics),
            attempts: Attempts::new(ids, &*random, with.pushes, with.link, &metrics),
            queue: Queue::new(with.store, metrics.clone()),
            phones: Phones::new(random.clone(), &metrics),
            tasks: TaskTracker::new(),
            settings: Current::new(settings),
            tokens: with.tokens,
            acl: with.acl,
            clock: with.clock,
            random,
            metrics,
        }
    }

    /// Works by other settings from now on. What is in flight goes on by those it began with.
    pub fn reconfigure(&self, settings: Settings) {
        self.admission
            .reconfigure(settings.endpoint_rate, settings.in_flight_memory);
        self.settings.set(settings);
    }

    /// Whether a token is authentic, dead or alive. Nothing is looked up.
    pub fn is_authentic(&self, token: &str) -> bool {
        self.tokens.is_authentic(token)
    }

    /// Shows to whoever knows the secret that this daemon knows it.
    pub fn prove(&self, challenge: &str) -> String {
        self.tokens.prove(challenge)
    }

    /// Opens the token and sends the push to the phone, or keeps it for the phone.
    #[expect(
        clippy::manual_async_fn,
        reason = "an `async fn` keeps room for its arguments twice, for every push in flight"
    )]
    pub fn push(
        self: &Arc<Self>,
        token: &str,
        message: Message,
    ) -> impl Future<Output = Outcome> + Send {
        async move {
            if !self.clock.has_begun() {
                return match self.tokens.is_authentic(token) {
                    true => Outcome::ClockWrong,
                    false => Outcome::BadToken,
                };
            }
            let arrival = Instant::now();
            let deadline = arrival + self.settings.read().ack_timeout;
            let endpoint = match timeout_at(deadline, self.tokens.open(token)).await {
                Ok(Ok(endpoint)) => endpoint,
                Ok(Err(OpenError::Forged)) => return Outcome::BadToken,
                Ok(Err(OpenError::Dead)) => return Outcome::Gone,
                Ok(Err(OpenError::Store(_))) | Err(_) => return Outcome::StoreFailed,
            };
            if let Err(refusal) = self.authorize(&endpoint, message.signature) {
                return Outcome::Unauthorized(refusal);
            }
            let outcome = match self.begin(endpoint.registration, message, arrival, deadline) {
                Begun::Ended(outcome) => return outcome,
                Begun::Kept(outcome) => Either::Left(outcome),
                Begun::Sent(push, attempt) => Either::Right(self.settle(token, push, attempt)),
            };
            outcome.await
        }
    }

    /// Counts a signature, and refuses one that the endpoint's key has not made.
    fn authorize(&self, endpoint: &Endpoint, signature: Signature) -> Result<(), Unauthorized> {
        let permitted = signature.permits(endpoint.signer);
        let label = match (signature, permitted) {
            (Signature::Unread, _) => return Ok(()),
            (Signature::Absent, _) => SignatureResult::Absent,
            (Signature::Bad(_), _) => SignatureResult::Bad,
            (Signature::Good(_), Ok(())) => SignatureResult::Good,
            (Signature::Good(_), Err(_)) => SignatureResult::OtherKey,
        };
        self.metrics.signatures.inc(label);
        permitted
    }

    /// Whether a message waits still (RFC 8030 §6).
    pub async fn is_pending(&self, id: MessageId) -> Result<bool, StoreFailed> {
        Ok(self.queue.is_pending(id, self.clock.now()).await?)
    }

    /// Its sender takes a message back. False: it does not wait.
    pub async fn cancel(&self, id: MessageId) -> Result<bool, StoreFailed> {
        // Looked at first: whoever makes up ids must not fill the queue of what is to be written.
        Ok(self.is_pending(id).await? && self.queue.cancel(id).await?)
    }

    /// An answer from the link; see [`Inbound::answer`](crate::link::Inbound::answer).
    pub fn answer(self: &Arc<Self>, from: &str, id: &str, answer: Answer) -> bool {
        let Some(attempt) = self.attempts.verify(from, id) else {
            return false;
        };
        if !self.answer_in_flight(from, attempt, answer) {
            self.answer_late(from, Some(id), attempt, answer);
        }
        true
    }

    /// An answer that came over another replica's link.
    fn answer_passed_on(self: &Arc<Self>, from: &Jid, id: &str, answer: Answer) {
        let from = from.as_str();
        if let Some(attempt) = self.attempts.verify(from, id)
            && self.attempts.made(&attempt)
            && !self.answer_in_flight(from, attempt, answer)
        {
            self.answer_late(from, None, attempt, answer);
        }
    }

    /// Directed presence of a phone, or of anybody else.
    pub fn presence(&self, from: &Jid, available: bool) {
        if !available {
            self.phones.unavailable(from);
        } else if self.acl.read().permits(from) {
            if self.queue.is_shared() {
                self.phones.may_have_messages(from);
            }
            self.phones
                .available(from, Instant::now(), self.clock.now());
        }
    }

    /// A stanza came from this phone itself.
    pub fn phone_spoke(&self, from: &Jid) {
        self.phones.spoke(from.as_str(), Instant::now());
    }

    /// The phone has registered, perhaps from another resource than before: what waits for this
    /// application goes there.
    pub async fn registered(&self, registration: &Registration) {
        let owner = &registration.owner;
        // Other replicas store what this one has not heard of yet.
        if !self.queue.is_shared() && !self.phones.concern_account_of(owner) {
            return;
        }
        if self.queue.redirect(registration).await > 0 {
            let now = Instant::now();
            self.phones.message_waits(owner, now);
            self.phones.registered(owner, now);
        }
    }

    /// From now on nothing is sent. Whoever waits for a phone is told as soon as the push is stored;
    /// the answers of phones are heard until [`finish`](Self::finish).
    pub fn stop(&self) {
        self.queue.stop();
        self.attempts.stop();
    }

    /// Waits until everything that was begun is written, and until no answer is in time any more.
    pub async fn finish(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Forgets rate limits that have recovered.
    pub fn forget_idle(&self) {
        self.admission.forget_idle();
    }

    /// A daemon that stops hears answers for as long as they are in time.
    fn hear_until(&self, deadline: Instant) {
        if self.attempts.is_stopping() {
            self.tasks.spawn(sleep_until(deadline));
        }
    }
}

impl From<StoreError> for StoreFailed {
    fn from(_: StoreError) -> Self {
        Self
    }
}
