//! Attempts: stanzas on their way to a phone, and the answers to them.
//!
//! Nothing else mints the id of a stanza, and nothing else tells whose answer an id is.

mod in_flight;
mod stanza_id;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use jid::Jid;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, timeout_at},
};

use self::in_flight::{Asked, InFlight};
pub use self::{
    in_flight::{Attempt, Heard, Verdict},
    stanza_id::{AttemptId, Replica, StanzaIds},
};
use crate::{
    link::{Answer, PushStanza, Sent},
    metrics::{LinkState, Metrics},
    model::{
        message::MessageKey,
        payload::Payload,
        random::{Random, random_array},
        registration::Registration,
    },
};

pub struct Attempts {
    replica: Replica,
    ids: StanzaIds,
    in_flight: InFlight,
    pushes: mpsc::Sender<PushStanza>,
    link: watch::Receiver<LinkState>,
    stopping: AtomicBool,
}

/// A message to send.
pub struct Outgoing {
    pub message: MessageKey,
    pub registration: Arc<Registration>,
    /// Which attempt at this message it is, from 1.
    pub number: u16,
    /// Who is asked in place of the JID that registered.
    pub stand_in: Option<Jid>,
    pub payload: Payload,
    pub deadline: Instant,
}

impl Attempts {
    pub fn new(
        ids: StanzaIds,
        random: &dyn Random,
        pushes: mpsc::Sender<PushStanza>,
        link: watch::Receiver<LinkState>,
        metrics: &Metrics,
    ) -> Self {
        Self {
            replica: Replica::from_bytes(random_array(random)),
            ids,
            in_flight: InFlight::new(metrics.in_flight.clone()),
            pushes,
            link,
            stopping: AtomicBool::new(false),
        }
    }

    /// Whether a stanza can go out now.
    pub fn can_send(&self) -> bool {
        *self.link.borrow() == LinkState::Up && !self.is_stopping()
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Hands a message to the link; None when the link's queue is full.
    pub fn offer(&self, outgoing: Outgoing) -> Option<Attempt> {
        let slot = self.pushes.try_reserve().ok()?;
        let (stanza, attempt) = self.begin(outgoing);
        slot.send(stanza);
        Some(attempt)
    }

    /// Hands a message to the link as soon as its queue has room, and waits for the answer: both
    /// until the deadline, when the verdict is None.
    pub async fn ask(&self, outgoing: Outgoing) -> (Attempt, Option<Verdict>) {
        let deadline = outgoing.deadline;
        let (stanza, attempt) = self.begin(outgoing);
        let verdict = match timeout_at(deadline, self.pushes.reserve()).await {
            Ok(Ok(slot)) => {
                slot.send(stanza);
                attempt.wait(deadline).await
            }
            Ok(Err(_)) | Err(_) => None,
        };
        (attempt, verdict)
    }

    fn begin(&self, outgoing: Outgoing) -> (PushStanza, Attempt) {
        let (message, registration) = (outgoing.message, outgoing.registration);
        let id = AttemptId {
            replica: self.replica,
            message,
            number: outgoing.number,
        };
        let stand_in = outgoing.stand_in;
        let fallback = stand_in.is_some();
        let to = stand_in.as_ref().unwrap_or(&registration.owner);
        let sent = Sent::default();
        let stanza = PushStanza {
            id: self.ids.mint(to, &id),
            registration: registration.clone(),
            stand_in,
            payload: outgoing.payload,
            deadline: outgoing.deadline,
            sent: sent.clone(),
        };
        let asked = Asked {
            registration,
            number: id.number,
            fallback,
        };
        let attempt = self.in_flight.insert(message, asked, sent);
        if self.is_stopping() {
            // The stop may have come before this one could be told.
            self.in_flight.interrupt(Verdict::Stopping);
        }
        (stanza, attempt)
    }

    /// What an answer is about; None when `from` was not asked under this id.
    pub fn verify(&self, from: &str, id: &str) -> Option<AttemptId> {
        self.ids.verify(from, id)
    }

    /// Whether this replica made the attempt, since it was started.
    pub fn made(&self, id: &AttemptId) -> bool {
        id.replica == self.replica
    }

    /// Tells who waits for an answer in this process.
    pub fn hear(&self, id: &AttemptId, answer: Answer) -> Heard {
        self.in_flight.hear(&id.message, id.number, answer)
    }

    /// Tells who waits what came of a [`Heard::Refusal`].
    pub fn settle(&self, id: &AttemptId, verdict: Verdict) {
        self.in_flight.settle(&id.message, id.number, verdict);
    }

    /// Whoever waits is told at once.
    pub fn link_down(&self) {
        self.in_flight.interrupt(Verdict::LinkLost);
    }

    /// From now on nothing can be sent, and whoever waits is told at once. Answers are still heard.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.in_flight.interrupt(Verdict::Stopping);
    }
}
