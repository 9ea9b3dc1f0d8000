//! The attempts that wait for an answer, each with the one who waits.

use std::{
    collections::HashMap,
    sync::{Arc, MutexGuard},
};

use prometheus::IntGauge;
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use crate::model::{message::MessageKey, registration::Registration, sync::Mutex};

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Acknowledged,
    /// A temporary error.
    Failed,
    /// The server says that this resource is not there.
    Unreachable,
    Revoked,
    RevocationFailed,
    /// The link is gone, and the answer with it.
    LinkLost,
    /// The daemon stops; an answer may come yet.
    Stopping,
}

/// Whom an attempt asked, and for what.
#[derive(Clone, Debug)]
pub struct Asked {
    pub registration: Arc<Registration>,
    /// Which attempt at its message it is, from 1.
    pub number: u16,
    /// Another resource of the account: what it refuses, the registered one may take.
    pub fallback: bool,
}

struct Entry {
    asked: Asked,
    waiter: Option<oneshot::Sender<Verdict>>,
    /// The answer, even one that came after the waiter was told something else.
    answer: Option<Verdict>,
    /// The phone knows the registration no longer, which is being written.
    refused: bool,
}

#[derive(Clone)]
pub struct InFlight {
    entries: Arc<Mutex<HashMap<MessageKey, Entry>>>,
    gauge: IntGauge,
}

impl InFlight {
    pub fn new(gauge: IntGauge) -> Self {
        Self {
            entries: Arc::default(),
            gauge,
        }
    }

    /// Adds an attempt. Its answers are heard until what is returned is closed or dropped.
    pub fn insert(&self, key: MessageKey, asked: Asked) -> Waiting {
        let (waiter, verdict) = oneshot::channel();
        let number = asked.number;
        let entry = Entry {
            asked,
            waiter: Some(waiter),
            answer: None,
            refused: false,
        };
        self.lock().insert(key, entry);
        self.gauge.inc();
        Waiting {
            in_flight: self.clone(),
            key,
            number,
            verdict,
        }
    }

    /// Any attempt's acknowledgement is the message's. False when nobody waits.
    pub fn acknowledge(&self, key: &MessageKey) -> bool {
        self.settle(key, None, Verdict::Acknowledged)
    }

    /// An error of this attempt. False when nobody waits for it.
    pub fn fail(&self, key: &MessageKey, number: u16, verdict: Verdict) -> bool {
        self.settle(key, Some(number), verdict)
    }

    /// The phone refuses an attempt for good. Gives whom it asked; what comes of it is to be told by
    /// [`fail`](Self::fail), for which the waiter then waits.
    pub fn refuse(&self, key: &MessageKey, number: u16) -> Option<Asked> {
        let mut entries = self.lock();
        let entry = entries.get_mut(key)?;
        if entry.asked.number != number {
            return None;
        }
        entry.refused = !entry.asked.fallback;
        Some(entry.asked.clone())
    }

    /// Tells everybody who waits. Answers are still heard.
    pub fn interrupt(&self, verdict: Verdict) {
        for entry in self.lock().values_mut() {
            if let Some(waiter) = entry.waiter.take() {
                // Who waited may have hung up.
                let _ = waiter.send(verdict);
            }
        }
    }

