//! What the link hands up, and what other replicas pass on: answers, presence, registrations.

use std::{sync::Arc, time::Duration};

use jid::Jid;
use tokio::time::{Instant, sleep};
use tracing::debug;

use super::{Delivery, in_flight::Verdict, stanza_id::Attempt};
use crate::{
    link::Answer,
    metrics::QueueEvent,
    model::{message::MessageKey, registration::Registration, revocation::Scope, time::Timestamp},
};

/// How many answers are worked on at a time that nobody waits for in this process. Beyond it they
/// are dropped and counted: the message is sent once more.
pub(super) const LATE: usize = 4096;

/// Between tries to tell the store of an acknowledgement.
const AGAIN: Duration = Duration::from_secs(1);

/// What was sent so shortly before the link was lost may never have arrived, or its answer was lost
/// with the link. Longer than it takes to notice a peer that is gone.
const DOUBTFUL: Duration = Duration::from_secs(60);

/// Of a message that may be sent again.
pub(super) const FREE: Timestamp = Timestamp::from_secs(0);

impl Delivery {
    /// An answer from the link; see [`Inbound::answer`](crate::link::Inbound::answer).
    pub fn answer(self: &Arc<Self>, from: &Jid, id: &str, answer: Answer) -> bool {
        let Some(attempt) = self.stanza_ids.verify(from, id) else {
            return false;
        };
        if !self.take(from, &attempt, answer) {
            self.take_late(from, Some(id), attempt, answer);
        }
        true
    }

    /// An answer that came over another replica's link.
    pub(super) fn answer_passed_on(self: &Arc<Self>, from: &Jid, id: &str, answer: Answer) {
        let Some(attempt) = self.stanza_ids.verify(from, id) else {
            return;
        };
        if attempt.replica == self.replica && !self.take(from, &attempt, answer) {
            self.take_late(from, None, attempt, answer);
        }
    }

    /// Directed presence of a phone, or of anybody else.
    pub fn presence(&self, from: &Jid, available: bool) {
        if !available {
            self.announced.unavailable(from);
        } else if self.with.acl.read().permits(from) {
            self.announced.available(from);
            self.backlog.announced(from);
        }
    }

    /// A stanza that came from this phone itself.
    pub fn heard(&self, from: &Jid) {
        self.backlog.heard(from);
    }

    /// The phone has registered, perhaps from another resource than before: what waits for this
    /// application goes there.
    pub async fn registered(&self, registration: &Registration) {
        let owner = &registration.owner;
        // Other replicas store what this one has not heard of yet.
        if !self.with.store.is_shared() && !self.backlog.concerns_account_of(owner) {
            return;
        }
        match self.with.store.redirect(registration).await {
            Ok(moved) => {
                if moved > 0 {
                    self.backlog.stored(owner, Instant::now());
                    self.backlog.registered(owner);
                }
            }
            Err(error) => debug!(%error, "waiting messages stay with the former resource"),
        }
    }

    /// The link is up: the phones that messages wait for are tried.
    pub fn link_up(&self) {
        self.backlog.link_up();
        if self.with.store.is_shared() {
            // Who has no link need not know all that waits.
            self.rescan.notify_one();
        }
    }

    /// The link is gone: whoever waits is told at once.
    pub fn link_down(&self) {
        let now = self.with.clock.now();
        self.in_flight.interrupt(Verdict::LinkLost);
        self.announced.forget_all();
        self.backlog.link_down(now.saturating_sub(DOUBTFUL));
    }

    /// Tells who waits for it in this process. False when nobody does.
    fn take(self: &Arc<Self>, from: &Jid, attempt: &Attempt, answer: Answer) -> bool {
        let (key, number) = (&attempt.message, attempt.attempt);
        match answer {
            Answer::Acknowledged => {
                let taken = self.in_flight.acknowledge(key);
                if taken {
                    self.backlog.heard(from);
                }
                taken
            }
            Answer::Failed => self.in_flight.fail(key, number, Verdict::Failed),
            Answer::Unreachable => self.in_flight.fail(key, number, Verdict::Unreachable),
            Answer::NotRegistered => {
                let Some(asked) = self.in_flight.refuse(key, number) else {
                    return false;
                };
                if asked.fallback {
                    return self.in_flight.fail(key, number, Verdict::Failed);
                }
                let (this, from, key) = (Arc::clone(self), from.clone(), *key);
                self.tasks.spawn(async move {
                    let verdict = this.revoke(&asked.registration).await;
                    this.in_flight.fail(&key, number, verdict);
                    if verdict == Verdict::Revoked {
                        this.backlog.heard(&from);
                    }
                });
                true
            }
        }
    }

