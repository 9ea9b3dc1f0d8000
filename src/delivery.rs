//! Use case: one push, from its token to its outcome.
//!
//! It knows neither HTTP nor XML: requests come from `http`, stanzas go to the link as plain data.

mod in_flight;
mod phones;
mod stanza_id;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use jid::Jid;
use tokio::{
    sync::{Semaphore, mpsc, mpsc::error::TrySendError, watch},
    time::{Instant, timeout_at},
};
use tokio_util::task::TaskTracker;

use self::{
    in_flight::{InFlight, Verdict, Waiting},
    phones::Phones,
    stanza_id::{Attempt, StanzaIds},
};
use crate::{
    acl::Acl,
    clock::Clock,
    health::LinkState,
    limits::{Limiter, Rate},
    link::{Answer, PushStanza, Sent},
    message::{MessageId, Topic, Ttl, Urgency},
    metrics::Metrics,
    payload::Payload,
    random::{Random, random_array},
    registration::Registration,
    revocation::Scope,
    secret::Secret,
    token::{OpenError, Tokens},
};

/// Bytes that a push in flight is counted for beside its payload: its stanza's envelope, the
/// registration and the table's entry.
const OVERHEAD: usize = 1024;

/// A push as an application server sent it.
#[derive(Debug)]
pub struct Message {
    /// None: the sender named none.
    pub ttl: Option<Ttl>,
    /// Topic and urgency are checked. They mean nothing yet: they are about messages that wait, and
    /// none does.
    pub topic: Option<Topic>,
    pub urgency: Urgency,
    pub payload: Payload,
}

/// How a push ended. `http::answer` gives each its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The phone has it. `ttl` is the accepted time to live.
    Acknowledged { ttl: Ttl, message: MessageId },
    /// On the disk until the phone has it, or its time is over. `ttl` is for how long.
    Stored { ttl: Ttl, message: MessageId },
    /// A requested TTL of 0: it went out, and no answer came in time.
    SentUnanswered { message: MessageId },
    /// No answer in time.
    Unanswered,
    /// The phone, or its server, answered with a temporary error.
    PhoneError,
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
    /// Over `delivery.max_queued_per_jid`.
    AccountFull,
    /// Over `delivery.max_queued_bytes`, or every message of the endpoint is more urgent.
    QueueFull,
}

/// What the store should have said is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store failed")]
pub struct StoreFailed;

pub struct Settings {
    /// How long a sender waits for the phone.
    pub ack_timeout: Duration,
    /// For a sender that names no TTL.
    pub default_ttl: Ttl,
    pub max_ttl: Ttl,
    /// Per registration.
    pub endpoint_rate: Rate,
    /// Bytes of pushes that wait for an answer, all together.
    pub in_flight_memory: usize,
}

/// What delivery works with.
pub struct Dependencies {
    pub tokens: Tokens,
    pub acl: Acl,
    pub pushes: mpsc::Sender<PushStanza>,
    pub link: watch::Receiver<LinkState>,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    pub metrics: Arc<Metrics>,
}

pub struct Delivery {
    settings: Settings,
    with: Dependencies,
    replica: [u8; 4],
    stanza_ids: StanzaIds,
    endpoint_rate: Limiter,
    memory: Semaphore,
    in_flight: InFlight,
    phones: Phones,
    revocations: TaskTracker,
}

impl Delivery {
    /// `secret` and `previous` sign and verify the ids of stanzas.
    pub fn new(
        settings: Settings,
        secret: &Secret,
        previous: &[Secret],
        with: Dependencies,
    ) -> Self {
        Self {
            replica: random_array(&*with.random),
            stanza_ids: StanzaIds::new(secret, previous),
            endpoint_rate: Limiter::new(settings.endpoint_rate),
            memory: Semaphore::new(settings.in_flight_memory.min(Semaphore::MAX_PERMITS)),
            in_flight: InFlight::new(with.metrics.in_flight.clone()),
            phones: Phones::new(with.metrics.phones_available.clone()),
            revocations: TaskTracker::new(),
            settings,
            with,
        }
    }

    /// Opens the token, sends the push to the phone and waits for its acknowledgement.
    pub async fn push(&self, token: &str, message: Message) -> Outcome {
        let arrival = Instant::now();
        let deadline = arrival + self.settings.ack_timeout;
        let registration = match timeout_at(deadline, self.with.tokens.open(token)).await {
            Ok(Ok(registration)) => registration,
            Ok(Err(OpenError::Forged)) => return Outcome::BadToken,
            Ok(Err(OpenError::Dead)) => return Outcome::Gone,
            Ok(Err(OpenError::Store(_))) | Err(_) => return Outcome::StoreFailed,
        };
        if !self.endpoint_rate.admit(&registration.key()) {
            return Outcome::RateLimited;
        }
        let size = message.payload.len() + OVERHEAD;
        let Ok(_memory) = self
            .memory
            .try_acquire_many(u32::try_from(size).unwrap_or(u32::MAX))
        else {
            return Outcome::MemoryFull;
        };
        let _bytes = GaugeShare::new(&self.with.metrics.in_flight_bytes, size);
        if *self.with.link.borrow() != LinkState::Up {
            return Outcome::LinkDown;
        }
        let asked = match self.send(registration, message, deadline) {
            Ok(asked) => asked,
            Err(outcome) => return outcome,
        };
        match self.wait(asked, arrival).await {
            // The phone has registered again meanwhile, and the URL lives on.
            Outcome::Revoked if self.with.tokens.open(token).await.is_ok() => Outcome::PhoneError,
            outcome => outcome,
        }
    }

    /// Whether a message waits for its phone still.
    pub async fn is_pending(&self, _id: MessageId) -> Result<bool, StoreFailed> {
        Err(StoreFailed)
    }

