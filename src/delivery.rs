//! Use case: one push, from its token to its outcome, and on to its phone.
//!
//! A push goes out at once if nothing waits for its phone. Unless the phone acknowledges it in time
//! it is stored, and sent again until the phone has it or its time is over. It knows neither HTTP
//! nor XML: requests come from `http`, stanzas go to the link as plain data.

mod announced;
mod answers;
mod attempt;
mod backlog;
mod forward;
mod in_flight;
mod keep;
mod stanza_id;
#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use prometheus::IntGauge;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, watch},
    time::{Instant, timeout_at},
};
use tokio_util::task::TaskTracker;

use self::{
    announced::Announced,
    attempt::Offered,
    backlog::Backlog,
    in_flight::{InFlight, Verdict},
    keep::Tried,
    stanza_id::StanzaIds,
};
use crate::{
    link::PushStanza,
    metrics::{LinkState, Metrics, QueueEvent},
    model::{
        acl::Acl,
        message::{MessageId, MessageKey, Topic, Ttl, Urgency},
        payload::Payload,
        random::{Random, random_array},
        rate::{Limiter, Rate},
        registration::Registration,
        secret::Secret,
        sync::Current,
        time::{Clock, Timestamp},
    },
    store::{Caps, Store, StoreError},
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
    /// Topic and urgency are about messages that wait.
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
}

#[derive(Clone)]
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

pub struct Delivery {
    settings: Current<Settings>,
    with: Dependencies,
    replica: [u8; 4],
    stanza_ids: StanzaIds,
    endpoint_rate: Limiter,
    memory: Current<Arc<Semaphore>>,
    in_flight: InFlight,
    announced: Announced,
    backlog: Backlog,
    /// What waits is to be read from the store once more.
    rescan: Notify,
    /// So many at a time ask the store to write.
    writes: Semaphore,
    /// So many answers are worked on that nobody waits for.
    late: Arc<Semaphore>,
    tasks: TaskTracker,
    stopping: AtomicBool,
}

/// The store failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store failed")]
pub struct StoreFailed;

/// A push on its way.
struct Push {
    key: MessageKey,
    id: MessageId,
    registration: Arc<Registration>,
    /// As accepted.
    ttl: Ttl,
    topic: Option<Topic>,
    urgency: Urgency,
    payload: Payload,
    arrived: Timestamp,
    /// The same; dates the delay of the answer.
    arrival: Instant,
    /// Its sender waits for the phone until then.
    deadline: Instant,
    _share: Share,
}

