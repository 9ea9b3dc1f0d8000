//! What waits is forwarded: one message at a time to each phone, the most urgent first.

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use jid::Jid;
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{
    Delivery,
    answers::FREE,
    backlog::{End, HOLD, PACE},
    in_flight::{Asked, Verdict},
};
use crate::{
    metrics::QueueEvent,
    model::message::MessageKey,
    store::{Claim, Claimed, News, StoreError},
};

/// Phones that are tried at a time.
const AT_ONCE: usize = 512;

/// How long a claim lasts if nobody ends it: longer than any attempt.
const LEASE: Duration = Duration::from_secs(60);

/// Before the store is asked again, when it fails.
const STORE_PAUSE: Duration = Duration::from_secs(5);

/// Before a phone is tried again whose push the link did not send in time.
const LINK_PAUSE: Duration = Duration::from_secs(1);

/// How many owners are read at a time.
const PAGE: u32 = 1000;

impl Delivery {
    /// Takes note of what waits already; to be called before the first push.
    pub async fn recover(&self) -> Result<(), StoreError> {
        let mut last: Option<Jid> = None;
        let mut at = Instant::now();
        loop {
            let page = self.with.store.owners_waiting(last.as_ref(), PAGE).await?;
            for owner in &page {
                self.backlog.stored(owner, at);
                at += PACE;
            }
            let Some(owner) = page.into_iter().next_back() else {
                return Ok(());
            };
            last = Some(owner);
        }
    }

    /// Forwards until the stop.
    pub async fn forward(self: Arc<Self>, stop: CancellationToken) {
        let slots = Arc::new(Semaphore::new(AT_ONCE));
        loop {
            let next = async {
                let slot = slots.clone().acquire_owned().await;
                (self.backlog.due().await, slot)
            };
            let (phone, slot) = tokio::select! {
                () = stop.cancelled() => return,
                next = next => next,
            };
            let this = Arc::clone(&self);
            self.tasks.spawn(async move {
                let end = this.drain(&phone).await;
                this.backlog.end(&phone, end);
                drop(slot);
            });
        }
    }

    /// Follows what other replicas say.
    pub async fn follow(self: Arc<Self>) {
        loop {
            let news = tokio::select! {
                news = self.with.store.news() => news,
                () = self.rescan.notified() => News::Rescan,
            };
            match news {
                News::Rescan => {
                    while let Err(error) = self.recover().await {
                        debug!(%error, "what waits could not be read");
                        sleep(STORE_PAUSE).await;
                    }
                }
                News::Stored { owner, try_at } => {
                    let wait = self.with.clock.now().until(try_at);
                    self.backlog.stored(&owner, Instant::now() + wait);
                }
                News::Drained { owner } => self.backlog.drained_elsewhere(&owner),
                News::Answer { from, id, answer } => self.answer_passed_on(&from, &id, answer),
            }
        }
    }

    /// Sends what waits for a phone until there is nothing more, or it does not take it.
    async fn drain(&self, phone: &Jid) -> End {
        // What the phone has, and the store does not know of yet.
        let mut done = None;
        let end = loop {
            if !self.can_send() {
                break End::Later(Instant::now() + LINK_PAUSE);
            }
            let claimed = match self.claim(phone, &mut done).await {
                Ok(Claim::Message(claimed)) => claimed,
                Ok(Claim::Later(at)) => {
                    let wait = self.with.clock.now().until(at);
                    break End::Later(Instant::now() + wait);
                }
                Ok(Claim::Empty) => break End::Empty,
                Err(error) => {
                    debug!(%error, "the next message could not be read");
                    break End::Later(Instant::now() + STORE_PAUSE);
                }
            };
            match self.attempt(phone, claimed).await {
                ControlFlow::Continue(acknowledged) => done = acknowledged,
                ControlFlow::Break(end) => break end,
            }
        };
        if let Some(key) = done {
            self.forwarded(key).await;
        }
        end
    }

    /// Tells the store of what is done, if anything is, together with the claim.
    async fn claim(&self, phone: &Jid, done: &mut Option<MessageKey>) -> Result<Claim, StoreError> {
        let _turn = self.turn().await?;
        if let Some(since) = self.backlog.look(phone)
            && let Err(error) = self.with.store.release(phone, since).await
        {
            self.backlog.release_later(phone, since);
            return Err(error);
        }
        let now = self.with.clock.now();
        let lease = now.saturating_add(LEASE);
        let (deleted, claim) = self.with.store.claim(*done, phone, now, lease).await?;
        *done = None;
        if deleted {
            self.with.metrics.queue_events.inc(QueueEvent::Forwarded);
        }
        Ok(claim)
    }

    /// Sends a message. When the next one may follow, says which one the phone has: the store is
    /// to be told.
    async fn attempt(&self, phone: &Jid, claimed: Claimed) -> ControlFlow<End, Option<MessageKey>> {
        let Claimed {
            key,
            registration,
            payload,
            attempt,
            ..
        } = claimed;
        let gone = self.backlog.is_gone(phone);
        let stand_in = gone.then(|| self.announced.other_than(phone)).flatten();
        let fallback = stand_in.is_some();
        let asked = Asked {
            registration: Arc::new(registration),
            attempt,
            fallback,
        };
        let to = stand_in.clone().unwrap_or_else(|| phone.clone());
        let deadline = Instant::now() + self.settings.read().ack_timeout;
        let (stanza, mut offered) = self.stanza(key, to, asked, payload, deadline);
        let verdict = match timeout_at(deadline, self.with.pushes.reserve()).await {
            Ok(Ok(slot)) => {
                slot.send(stanza);
                offered.waiting.wait(deadline).await
            }
            Ok(Err(_)) | Err(_) => None,
        };
        // An answer may have come at the last moment, or while the daemon stops.
        let verdict = offered.waiting.close().or(verdict);
        let end = match verdict {
            Some(Verdict::Acknowledged) => {
                let Some(other) = stand_in else {
                    return ControlFlow::Continue(Some(key));
                };
                self.forwarded(key).await;
                self.backlog.served(&other);
                return ControlFlow::Continue(None);
            }
            Some(Verdict::Failed | Verdict::Unreachable) => {
                // When another one fails as well, the registered one comes first again.
                let found_gone = verdict == Some(Verdict::Unreachable) && !fallback;
                self.backlog.set_gone(phone, found_gone);
                let replaced = found_gone && self.announced.other_than(phone).is_some();
                (!replaced).then_some(End::Failed)
            }
            Some(Verdict::RevocationFailed) => Some(End::Failed),
            // The message, too, unless the phone has registered again meanwhile.
            Some(Verdict::Revoked) => None,
            Some(Verdict::LinkLost) => Some(End::Later(Instant::now())),
            Some(Verdict::Stopping) | None if offered.sent.withdraw() => {
                Some(End::Later(Instant::now() + LINK_PAUSE))
            }
            Some(Verdict::Stopping) | None => {
                self.hear_until(deadline);
                Some(End::Unanswered)
            }
        };
        let held_until = match end {
            Some(End::Unanswered) => self.with.clock.now().saturating_add(HOLD),
            _ => FREE,
        };
        let owner = self.put_back(key, attempt, held_until).await;
        if let Some(owner) = owner.filter(|owner| owner != phone) {
            // It has found the message leased.
            self.backlog.stored(&owner, Instant::now());
        }
        end.map_or(ControlFlow::Continue(None), ControlFlow::Break)
    }
}
