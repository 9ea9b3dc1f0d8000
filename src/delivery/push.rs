//! One push: whether it is let in, what follows its first attempt, and how it is kept.

pub mod admission;
mod next;
mod passing;

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use tracing::debug;

use self::{
    admission::Share,
    next::{Ended, Next, Tried, next},
    passing::Passing,
};
use super::{
    Delivery, Message, Outcome, Settings,
    attempts::{Attempt, Outgoing, Verdict},
    phones::HOLD,
};
use crate::{
    model::{
        message::{Hold, MessageId, MessageKey, Topic, Ttl, Urgency},
        payload::Payload,
        random::random_array,
        registration::Registration,
        time::Timestamp,
    },
    store::{Enqueued, NewMessage, Overtaken},
    token::OpenError,
};

/// A push on its way.
pub struct Push {
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
    passing: Option<Passing>,
    _share: Share,
}

/// What became of a push at once.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every push is sent, and this is taken apart at once"
)]
pub enum Begun<Kept> {
    Ended(Outcome),
    Kept(Kept),
    Sent(Push, Attempt),
}

impl Delivery {
    /// What needs no waiting. Apart, so that a push in flight holds no room for it.
    pub(super) fn begin(
        self: &Arc<Self>,
        registration: Arc<Registration>,
        message: Message,
        arrival: Instant,
        deadline: Instant,
    ) -> Begun<impl Future<Output = Outcome> + use<>> {
        let share = match self.admission.admit(&registration, &message.payload) {
            Ok(share) => share,
            Err(refusal) => return Begun::Ended(refusal),
        };
        let now = self.clock.now();
        let Settings {
            default_ttl,
            max_ttl,
            min_ttl,
            min_ttl_urgency,
            ..
        } = *self.settings.read();
        let mut requested = message.ttl.unwrap_or(default_ttl);
        if message.urgency >= min_ttl_urgency {
            requested = requested.max(min_ttl);
        }
        let lifetime = Ttl::from_secs(now.until(registration.expires).as_secs());
        let mut push = Push {
            key: MessageKey::from_bytes(random_array(&*self.random)),
            id: MessageId::from_bytes(random_array(&*self.random)),
            registration,
            ttl: requested.min(max_ttl).min(lifetime),
            topic: message.topic,
            urgency: message.urgency,
            payload: message.payload,
            arrived: now,
            arrival,
            deadline,
            passing: None,
            _share: share,
        };
        let instead = if !self.attempts.can_send() {
            Outcome::LinkDown
        // What is not kept can overtake: it is now or never.
        } else if !self.may_be_sent(&mut push) && !push.is_transient() {
            return Begun::Kept(self.keep(push, Tried::Unsent, None));
        } else if let Some(attempt) = self.attempts.offer(push.outgoing()) {
            return Begun::Sent(push, attempt);
        } else {
            Outcome::LinkBusy
        };
        if push.is_transient() {
            return Begun::Ended(instead);
        }
        Begun::Kept(self.keep(push, Tried::Unsent, None))
    }

    /// Whether nothing is known to wait before this push.
    fn may_be_sent(self: &Arc<Self>, push: &mut Push) -> bool {
        if push.topic.is_none() || !self.queue.is_shared() {
            return !self.phones.must_wait(&push.registration.owner);
        }
        push.passing = Passing::begin(self, &push.registration);
        push.passing.is_some()
    }

