//! What waits is forwarded: one message at a time to each phone, the most urgent first.

use std::{sync::Arc, time::Duration};

use jid::Jid;
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{
    Delivery,
    backlog::{End, HOLD, PACE},
    in_flight::{Asked, Verdict},
};
use crate::{
    clock::Timestamp,
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
            match self.with.store.news().await {
                News::Rescan => {
                    if let Err(error) = self.recover().await {
                        debug!(%error, "the store could not be read");
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
        loop {
            if !self.can_send() {
                return End::Later(Instant::now() + LINK_PAUSE);
            }
            let claimed = match self.claim(phone).await {
                Ok(Claim::Message(claimed)) => claimed,
                Ok(Claim::Later(at)) => {
                    let wait = self.with.clock.now().until(at);
                    return End::Later(Instant::now() + wait);
                }
                Ok(Claim::Empty) => return End::Empty,
                Err(error) => {
                    debug!(%error, "the next message could not be read");
                    return End::Later(Instant::now() + STORE_PAUSE);
                }
            };
            if let Some(end) = self.attempt(phone, claimed).await {
                return end;
            }
        }
    }

    async fn claim(&self, phone: &Jid) -> Result<Claim, StoreError> {
        let _turn = self.writes.acquire().await;
        if self.backlog.look(phone)
            && let Err(error) = self.with.store.release(phone).await
        {
            self.backlog.release_later(phone);
            return Err(error);
        }
        let now = self.with.clock.now();
        let lease = now.saturating_add(LEASE);
        self.with.store.claim(phone, now, lease).await
    }

    /// Sends a message; None when the next one may follow.
    async fn attempt(&self, phone: &Jid, claimed: Claimed) -> Option<End> {
        let Claimed {
            key,
            registration,
            payload,
            attempt,
            ..
        } = claimed;
        let gone = self.backlog.is_gone(phone);
        let other = gone.then(|| self.announced.other_than(phone)).flatten();
        let fallback = other.is_some();
        let asked = Asked {
            registration,
            attempt,
            fallback,
        };
        let to = other.unwrap_or_else(|| phone.clone());
        let deadline = Instant::now() + self.settings.ack_timeout;
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
        let free = Timestamp::from_secs(0);
        match verdict {
            Some(Verdict::Acknowledged) => {
                self.forwarded(key).await;
                None
            }
            Some(Verdict::Revoked) => None,
            Some(Verdict::Unreachable) if !gone && self.announced.other_than(phone).is_some() => {
                self.put_back(key, attempt, free).await;
                self.backlog.set_gone(phone, true);
                None
            }
            Some(
                verdict @ (Verdict::Failed | Verdict::Unreachable | Verdict::RevocationFailed),
            ) => {
                self.put_back(key, attempt, free).await;
                // When another one fails as well, the registered one comes first again.
                let gone = verdict == Verdict::Unreachable && !fallback;
                self.backlog.set_gone(phone, gone);
                Some(End::Failed)
            }
            Some(Verdict::LinkLost) => {
                self.put_back(key, attempt, free).await;
                Some(End::Later(Instant::now()))
            }
            Some(Verdict::Stopping) | None if offered.sent.withdraw() => {
                self.put_back(key, attempt, free).await;
                Some(End::Later(Instant::now() + LINK_PAUSE))
            }
            Some(Verdict::Stopping) | None => {
                let held_until = self.with.clock.now().saturating_add(HOLD);
                self.put_back(key, attempt, held_until).await;
                Some(End::Unanswered)
            }
        }
    }
}