    /// Takes a message back, if it waits still.
    pub async fn cancel(&self, _id: MessageId) -> Result<(), StoreFailed> {
        Err(StoreFailed)
    }

    /// An answer from the link; see [`Inbound::answer`](crate::link::Inbound::answer).
    pub fn answer(self: &Arc<Self>, from: &Jid, id: &str, answer: Answer) -> bool {
        let attempt = self.stanza_ids.verify(from, id);
        let Some(entry) = attempt.and_then(|attempt| self.in_flight.take(&attempt.message)) else {
            return false;
        };
        match answer {
            Answer::Acknowledged => entry.settle(Verdict::Acknowledged),
            Answer::Failed => entry.settle(Verdict::PhoneError),
            Answer::NotRegistered => {
                let this = Arc::clone(self);
                self.revocations.spawn(async move {
                    let verdict = this.revoke(&entry.registration).await;
                    entry.settle(verdict);
                });
            }
        }
        true
    }

    /// Directed presence of a phone, or of anybody else.
    pub fn presence(&self, from: &Jid, available: bool) {
        if !available {
            self.phones.unavailable(from);
        } else if self.with.acl.permits(from) {
            self.phones.available(from);
        }
    }

    /// The link is gone: whoever waits is told at once.
    pub fn link_down(&self) {
        self.in_flight.link_lost();
        self.phones.forget_all();
    }

    /// Forgets rate limits that have recovered.
    pub fn forget_idle(&self) {
        self.endpoint_rate.forget_idle();
    }

    /// Waits for the revocations that are being written.
    pub async fn finish(&self) {
        self.revocations.close();
        self.revocations.wait().await;
    }

    /// Apart from the wait, so that nothing of it is kept while waiting.
    fn send(
        &self,
        registration: Registration,
        message: Message,
        deadline: Instant,
    ) -> Result<Asked, Outcome> {
        let now = self.with.clock.now();
        let requested = message.ttl.unwrap_or(self.settings.default_ttl);
        let lifetime = Ttl::from_secs(now.until(registration.expires).as_secs());
        let accepted = requested.min(self.settings.max_ttl).min(lifetime);
        let id = MessageId::from_bytes(random_array(&*self.with.random));

        let key = random_array(&*self.with.random);
        let attempt = Attempt {
            replica: self.replica,
            message: key,
            attempt: 1,
        };
        let sent = Sent::default();
        let stanza = PushStanza {
            id: self.stanza_ids.mint(&registration.owner, &attempt),
            to: registration.owner.clone(),
            application: registration.application,
            instance: registration.instance,
            payload: message.payload,
            deadline,
            sent: sent.clone(),
        };
        let waiting = self.in_flight.insert(key, registration);
        match self.with.pushes.try_send(stanza) {
            Ok(()) => Ok(Asked {
                waiting,
                sent,
                deadline,
                requested,
                accepted,
                id,
            }),
            Err(TrySendError::Full(_)) => {
                waiting.withdraw();
                Err(Outcome::LinkBusy)
            }
            Err(TrySendError::Closed(_)) => {
                waiting.withdraw();
                Err(Outcome::LinkDown)
            }
        }
    }

    /// Waits for the phone's answer to what was sent; `arrival` dates its delay.
    async fn wait(&self, mut asked: Asked, arrival: Instant) -> Outcome {
        let message = asked.id;
        let verdict = timeout_at(asked.deadline, &mut asked.waiting.verdict).await;
        match verdict.ok().and_then(Result::ok) {
            Some(Verdict::Acknowledged) => {
                let seconds = arrival.elapsed().as_secs_f64();
                self.with.metrics.acknowledgement_seconds.observe(seconds);
                Outcome::Acknowledged {
                    ttl: asked.accepted,
                    message,
                }
            }
            Some(Verdict::PhoneError) => Outcome::PhoneError,
            Some(Verdict::Revoked) => Outcome::Revoked,
            Some(Verdict::RevocationFailed) => Outcome::StoreFailed,
            Some(Verdict::LinkLost) => Outcome::LinkDown,
            // A refusal whose revocation is still being written is an answer.
            None if asked.requested == Ttl::ZERO
                && asked.sent.get()
                && asked.waiting.is_unanswered() =>
            {
                Outcome::SentUnanswered { message }
            }
            None => Outcome::Unanswered,
        }
    }

    /// Kills what was issued up to the registration that the phone was asked about. What it has
    /// registered since then, from whichever resource, lives.
    async fn revoke(&self, registration: &Registration) -> Verdict {
        let scope = Scope::Registration(registration.key());
        let revoked = self
            .with
            .tokens
            .revoke(scope, registration.issued, registration.expires);
        match revoked.await {
            Ok(_) => {
                self.with.metrics.revocations.inc();
                Verdict::Revoked
            }
            Err(error) => {
                tracing::debug!(%error, "a revocation could not be stored; the endpoint stays valid");
                Verdict::RevocationFailed
            }
        }
    }
}

/// A push that the link has taken.
struct Asked {
    waiting: Waiting,
    sent: Sent,
    deadline: Instant,
    requested: Ttl,
    accepted: Ttl,
    id: MessageId,
}

/// A gauge's share that is given back when dropped.
struct GaugeShare<'a> {
    gauge: &'a prometheus::IntGauge,
    share: i64,
}

impl<'a> GaugeShare<'a> {
    fn new(gauge: &'a prometheus::IntGauge, share: usize) -> Self {
        let share = i64::try_from(share).unwrap_or(i64::MAX);
        gauge.add(share);
        Self { gauge, share }
    }
}

impl Drop for GaugeShare<'_> {
    fn drop(&mut self) {
        self.gauge.sub(self.share);
    }
}