    /// The message, if it waits, lies in the store. `id` is given for an answer that another replica
    /// may wait for.
    fn take_late(self: &Arc<Self>, from: &Jid, id: Option<&str>, attempt: Attempt, answer: Answer) {
        let Ok(turn) = self.late.clone().try_acquire_owned() else {
            self.with
                .metrics
                .queue_events
                .inc(QueueEvent::DroppedAnswer);
            return;
        };
        let (this, from) = (Arc::clone(self), from.clone());
        let pass_on = id.filter(|_| attempt.replica != self.replica);
        let pass_on = pass_on.map(str::to_owned);
        self.tasks.spawn(async move {
            // First: there a sender may be waiting.
            if let Some(id) = pass_on
                && let Err(error) = this.with.store.pass_on(&from, &id, answer).await
            {
                debug!(%error, "an answer could not be passed on");
            }
            this.late(&from, &attempt, answer).await;
            drop(turn);
        });
    }

    async fn late(&self, from: &Jid, attempt: &Attempt, answer: Answer) {
        let &Attempt {
            message, attempt, ..
        } = attempt;
        match answer {
            Answer::Acknowledged => {
                self.forwarded(message).await;
                // Only now, lest the message be sent once more.
                self.backlog.heard(from);
                self.backlog.served(from);
            }
            Answer::Failed | Answer::Unreachable => self.free(message, attempt).await,
            Answer::NotRegistered => {
                let asked = self.with.store.asked(message, attempt).await;
                if let Ok(Some(registration)) = asked
                    && registration.owner == *from
                    && self.revoke(&registration).await == Verdict::Revoked
                {
                    self.backlog.heard(from);
                } else {
                    self.free(message, attempt).await;
                }
            }
        }
    }

    /// Deletes a message that its phone has. Tries until the store takes it, or the daemon stops:
    /// else the phone would get the message once more.
    pub(super) async fn forwarded(&self, key: MessageKey) {
        loop {
            let deleted = async {
                let _turn = self.turn().await?;
                self.with.store.acknowledge(key).await
            };
            match deleted.await {
                Ok(true) => return self.with.metrics.queue_events.inc(QueueEvent::Forwarded),
                Ok(false) => return,
                Err(_) if self.is_stopping() => return,
                Err(_) => sleep(AGAIN).await,
            }
        }
    }

    /// An attempt has failed: whoever the message is for now is tried after a pause.
    pub(super) async fn free(&self, key: MessageKey, attempt: u16) {
        if let Some(owner) = self.put_back(key, attempt, FREE).await {
            self.backlog.failed(&owner);
        }
    }

    /// Gives whom the message is for now. One that cannot be put back is free when its lease ends.
    pub(super) async fn put_back(
        &self,
        key: MessageKey,
        attempt: u16,
        held_until: Timestamp,
    ) -> Option<Jid> {
        let put_back = async {
            let _turn = self.turn().await?;
            self.with.store.put_back(key, attempt, held_until).await
        };
        put_back.await.unwrap_or_else(|error| {
            debug!(%error, "a message could not be put back; it is free when its lease ends");
            None
        })
    }

    /// Kills what was issued up to the registration that the phone was asked about, with what waits
    /// for it. What it has registered since then, from whichever resource, lives.
    pub(super) async fn revoke(&self, registration: &Registration) -> Verdict {
        let scope = Scope::Registration(registration.key());
        let revoked = self
            .with
            .tokens
            .revoke(scope, registration.issued, registration.expires);
        match revoked.await {
            Ok(dropped) => {
                self.with.metrics.revocations.inc();
                self.with
                    .metrics
                    .queue_events
                    .add(QueueEvent::Revoked, dropped);
                Verdict::Revoked
            }
            Err(error) => {
                debug!(%error, "a revocation could not be stored; the endpoint stays valid");
                Verdict::RevocationFailed
            }
        }
    }
}
