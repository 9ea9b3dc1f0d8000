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
use prometheus::IntGauge;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, timeout_at},
};

pub use self::{
    in_flight::{Asked, Verdict},
    stanza_id::AttemptId,
};
use self::{
    in_flight::{InFlight, Waiting},
    stanza_id::{Replica, StanzaIds},
};
use crate::{
    link::{PushStanza, Sent},
    metrics::LinkState,
    model::{
        message::MessageKey,
        payload::Payload,
        random::{Random, random_array},
        registration::Registration,
        secret::Secret,
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

/// A stanza that was made, and the wait for its answer. Answers are heard until it is closed or
/// dropped.
pub struct Attempt {
    waiting: Waiting,
    sent: Sent,
}

impl Attempts {
    /// `secret` and `previous` sign and verify the ids of stanzas.
    pub fn new(
        secret: &Secret,
        previous: &[Secret],
        random: &dyn Random,
        pushes: mpsc::Sender<PushStanza>,
        link: watch::Receiver<LinkState>,
        gauge: IntGauge,
    ) -> Self {
        Self {
            replica: Replica::from_bytes(random_array(random)),
            ids: StanzaIds::new(secret, previous),
            in_flight: InFlight::new(gauge),
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
        let (stanza, mut attempt) = self.begin(outgoing);
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
        let Outgoing {
            message,
            registration,
            number,
            stand_in,
            payload,
            deadline,
        } = outgoing;
        let id = AttemptId {
            replica: self.replica,
            message,
            number,
        };
        let fallback = stand_in.is_some();
        let to = stand_in.unwrap_or_else(|| registration.owner.clone());
        let sent = Sent::default();
        let stanza = PushStanza {
            id: self.ids.mint(&to, &id),
            application: registration.application,
            instance: registration.instance,
            to,
            payload,
            deadline,
            sent: sent.clone(),
        };
        let asked = Asked {
            registration,
            number,
            fallback,
        };
        let waiting = self.in_flight.insert(message, asked);
        if self.is_stopping() {
            // The stop may have come before this one could be told.
            self.in_flight.interrupt(Verdict::Stopping);
        }
        (stanza, Attempt { waiting, sent })
    }

    /// What an answer is about; None when `from` was not asked under this id.
    pub fn verify(&self, from: &Jid, id: &str) -> Option<AttemptId> {
        self.ids.verify(from, id)
    }

    /// Whether this replica made the attempt, since it was started.
    pub fn made(&self, id: &AttemptId) -> bool {
        id.replica == self.replica
    }

    /// Tells who waits for the message that the phone has it: any attempt's acknowledgement is the
    /// message's. False when nobody waits.
    pub fn acknowledge(&self, id: &AttemptId) -> bool {
        self.in_flight.acknowledge(&id.message)
    }

    /// Tells who waits for this attempt of its error. False when nobody does.
    pub fn fail(&self, id: &AttemptId, verdict: Verdict) -> bool {
        self.in_flight.fail(&id.message, id.number, verdict)
    }

    /// The phone knows the registration no longer. Gives whom the attempt asked; what comes of it is
    /// to be told by [`fail`](Self::fail), for which the waiter then waits.
    pub fn refuse(&self, id: &AttemptId) -> Option<Asked> {
        self.in_flight.refuse(&id.message, id.number)
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

impl Attempt {
    /// Waits for the answer. None: there was none in time.
    pub fn wait(&mut self, deadline: Instant) -> impl Future<Output = Option<Verdict>> {
        self.waiting.wait(deadline)
    }

    /// Takes the stanza back, unless the link has started to send it: then it is false.
    pub fn withdraw(&self) -> bool {
        self.sent.withdraw()
    }

    /// Ends the wait, and says what was answered meanwhile.
    pub fn close(self) -> Option<Verdict> {
        self.waiting.close()
    }
}
