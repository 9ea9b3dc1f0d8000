//! What waits is forwarded: one message at a time to each phone, the most urgent first.

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use jid::Jid;
use tokio::{
    sync::{Notify, Semaphore},
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{
    Delivery,
    attempts::{Outgoing, Verdict},
    phones::{Due, End, HOLD, Held, PACE, Phones},
};
use crate::{
    model::message::{Hold, MessageKey},
    store::{Claim, Claimed, News, StoreError},
};

/// Phones that are tried at a time.
const PHONES_AT_ONCE: usize = 512;

/// Before the store is asked again, when it fails.
const STORE_PAUSE: Duration = Duration::from_secs(5);

/// Before a phone is tried again whose push the link did not send in time.
const LINK_PAUSE: Duration = Duration::from_secs(1);

/// How many phones are read at a time.
const PAGE: u32 = 1000;

impl Delivery {
    /// Takes note of what waits already; to be called before the first push.
    pub async fn recover(&self) -> Result<(), StoreError> {
        let mut last: Option<Jid> = None;
        let mut at = Instant::now();
        loop {
            let page = self.queue.phones(last.as_ref(), PAGE).await?;
            for phone in &page {
                self.phones.message_waits(phone, at);
                at += PACE;
            }
            let Some(phone) = page.into_iter().next_back() else {
                return Ok(());
            };
            last = Some(phone);
        }
    }

    /// Forwards until the stop.
    pub async fn forward(self: Arc<Self>, stop: CancellationToken) {
        let slots = Arc::new(Semaphore::new(PHONES_AT_ONCE));
        loop {
            let next = async {
                let slot = slots.clone().acquire_owned().await;
                (next_phone(&self.phones).await, slot)
            };
            let (phone, slot) = tokio::select! {
                () = stop.cancelled() => return,
                next = next => next,
            };
            let this = Arc::clone(&self);
            self.tasks.spawn(async move {
                let end = this.drain(&phone).await;
                this.phones.round_ended(&phone, end, Instant::now());
                drop(slot);
            });
        }
    }

    /// Follows what other replicas say.
    pub async fn follow(self: Arc<Self>) {
        let rescan = Notify::new();
        let read_all = async {
            loop {
                rescan.notified().await;
                while let Err(error) = self.recover().await {
                    debug!(%error, "what waits could not be read");
                    sleep(STORE_PAUSE).await;
                }
            }
        };
        // A database that takes long to read all does not keep what is new from being heard.
        tokio::join!(read_all, self.hear(&rescan));
    }

    async fn hear(self: &Arc<Self>, rescan: &Notify) {
        loop {
            match self.queue.news().await {
                News::Rescan => rescan.notify_one(),
                News::Stored { owner, try_at } => {
                    let wait = self.clock.now().until(try_at);
                    self.phones.message_waits(&owner, Instant::now() + wait);
                }
                News::Found { owners } => {
                    let now = Instant::now();
                    for owner in owners {
                        self.phones.message_waits(&owner, now);
                    }
                }
                News::Drained { owner } => self.phones.drained_elsewhere(&owner, Instant::now()),
                News::Answer { from, id, answer } => self.answer_passed_on(&from, &id, answer),
            }
        }
    }

    /// Sends what waits for a phone until there is nothing more, or it does not take it.
    async fn drain(self: &Arc<Self>, phone: &Jid) -> End {
        if self.phones.gives_way(phone) {
            return End::Later(Instant::now() + self.settings.read().ack_timeout);
        }
        // What the phone has, and the store does not know of yet.
        let mut done = None;
        let end = loop {
            if !self.attempts.can_send() {
                break End::Later(Instant::now() + LINK_PAUSE);
            }
            let claimed = match self.claim(phone, &mut done).await {
                Ok(Claim::Message(claimed)) => claimed,
                Ok(Claim::Later(at)) => {
                    let wait = self.clock.now().until(at);
                    break End::Later(Instant::now() + wait);
                }
                Ok(Claim::Empty) => break End::Empty,
                Err(error) => {
                    debug!(%error, "the waiting messages could not be read");
                    break End::Later(Instant::now() + STORE_PAUSE);
                }
            };
            match self.send_again(phone, claimed).await {
                ControlFlow::Continue(acknowledged) => done = acknowledged,
                ControlFlow::Break(end) => break end,
            }
        };
        if let Some(key) = done {
            self.queue.done(key).await;
        }
        end
    }

    /// Tells the store of what is done, if anything is, together with the claim.
    async fn claim(&self, phone: &Jid, done: &mut Option<MessageKey>) -> Result<Claim, StoreError> {
        let turn = self.queue.turn().await?;
        let mut first = self.phones.about_to_claim(phone);
        let sent = first.held.map(Held::sent);
        let claim = async {
            let prepared = self.queue.prepare(&turn, phone, &first.overtaken, sent);
            prepared.await?;
            first.overtaken.clear();
            let (now, attempt) = (self.clock.now(), self.settings.read().ack_timeout);
            self.queue.claim(&turn, done, phone, now, attempt).await
        };
        let claim = match claim.await {
            Ok(claim) => claim,
            Err(error) => {
                self.phones.before_next_claim(phone, first);
                return Err(error);
            }
        };
        if !matches!(claim, Claim::Empty) {
            self.phones.surely_has_messages(phone);
        }
        if let Claim::Later(_) = claim {
            // Another replica is at it, and may yet hold what it has sent to the former session.
            self.phones.before_next_claim(phone, first);
        }
        Ok(claim)
    }

    /// Sends a message. When the next one may follow, says which one the phone has: the store is
    /// to be told.
    async fn send_again(
        self: &Arc<Self>,
        phone: &Jid,
        claimed: Claimed,
    ) -> ControlFlow<End, Option<MessageKey>> {
        let (key, number) = (claimed.key, claimed.attempt);
        let stand_in = self.phones.stand_in(phone);
        let deadline = Instant::now() + self.settings.read().ack_timeout;
        let sent = self.clock.now();
        let outgoing = Outgoing {
            message: key,
            registration: Arc::new(claimed.registration),
            number,
            stand_in: stand_in.clone(),
            payload: claimed.payload,
            deadline,
        };
        let (attempt, verdict) = self.attempts.ask(outgoing).await;
        let unanswered = matches!(verdict, Some(Verdict::Stopping) | None);
        let withdrawn = unanswered && attempt.withdraw();
        // An answer may have come at the last moment, or while the daemon stops.
        let end = match attempt.close().or(verdict) {
            Some(Verdict::Acknowledged) => {
                let Some(other) = stand_in else {
                    return ControlFlow::Continue(Some(key));
                };
                self.queue.done(key).await;
                self.phones.stood_in(&other, Instant::now());
                return ControlFlow::Continue(None);
            }
            // When another one fails as well, the registered one comes first again.
            Some(Verdict::Unreachable) if stand_in.is_none() => {
                let replaced = self.phones.set_gone(phone, true);
                (!replaced).then_some(End::Failed)
            }
            Some(Verdict::Failed | Verdict::Unreachable) => {
                self.phones.set_gone(phone, false);
                Some(End::Failed)
            }
            Some(Verdict::RevocationFailed) => Some(End::Failed),
            // The message, too, unless the phone has registered again meanwhile.
            Some(Verdict::Revoked) => None,
            Some(Verdict::LinkLost) => Some(End::Later(Instant::now())),
            Some(Verdict::Stopping) | None if withdrawn => {
                Some(End::Later(Instant::now() + LINK_PAUSE))
            }
            Some(Verdict::Stopping) | None => {
                self.hear_until(deadline);
                Some(End::Unanswered)
            }
        };
        let links_lost = self.phones.links_lost();
        let hold = match end {
            Some(End::Unanswered) => Hold::Until(self.clock.now().saturating_add(HOLD)),
            _ => Hold::Free,
        };
        let owner = self.queue.put_back(key, number, phone, hold).await;
        if end == Some(End::Unanswered) {
            self.held(phone, sent, links_lost);
        }
        if let Some(owner) = owner.filter(|owner| owner != phone) {
            // It has found the message leased.
            self.phones.message_waits(&owner, Instant::now());
        }
        end.map_or(ControlFlow::Continue(None), ControlFlow::Break)
    }
}

/// Waits until a phone is to be tried.
async fn next_phone(phones: &Phones) -> Jid {
    loop {
        let changed = phones.changed();
        match phones.take_due(Instant::now()) {
            Due::Phone(phone) => return phone,
            Due::Later(None) => changed.await,
            Due::Later(Some(at)) => tokio::select! {
                () = changed => {}
                () = sleep_until(at) => {}
            },
        }
    }
}