    /// Waits for the answer to a push's first attempt.
    #[expect(
        clippy::manual_async_fn,
        reason = "an `async fn` keeps room for its arguments twice, for every push in flight"
    )]
    pub(super) fn settle(
        self: &Arc<Self>,
        token: &str,
        push: Push,
        attempt: Attempt,
    ) -> impl Future<Output = Outcome> + Send {
        async move {
            let verdict = attempt.wait(push.deadline).await;
            if verdict == Some(Verdict::Acknowledged) {
                let seconds = push.arrival.elapsed().as_secs_f64();
                self.metrics.acknowledgement_seconds.observe(seconds);
                return self.acknowledged(&push);
            }
            // Apart, so that a push in flight holds no room for what seldom happens.
            Box::pin(self.unacknowledged(token, push, attempt, verdict)).await
        }
    }

    async fn unacknowledged(
        self: &Arc<Self>,
        token: &str,
        mut push: Push,
        attempt: Attempt,
        verdict: Option<Verdict>,
    ) -> Outcome {
        let owner = &push.registration.owner;
        let ended = Ended {
            verdict,
            withdrawn: attempt.withdraw(),
            rebound: self.phones.announced_since(owner, push.arrival),
        };
        match next(push.ttl, push.id, ended) {
            Next::Tell(outcome) => outcome,
            Next::Keep(tried) => self.keep(push, tried, Some(attempt)).await,
            Next::OpenAgain => match self.tokens.open(token).await {
                Ok(_) if push.is_transient() => Outcome::PhoneError,
                Ok(endpoint) => {
                    push.registration = endpoint.registration;
                    self.keep(push, Tried::Unsent, Some(attempt)).await
                }
                Err(OpenError::Dead | OpenError::Forged) => Outcome::Revoked,
                Err(OpenError::Store(_)) => Outcome::StoreFailed,
            },
        }
    }

    /// Stores a push, whether or not its sender stays to hear of it.
    fn keep(
        self: &Arc<Self>,
        push: Push,
        tried: Tried,
        attempt: Option<Attempt>,
    ) -> impl Future<Output = Outcome> + use<> {
        let (owner, now) = (&push.registration.owner, Instant::now());
        // Until the message is in the store, only these may be answered.
        let attempt = attempt.filter(|_| matches!(tried, Tried::Lost | Tried::Unanswered));
        match tried {
            Tried::Unsent | Tried::Lost => {}
            Tried::Failed | Tried::Unreachable => {
                // Another resource is tried at once.
                if !self.phones.set_gone(owner, tried == Tried::Unreachable) {
                    self.phones.failed(owner, now);
                }
            }
            Tried::Unanswered => {
                self.phones.left_unanswered(owner, now);
                self.hear_until(push.deadline);
            }
        }
        self.phones.begin_write(owner);
        let links_lost = self.phones.links_lost();
        let this = Arc::clone(self);
        let kept = self
            .tasks
            .spawn(this.store(push, tried, attempt, links_lost));
        // It ends early only by a panic, which is logged.
        async { kept.await.unwrap_or(Outcome::StoreFailed) }
    }

    async fn store(
        self: Arc<Self>,
        push: Push,
        tried: Tried,
        attempt: Option<Attempt>,
        links_lost: u64,
    ) -> Outcome {
        let owner = &push.registration.owner;
        let now = self.clock.now();
        let next = self.phones.next_turn(owner);
        let wait = next.map(|next| next.saturating_duration_since(Instant::now()));
        let message = push.to_store(tried, now, wait.unwrap_or_default());
        let caps = self.settings.read().caps;
        let kept = self.queue.keep(message, caps, now).await;
        let stored = matches!(kept, Ok(Enqueued::Stored { .. }));
        self.phones.end_write(owner, stored, Instant::now());
        if tried == Tried::Unanswered {
            self.held(owner, push.arrived, links_lost);
            if self.phones.announced_since(owner, push.arrival) {
                // While it was being written, when there was nothing to release.
                self.phones.rebound(owner, Instant::now(), push.arrived);
            }
        }
        let refusal = match kept {
            Ok(Enqueued::Stored { redirected, .. }) => {
                if let Some(owner) = redirected {
                    self.phones.message_waits(&owner, Instant::now());
                }
                return self.answered_meanwhile(&push, attempt).await;
            }
            // It was stored and replaced, in one go.
            Ok(Enqueued::Superseded) => return self.answered_meanwhile(&push, attempt).await,
            Ok(Enqueued::AccountFull) => Outcome::AccountFull,
            Ok(Enqueued::Outranked | Enqueued::Full) => Outcome::QueueFull,
            Ok(Enqueued::Revoked) => Outcome::Gone,
            Err(error) => {
                debug!(%error, "a push could not be stored; its sender is told");
                Outcome::StoreFailed
            }
        };
        match attempt.and_then(Attempt::close) {
            // The phone had it after all.
            Some(Verdict::Acknowledged) => self.acknowledged(&push),
            _ => refusal,
        }
    }

    /// The phone has a push that is not in the store.
    fn acknowledged(&self, push: &Push) -> Outcome {
        let owner = &push.registration.owner;
        if let Some(topic) = &push.topic
            && (self.queue.is_shared() || self.phones.must_wait(owner))
        {
            let overtaken = Overtaken {
                endpoint: push.registration.key(),
                topic: topic.clone(),
                before: push.arrived,
            };
            self.phones.overtook(owner, overtaken, Instant::now());
        }
        push.acknowledged()
    }

    /// What came in while the message was being written is made good in the store.
    async fn answered_meanwhile(
        self: &Arc<Self>,
        push: &Push,
        attempt: Option<Attempt>,
    ) -> Outcome {
        let asked = &push.registration.owner;
        match attempt.and_then(Attempt::close) {
            Some(Verdict::Acknowledged) => {
                let (this, key) = (Arc::clone(self), push.key);
                let owner = asked.clone();
                self.tasks.spawn(async move {
                    this.queue.done(key).await;
                    // Only now, lest the message be claimed once more.
                    this.phones.spoke(owner.as_str(), Instant::now());
                });
                return push.acknowledged();
            }
            Some(Verdict::Revoked) => {
                self.revoke(&push.registration).await;
                // The phone may have registered anew: then it waits still.
                if let Ok(false) = self.is_pending(push.id).await {
                    return Outcome::Revoked;
                }
            }
            Some(Verdict::Failed) => self.attempt_failed(asked, push.key, 1).await,
            Some(Verdict::Unreachable) => self.phone_gone(asked, push.key, 1).await,
            Some(Verdict::RevocationFailed | Verdict::LinkLost | Verdict::Stopping) | None => {}
        }
        Outcome::Stored {
            ttl: push.ttl,
            message: push.id,
        }
    }
}

