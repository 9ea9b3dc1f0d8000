//! The pushes that wait for an answer, and for a while those whose senders were told that none
//! came: a late `item-not-found` still revokes.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use prometheus::IntGauge;
use tokio::sync::oneshot;

use crate::{message::MessageKey, registration::Registration};

/// Bytes of unanswered pushes that are remembered for late answers. The oldest is forgotten; when
/// its endpoint is dead, the next push to it will tell.
const LATE: usize = 8 << 20;
/// What one costs beside its JID.
const OVERHEAD: usize = 512;

/// How the wait for an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Acknowledged,
    PhoneError,
    Revoked,
    RevocationFailed,
    LinkLost,
}

/// A push that was handed to the link.
pub struct Entry {
    pub registration: Registration,
    waiter: Option<oneshot::Sender<Verdict>>,
}

impl Entry {
    /// Tells the sender, if it still waits.
    pub fn settle(self, verdict: Verdict) {
        if let Some(waiter) = self.waiter {
            // The sender may have hung up meanwhile.
            let _ = waiter.send(verdict);
        }
    }
}

#[derive(Clone)]
pub struct InFlight {
    table: Arc<Mutex<Table>>,
    gauge: IntGauge,
}

#[derive(Default)]
struct Table {
    entries: HashMap<MessageKey, Entry>,
    /// Keys of entries that nobody waits for any more, oldest first; some are answered since.
    late: VecDeque<(MessageKey, usize)>,
    late_bytes: usize,
}

impl InFlight {
    pub fn new(gauge: IntGauge) -> Self {
        Self {
            table: Arc::default(),
            gauge,
        }
    }

    /// Adds a push. It counts as waiting until the returned guard is dropped.
    pub fn insert(&self, key: MessageKey, registration: Registration) -> Waiting {
        let (waiter, verdict) = oneshot::channel();
        let entry = Entry {
            registration,
            waiter: Some(waiter),
        };
        self.lock().entries.insert(key, entry);
        self.gauge.inc();
        Waiting {
            in_flight: self.clone(),
            key,
            verdict,
        }
    }

    /// Takes out a push that was answered.
    pub fn take(&self, key: &MessageKey) -> Option<Entry> {
        self.lock().entries.remove(key)
    }

    /// Tells every waiting sender that the link is gone. Late answers are still heard.
    pub fn link_lost(&self) {
        for entry in self.lock().entries.values_mut() {
            if let Some(waiter) = entry.waiter.take() {
                let _ = waiter.send(Verdict::LinkLost);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A sender's wait for its verdict.
pub struct Waiting {
    in_flight: InFlight,
    key: MessageKey,
    pub verdict: oneshot::Receiver<Verdict>,
}

impl Waiting {
    /// The push did not go out after all: no answer can come.
    pub fn withdraw(self) {
        self.in_flight.take(&self.key);
    }

    /// Nothing came back, not even something that is still being worked on.
    pub fn is_unanswered(&self) -> bool {
        self.in_flight.lock().entries.contains_key(&self.key)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.in_flight.gauge.dec();
        self.in_flight.lock().nobody_waits(self.key);
    }
}

impl Table {
    /// Keeps an unanswered push for a late answer, as far as there is room.
    fn nobody_waits(&mut self, key: MessageKey) {
        let Some(entry) = self.entries.get(&key) else {
            return;
        };
        let cost = entry.registration.owner.as_str().len() + OVERHEAD;
        self.late.push_back((key, cost));
        self.late_bytes += cost;
        while self.late_bytes > LATE
            && let Some((oldest, cost)) = self.late.pop_front()
        {
            self.late_bytes -= cost;
            self.entries.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use jid::Jid;

    use super::*;
    use crate::{clock::Timestamp, registration::Digest};

    const NOW: Timestamp = Timestamp::from_secs(1);

    fn in_flight() -> InFlight {
        InFlight::new(IntGauge::new("in_flight", "test").unwrap())
    }

    fn registration() -> Registration {
        Registration {
            owner: Jid::new("romeo@example.org/orchard").unwrap(),
            application: Digest::from_bytes([1; 32]),
            instance: Digest::from_bytes([2; 32]),
            issued: NOW,
            expires: NOW,
        }
    }

    fn key(number: usize) -> MessageKey {
        let mut key = MessageKey::default();
        key[..8].copy_from_slice(&number.to_be_bytes());
        key
    }

    #[tokio::test]
    async fn the_verdict_reaches_the_sender() {
        let in_flight = in_flight();
        let mut waiting = in_flight.insert(key(1), registration());
        in_flight
            .take(&key(1))
            .unwrap()
            .settle(Verdict::Acknowledged);
        assert_eq!((&mut waiting.verdict).await, Ok(Verdict::Acknowledged));
        assert!(in_flight.take(&key(1)).is_none(), "answered once");
    }

    #[tokio::test]
    async fn a_lost_link_is_told_to_all_and_late_answers_are_still_heard() {
        let in_flight = in_flight();
        let mut waiting = in_flight.insert(key(1), registration());
        in_flight.link_lost();
        assert_eq!((&mut waiting.verdict).await, Ok(Verdict::LinkLost));
        drop(waiting);
        assert!(in_flight.take(&key(1)).is_some());
    }

    #[test]
    fn a_withdrawn_push_leaves_nothing_behind() {
        let in_flight = in_flight();
        in_flight.insert(key(1), registration()).withdraw();
        assert!(in_flight.take(&key(1)).is_none());
        assert_eq!(in_flight.gauge.get(), 0);
        assert!(in_flight.lock().late.is_empty());
    }

    #[test]
    fn unanswered_pushes_are_remembered_up_to_a_bound() {
        let in_flight = in_flight();
        let room = LATE / (registration().owner.as_str().len() + OVERHEAD);
        for number in 0..room + 10 {
            drop(in_flight.insert(key(number), registration()));
        }
        assert_eq!(in_flight.lock().entries.len(), room);
        assert!(in_flight.take(&key(9)).is_none());
        assert!(in_flight.take(&key(10)).is_some());
    }
}
