//! From a push in hand to a message in the store: the `201` that is a promise.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::SemaphorePermit,
    time::{Instant, timeout},
};
use tracing::debug;

use super::{
    Delivery, Outcome, Push,
    backlog::HOLD,
    in_flight::{Verdict, Waiting},
};
use crate::{
    metrics::QueueEvent,
    model::{registration::Registration, time::Timestamp},
    store::{Enqueued, NewMessage, StoreError},
};

/// How many writes the store is asked for at a time; they share commits. Others wait in line: their
/// pushes are bounded by the memory in flight.
pub(super) const WRITES: usize = 512;

/// How long a write waits for its turn.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a message has been through before it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tried {
    /// It was not sent.
    No,
    /// It was sent, and no answer can come any more, or it does not count.
    Lost,
    /// It was sent, and the answer may come yet.
    Unanswered,
}

impl Delivery {
    /// Stores a push, whether or not its sender stays to hear of it. `waiting` is its attempt's, of
    /// which an answer may come until the message is in the store.
    pub(super) fn keep(
        self: &Arc<Self>,
        push: Box<Push>,
        tried: Tried,
        waiting: Option<Waiting>,
    ) -> impl Future<Output = Outcome> + use<> {
        self.backlog.enter(&push.registration.owner);
        let this = Arc::clone(self);
        let kept = self.tasks.spawn(this.store(push, tried, waiting));
        // It ends early only by a panic, which is logged.
        async { kept.await.unwrap_or(Outcome::StoreFailed) }
    }

    async fn store(
        self: Arc<Self>,
        push: Box<Push>,
        tried: Tried,
        waiting: Option<Waiting>,
    ) -> Outcome {
        let now = self.with.clock.now();
        let message = self.message(&push, tried, now);
        let stored = async {
            let _turn = self.turn().await?;
            let caps = self.settings.read().caps;
            self.with.store.enqueue(message, caps, now).await
        };
        let stored = stored.await;
        let kept = matches!(stored, Ok(Enqueued::Stored { .. }));
        self.backlog.written(&push.registration.owner, kept);
        let events = &self.with.metrics.queue_events;
        let refusal = match stored {
            Ok(Enqueued::Stored {
                replaced,
                evicted,
                redirected,
            }) => {
                events.inc(QueueEvent::Stored);
                events.add(QueueEvent::Replaced, replaced.into());
                events.add(QueueEvent::Evicted, evicted.into());
                if let Some(owner) = redirected {
                    self.backlog.stored(&owner, Instant::now());
                }
                return self.answered_meanwhile(&push, waiting).await;
            }
            // It was stored and replaced, in one go.
            Ok(Enqueued::Superseded) => {
                events.inc(QueueEvent::Replaced);
                return self.answered_meanwhile(&push, waiting).await;
            }
            Ok(Enqueued::AccountFull) => Outcome::AccountFull,
            Ok(Enqueued::Outranked | Enqueued::Full) => Outcome::QueueFull,
            Ok(Enqueued::Revoked) => Outcome::Gone,
            Err(error) => {
                debug!(%error, "a push could not be stored; its sender is told");
                Outcome::StoreFailed
            }
        };
        match waiting.and_then(Waiting::close) {
            // The phone had it after all.
            Some(Verdict::Acknowledged) => acknowledged(&push),
            _ => refusal,
        }
    }

    /// Until it is dropped, the store may be asked to write. Who waits longer than the store may take
    /// for everybody before waits in vain.
    pub(super) async fn turn(&self) -> Result<SemaphorePermit<'_>, StoreError> {
        match timeout(PATIENCE, self.writes.acquire()).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) | Err(_) => Err(StoreError::Busy),
        }
    }

    fn message(&self, push: &Push, tried: Tried, now: Timestamp) -> NewMessage {
        NewMessage {
            key: push.key,
            id: push.id,
            registration: Registration::clone(&push.registration),
            topic: push.topic.clone(),
            urgency: push.urgency,
            payload: push.payload.clone(),
            arrived: push.arrived,
            expires: push.expires(),
            sent: (tried != Tried::No).then_some(push.arrived),
            held_until: match tried {
                Tried::Unanswered => now.saturating_add(HOLD),
                Tried::No | Tried::Lost => Timestamp::from_secs(0),
            },
            try_at: self.try_at(&push.registration.owner, now),
        }
    }

    /// What came in while the message was being written is made good in the store.
    async fn answered_meanwhile(
        self: &Arc<Self>,
        push: &Push,
        waiting: Option<Waiting>,
    ) -> Outcome {
        match waiting.and_then(Waiting::close) {
            Some(Verdict::Acknowledged) => {
                let (this, key) = (Arc::clone(self), push.key);
                let owner = push.registration.owner.clone();
                self.tasks.spawn(async move {
                    this.forwarded(key).await;
                    // Only now, lest the message be looked at once more.
                    this.backlog.heard(&owner);
                });
                return acknowledged(push);
            }
            Some(Verdict::Revoked) => {
                self.revoke(&push.registration).await;
                // The phone may have registered anew: then it waits still.
                if let Ok(false) = self.is_pending(push.id).await {
                    return Outcome::Revoked;
                }
            }
            Some(Verdict::Failed | Verdict::Unreachable) => self.free(push.key, 1).await,
            Some(Verdict::RevocationFailed | Verdict::LinkLost | Verdict::Stopping) | None => {}
        }
        Outcome::Stored {
            ttl: push.ttl,
            message: push.id,
        }
    }

    /// For the other replicas, which know less.
    fn try_at(&self, owner: &jid::Jid, now: Timestamp) -> Timestamp {
        let next = self.backlog.next(owner);
        next.map_or(now, |next| {
            now.saturating_add(next.saturating_duration_since(Instant::now()))
        })
    }
}

pub(super) fn acknowledged(push: &Push) -> Outcome {
    Outcome::Acknowledged {
        ttl: push.ttl,
        message: push.id,
    }
}