impl Push {
    /// Not to be kept: a TTL of 0 is for now or never.
    fn is_transient(&self) -> bool {
        self.ttl == Ttl::ZERO
    }

    fn acknowledged(&self) -> Outcome {
        Outcome::Acknowledged {
            ttl: self.ttl,
            message: self.id,
        }
    }

    fn outgoing(&self) -> Outgoing {
        Outgoing {
            message: self.key,
            registration: self.registration.clone(),
            number: 1,
            stand_in: None,
            payload: self.payload.clone(),
            deadline: self.deadline,
        }
    }

    /// `wait` is until its phone's turn, for the other replicas, which know less.
    fn to_store(&self, tried: Tried, now: Timestamp, wait: Duration) -> NewMessage {
        let ttl = Duration::from_secs(self.ttl.as_secs().into());
        NewMessage {
            key: self.key,
            id: self.id,
            registration: Registration::clone(&self.registration),
            topic: self.topic.clone(),
            urgency: self.urgency,
            payload: self.payload.clone(),
            arrived: self.arrived,
            expires: self.arrived.saturating_add(ttl),
            sent: (tried != Tried::Unsent).then_some(self.arrived),
            hold: match tried {
                Tried::Unanswered => Hold::Until(now.saturating_add(HOLD)),
                Tried::Unsent | Tried::Failed | Tried::Unreachable | Tried::Lost => Hold::Free,
            },
            try_at: now.saturating_add(wait),
        }
    }
}