    fn settle(&self, key: &MessageKey, number: Option<u16>, verdict: Verdict) -> bool {
        let mut entries = self.lock();
        let Some(entry) = entries.get_mut(key) else {
            return false;
        };
        if number.is_some_and(|number| number != entry.asked.number) {
            return false;
        }
        entry.answer = Some(verdict);
        if let Some(waiter) = entry.waiter.take() {
            let _ = waiter.send(verdict);
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<MessageKey, Entry>> {
        self.entries.lock()
    }
}

/// The wait for an attempt's answer.
pub struct Waiting {
    in_flight: InFlight,
    key: MessageKey,
    number: u16,
    verdict: oneshot::Receiver<Verdict>,
}

impl Waiting {
    /// None: no answer in time. A refusal that is being written is waited for.
    pub async fn wait(&mut self, deadline: Instant) -> Option<Verdict> {
        match timeout_at(deadline, &mut self.verdict).await {
            Ok(verdict) => verdict.ok(),
            Err(_) if self.is_refused() => (&mut self.verdict).await.ok(),
            Err(_) => None,
        }
    }

    /// Ends the wait, and says what was answered meanwhile.
    pub fn close(self) -> Option<Verdict> {
        let entry = self.leave()?;
        entry.answer.or(entry.refused.then_some(Verdict::Revoked))
    }

    /// The message's next attempt may have begun: its entry is not this one's.
    fn leave(&self) -> Option<Entry> {
        let mut entries = self.in_flight.lock();
        let entry = entries.get(&self.key)?;
        if entry.asked.number != self.number {
            return None;
        }
        entries.remove(&self.key)
    }

    fn is_refused(&self) -> bool {
        let entries = self.in_flight.lock();
        entries.get(&self.key).is_some_and(|entry| entry.refused)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.in_flight.gauge.dec();
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jid::Jid;

    use super::*;
    use crate::model::{registration::Digest, time::Timestamp};

    const KEY: MessageKey = MessageKey::from_bytes([1; 16]);

    fn in_flight() -> InFlight {
        InFlight::new(IntGauge::new("in_flight", "test").unwrap())
    }

    fn asked(number: u16) -> Asked {
        Asked {
            registration: Arc::new(Registration {
                owner: Jid::new("romeo@example.org/orchard").unwrap(),
                application: Digest::from_bytes([1; 32]),
                instance: Digest::from_bytes([2; 32]),
                issued: Timestamp::from_secs(1),
                expires: Timestamp::from_secs(2),
            }),
            number,
            fallback: false,
        }
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(1)
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_counts_for_its_own_attempt_an_acknowledgement_for_any() {
        let in_flight = in_flight();
        let mut waiting = in_flight.insert(KEY, asked(2));
        assert!(!in_flight.fail(&KEY, 1, Verdict::Failed));
        assert!(in_flight.refuse(&KEY, 1).is_none());
        assert_eq!(waiting.wait(soon()).await, None);
        assert!(in_flight.acknowledge(&KEY));
        assert_eq!(waiting.close(), Some(Verdict::Acknowledged));
        assert!(!in_flight.acknowledge(&KEY), "nobody waits any more");
        assert_eq!(in_flight.gauge.get(), 0);
    }

    #[tokio::test]
    async fn what_is_answered_after_an_interruption_is_still_heard() {
        let in_flight = in_flight();
        let mut waiting = in_flight.insert(KEY, asked(1));
        in_flight.interrupt(Verdict::Stopping);
        assert_eq!(waiting.wait(soon()).await, Some(Verdict::Stopping));
        assert!(in_flight.acknowledge(&KEY));
        assert_eq!(waiting.close(), Some(Verdict::Acknowledged));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_waited_for_until_it_is_written() {
        let in_flight = in_flight();
        let mut waiting = in_flight.insert(KEY, asked(1));
        assert!(in_flight.refuse(&KEY, 1).is_some());
        let written = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            in_flight.fail(&KEY, 1, Verdict::Revoked)
        };
        let (verdict, told) = tokio::join!(waiting.wait(soon()), written);
        assert_eq!((verdict, told), (Some(Verdict::Revoked), true));
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_does_not_take_the_next_attempt_along() {
        let in_flight = in_flight();
        let first = in_flight.insert(KEY, asked(1));
        let mut second = in_flight.insert(KEY, asked(2));
        assert_eq!(first.close(), None);
        assert!(in_flight.acknowledge(&KEY), "the second waits");
        assert_eq!(second.wait(soon()).await, Some(Verdict::Acknowledged));
    }

    #[test]
    fn who_hangs_up_leaves_nothing_behind() {
        let in_flight = in_flight();
        drop(in_flight.insert(KEY, asked(1)));
        assert!(!in_flight.acknowledge(&KEY));
        assert_eq!(in_flight.gauge.get(), 0);
    }
}