/// What became of a push at once.
enum Begun<Kept> {
    Ended(Outcome),
    Kept(Kept),
    Sent(Box<Push>, Offered),
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
            memory: Current::new(memory(&settings)),
            in_flight: InFlight::new(with.metrics.in_flight.clone()),
            announced: Announced::new(with.metrics.phones_available.clone()),
            backlog: Backlog::new(with.random.clone(), with.metrics.phones_waiting.clone()),
            rescan: Notify::new(),
            writes: Semaphore::new(keep::WRITES),
            late: Arc::new(Semaphore::new(answers::LATE)),
            tasks: TaskTracker::new(),
            stopping: AtomicBool::new(false),
            settings: Current::new(settings),
            with,
        }
    }

    /// Works by other settings from now on. What is in flight goes on by those it began with; it
    /// counts for the memory that it began with, too, if that becomes another.
    pub fn reconfigure(&self, settings: Settings) {
        self.endpoint_rate.set_rate(settings.endpoint_rate);
        let before = self.settings.read().in_flight_memory;
        if settings.in_flight_memory != before {
            self.memory.set(memory(&settings));
        }
        self.settings.set(settings);
    }

    /// Opens the token and sends the push to the phone, or keeps it for the phone.
    pub async fn push(self: &Arc<Self>, token: &str, message: Message) -> Outcome {
        let arrival = Instant::now();
        let deadline = arrival + self.settings.read().ack_timeout;
        let registration = match timeout_at(deadline, self.with.tokens.open(token)).await {
            Ok(Ok(registration)) => registration,
            Ok(Err(OpenError::Forged)) => return Outcome::BadToken,
            Ok(Err(OpenError::Dead)) => return Outcome::Gone,
            Ok(Err(OpenError::Store(_))) | Err(_) => return Outcome::StoreFailed,
        };
        match self.begin(registration, message, arrival, deadline) {
            Begun::Ended(outcome) => outcome,
            Begun::Kept(outcome) => outcome.await,
            Begun::Sent(push, offered) => self.settle(token, push, offered).await,
        }
    }

    /// What needs no waiting. Apart, so that a push in flight holds no room for it.
    fn begin(
        self: &Arc<Self>,
        registration: Arc<Registration>,
        message: Message,
        arrival: Instant,
        deadline: Instant,
    ) -> Begun<impl Future<Output = Outcome> + use<>> {
        if !self.endpoint_rate.admit(&registration.key()) {
            return Begun::Ended(Outcome::RateLimited);
        }
        let Some(share) = self.share(message.payload.len() + OVERHEAD) else {
            return Begun::Ended(Outcome::MemoryFull);
        };
        let now = self.with.clock.now();
        let Settings {
            default_ttl,
            max_ttl,
            ..
        } = *self.settings.read();
        let requested = message.ttl.unwrap_or(default_ttl);
        let lifetime = Ttl::from_secs(now.until(registration.expires).as_secs());
        let push = Box::new(Push {
            key: random_array(&*self.with.random),
            id: MessageId::from_bytes(random_array(&*self.with.random)),
            registration,
            ttl: requested.min(max_ttl).min(lifetime),
            topic: message.topic,
            urgency: message.urgency,
            payload: message.payload,
            arrived: now,
            arrival,
            deadline,
            _share: share,
        });
        let owner = &push.registration.owner;
        let instead = if !self.can_send() {
            Outcome::LinkDown
        // What is not kept can overtake: it is now or never.
        } else if !push.is_transient() && self.backlog.contains(owner) {
            return Begun::Kept(self.keep(push, Tried::No, None));
        } else if let Some(offered) = self.offer(&push) {
            return Begun::Sent(push, offered);
        } else {
            Outcome::LinkBusy
        };
        if push.is_transient() {
            return Begun::Ended(instead);
        }
        Begun::Kept(self.keep(push, Tried::No, None))
    }

    /// Whether a message waits still (RFC 8030 §6).
    pub async fn is_pending(&self, id: MessageId) -> Result<bool, StoreFailed> {
        let found = self.with.store.is_waiting(id, self.with.clock.now()).await;
        found.map_err(StoreFailed::from)
    }

    /// Its sender takes a message back.
    pub async fn cancel(&self, id: MessageId) -> Result<(), StoreFailed> {
        if self.with.store.cancel(id).await? {
            self.with.metrics.queue_events.inc(QueueEvent::Deleted);
        }
        Ok(())
    }

    /// From now on nothing is sent. Whoever waits for a phone is told as soon as the push is stored;
    /// the answers of phones are heard until [`finish`](Self::finish).
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.in_flight.interrupt(Verdict::Stopping);
    }

    /// Waits until everything that was begun is written, and until no answer is in time any more.
    pub async fn finish(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Forgets rate limits that have recovered.
    pub fn forget_idle(&self) {
        self.endpoint_rate.forget_idle();
    }

    fn can_send(&self) -> bool {
        *self.with.link.borrow() == LinkState::Up && !self.is_stopping()
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    fn share(&self, bytes: usize) -> Option<Share> {
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        let memory = self.memory.read().clone();
        let permit = memory.try_acquire_many_owned(permits).ok()?;
        let gauge = self.with.metrics.in_flight_bytes.clone();
        gauge.add(permits.into());
        Some(Share {
            gauge,
            bytes: permits.into(),
            _permit: permit,
        })
    }
}

impl Push {
    /// Not to be kept: a TTL of 0 is for now or never.
    fn is_transient(&self) -> bool {
        self.ttl == Ttl::ZERO
    }

    fn expires(&self) -> Timestamp {
        let ttl = Duration::from_secs(self.ttl.as_secs().into());
        self.arrived.saturating_add(ttl)
    }
}

impl From<StoreError> for StoreFailed {
    fn from(_: StoreError) -> Self {
        Self
    }
}

fn memory(settings: &Settings) -> Arc<Semaphore> {
    let bytes = settings.in_flight_memory.min(Semaphore::MAX_PERMITS);
    Arc::new(Semaphore::new(bytes))
}

/// A push's share of the memory for pushes in flight, given back when dropped.
struct Share {
    gauge: IntGauge,
    bytes: i64,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.gauge.sub(self.bytes);
    }
}
