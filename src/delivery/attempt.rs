//! One attempt: a stanza on its way, and what came of it.

use std::sync::Arc;

use jid::Jid;
use tokio::time::{Instant, sleep_until};

use super::{
    Delivery, Outcome, Push,
    in_flight::{Asked, Verdict, Waiting},
    keep::{Tried, acknowledged},
    stanza_id::Attempt,
};
use crate::{
    link::{PushStanza, Sent},
    model::{message::MessageKey, payload::Payload},
    token::OpenError,
};

/// A stanza that was made, and the wait for its answer.
pub(super) struct Offered {
    pub waiting: Waiting,
    pub sent: Sent,
}

impl Delivery {
    /// Hands a push to the link as its first attempt; None when the link's queue is full.
    pub(super) fn offer(&self, push: &Push) -> Option<Offered> {
        let slot = self.with.pushes.try_reserve().ok()?;
        let asked = Asked {
            registration: push.registration.clone(),
            attempt: 1,
            fallback: false,
        };
        let to = push.registration.owner.clone();
        let payload = push.payload.clone();
        let (stanza, offered) = self.stanza(push.key, to, asked, payload, push.deadline);
        slot.send(stanza);
        Some(offered)
    }

    /// An attempt to `to`; its answers are heard from now on.
    pub(super) fn stanza(
        &self,
        key: MessageKey,
        to: Jid,
        asked: Asked,
        payload: Payload,
        deadline: Instant,
    ) -> (PushStanza, Offered) {
        let attempt = Attempt {
            replica: self.replica,
            message: key,
            attempt: asked.attempt,
        };
        let sent = Sent::default();
        let stanza = PushStanza {
            id: self.stanza_ids.mint(&to, &attempt),
            application: asked.registration.application,
            instance: asked.registration.instance,
            to,
            payload,
            deadline,
            sent: sent.clone(),
        };
        let waiting = self.in_flight.insert(key, asked);
        if self.is_stopping() {
            // The stop may have come before this one could be told.
            self.in_flight.interrupt(Verdict::Stopping);
        }
        (stanza, Offered { waiting, sent })
    }

    /// Waits for the answer to a push's first attempt.
    pub(super) async fn settle(
        self: &Arc<Self>,
        token: &str,
        push: Box<Push>,
        mut offered: Offered,
    ) -> Outcome {
        let verdict = offered.waiting.wait(push.deadline).await;
        if verdict == Some(Verdict::Acknowledged) {
            let seconds = push.arrival.elapsed().as_secs_f64();
            self.with.metrics.acknowledgement_seconds.observe(seconds);
            return acknowledged(&push);
        }
        // Apart, so that a push in flight holds no room for what seldom happens.
        Box::pin(self.unacknowledged(token, push, offered, verdict)).await
    }

    async fn unacknowledged(
        self: &Arc<Self>,
        token: &str,
        mut push: Box<Push>,
        Offered { waiting, sent }: Offered,
        verdict: Option<Verdict>,
    ) -> Outcome {
        let owner = &push.registration.owner;
        match verdict {
            Some(Verdict::Acknowledged) => acknowledged(&push),
            Some(Verdict::Revoked) => match self.with.tokens.open(token).await {
                Ok(_) if push.is_transient() => Outcome::PhoneError,
                // The phone has registered again meanwhile, and the URL lives on.
                Ok(registration) => {
                    drop(waiting);
                    push.registration = registration;
                    self.keep(push, Tried::No, None).await
                }
                Err(OpenError::Dead | OpenError::Forged) => Outcome::Revoked,
                Err(OpenError::Store(_)) => Outcome::StoreFailed,
            },
            Some(Verdict::RevocationFailed) => Outcome::StoreFailed,
            Some(Verdict::Failed | Verdict::Unreachable) if push.is_transient() => {
                Outcome::PhoneError
            }
            Some(verdict @ (Verdict::Failed | Verdict::Unreachable)) => {
                drop(waiting);
                // Another resource is tried at once.
                if !self.phones.set_gone(owner, verdict == Verdict::Unreachable) {
                    self.phones.failed(owner, Instant::now());
                }
                self.keep(push, Tried::Lost, None).await
            }
            // No answer, and none will come in time.
            verdict @ (Some(Verdict::LinkLost | Verdict::Stopping) | None) => {
                let lost = verdict == Some(Verdict::LinkLost);
                let withdrawn = sent.withdraw();
                if push.is_transient() {
                    return match (lost, withdrawn) {
                        (true, _) => Outcome::LinkDown,
                        (false, true) => Outcome::Unanswered,
                        (false, false) => Outcome::SentUnanswered { message: push.id },
                    };
                }
                if withdrawn {
                    drop(waiting);
                    return self.keep(push, Tried::No, None).await;
                }
                // A session that another one has replaced answers no more.
                if lost || self.phones.announced_since(owner, push.arrival) {
                    return self.keep(push, Tried::Lost, Some(waiting)).await;
                }
                self.phones.left_unanswered(owner, Instant::now());
                self.hear_until(push.deadline);
                self.keep(push, Tried::Unanswered, Some(waiting)).await
            }
        }
    }

    /// A daemon that stops hears answers for as long as they are in time.
    pub(super) fn hear_until(&self, deadline: Instant) {
        if self.is_stopping() {
            self.tasks.spawn(sleep_until(deadline));
        }
    }
}
