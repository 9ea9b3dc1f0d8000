//! An answer finds whoever waits for it, or else the message in the store.

use std::sync::Arc;

use jid::Jid;
use tokio::time::Instant;
use tracing::debug;

use super::{
    Delivery,
    attempts::{AttemptId, Heard, Verdict},
};
use crate::{
    link::Answer,
    model::{
        message::{Hold, MessageKey},
        registration::Registration,
        revocation::Scope,
    },
};

impl Delivery {
    /// Tells who waits for it in this process. False when nobody does.
    pub(super) fn answer_in_flight(
        self: &Arc<Self>,
        from: &str,
        id: AttemptId,
        answer: Answer,
    ) -> bool {
        match self.attempts.hear(&id, answer) {
            Heard::Nobody => return false,
            Heard::Waiter if answer == Answer::Acknowledged => {
                self.phones.spoke(from, Instant::now());
            }
            Heard::Waiter => {}
            Heard::Refusal(registration) => {
                let (this, from) = (Arc::clone(self), from.to_owned());
                self.tasks.spawn(async move {
                    let verdict = this.revoke(&registration).await;
                    this.attempts.settle(&id, verdict);
                    if verdict == Verdict::Revoked {
                        this.phones.spoke(&from, Instant::now());
                    }
                });
            }
        }
        true
    }

    /// The message, if it waits, lies in the store. `text` is given for an answer that another
    /// replica may wait for.
    pub(super) fn answer_late(
        self: &Arc<Self>,
        from: &str,
        text: Option<&str>,
        id: AttemptId,
        answer: Answer,
    ) {
        // What was asked is a JID.
        let (Some(permit), Ok(from)) = (self.queue.admit_late_answer(), Jid::new(from)) else {
            return;
        };
        let this = Arc::clone(self);
        let pass_on = text.filter(|_| !self.attempts.made(&id));
        let pass_on = pass_on.map(str::to_owned);
        self.tasks.spawn(async move {
            // First: there a sender may be waiting.
            if let Some(text) = pass_on {
                this.queue.pass_on(&from, &text, answer).await;
            }
            this.answer_stored(&from, id, answer).await;
            drop(permit);
        });
    }

    async fn answer_stored(&self, from: &Jid, id: AttemptId, answer: Answer) {
        match answer {
            Answer::Acknowledged => {
                self.queue.done(id.message).await;
                // Only now, lest the message be sent once more.
                let now = Instant::now();
                self.phones.spoke(from.as_str(), now);
                self.phones.stood_in(from, now);
            }
            Answer::Failed => self.attempt_failed(from, id.message, id.number).await,
            Answer::Unreachable => self.phone_gone(from, id.message, id.number).await,
            Answer::NotRegistered => {
                let asked = self.queue.asked(id.message, id.number).await;
                if let Some(registration) = asked
                    && registration.owner == *from
                    && self.revoke(&registration).await == Verdict::Revoked
                {
                    self.phones.spoke(from.as_str(), Instant::now());
                } else {
                    self.attempt_failed(from, id.message, id.number).await;
                }
            }
        }
    }

    /// A message in the store met an error: whoever it is for now is tried after a pause.
    pub(super) async fn attempt_failed(&self, asked: &Jid, key: MessageKey, attempt: u16) {
        let put_back = self.queue.put_back(key, attempt, asked, Hold::Free);
        if let Some(owner) = put_back.await {
            self.phones.failed(&owner, Instant::now());
        }
    }

    /// A message in the store met nobody: another resource that is there is tried at once.
    pub(super) async fn phone_gone(&self, asked: &Jid, key: MessageKey, attempt: u16) {
        let put_back = self.queue.put_back(key, attempt, asked, Hold::Free);
        let Some(owner) = put_back.await else {
            return;
        };
        let now = Instant::now();
        match owner == *asked && self.phones.set_gone(asked, true) {
            true => self.phones.message_waits(&owner, now),
            false => self.phones.failed(&owner, now),
        }
    }

    /// Kills what was issued up to the registration that the phone was asked about, with what waits
    /// for it. What it has registered since then, from whichever resource, lives.
    pub(super) async fn revoke(&self, registration: &Registration) -> Verdict {
        let scope = Scope::Registration(registration.key());
        let (at, until) = (registration.issued, registration.expires);
        match self.tokens.revoke(scope, at, until).await {
            Ok(dropped) => {
                self.metrics.revocations.inc();
                self.queue.count_revoked(dropped);
                Verdict::Revoked
            }
            Err(error) => {
                debug!(%error, "a revocation could not be stored; the endpoint stays valid");
                Verdict::RevocationFailed
            }
        }
    }
}
