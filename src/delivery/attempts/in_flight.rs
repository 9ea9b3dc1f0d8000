//! The attempts that wait for an answer, each with the one who waits.

use std::{
    collections::{HashMap, hash_map},
    future::poll_fn,
    sync::Arc,
    task::{Poll, Waker},
};

use hashlink::DefaultHashBuilder;
use prometheus::IntGauge;
use tokio::time::{Instant, timeout_at};

use crate::{
    link::{Answer, Sent},
    model::{message::MessageKey, registration::Registration, sync::Mutex},
};

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

/// Who has heard an answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    Nobody,
    Waiter,
    /// The phone knows this registration no longer. What comes of it is to be told by
    /// [`InFlight::settle`], for which the waiter now waits.
    Refusal(Arc<Registration>),
}

/// Whom an attempt asks.
pub struct Asked {
    pub registration: Arc<Registration>,
    /// Which attempt at its message it is, from 1.
    pub number: u16,
    /// Another resource of the account: what it refuses, the registered one may take.
    pub fallback: bool,
}

struct Entry {
    asked: Asked,
    /// Who waits, and what it is told: the first verdict.
    waiter: Option<Waker>,
    told: Option<Verdict>,
    /// The answer, even one that came after the waiter was told something else.
    answer: Option<Verdict>,
    /// The phone knows the registration no longer, which is being written.
    refused: bool,
}

impl Entry {
    fn tell(&mut self, verdict: Verdict) {
        self.told.get_or_insert(verdict);
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(waiter) = self.waiter.take() {
            waiter.wake();
        }
    }
}

#[derive(Clone)]
pub struct InFlight {
    /// The keys are random and our own, so that any hash will do.
    entries: Arc<Mutex<HashMap<MessageKey, Entry, DefaultHashBuilder>>>,
    gauge: IntGauge,
}

impl InFlight {
    pub fn new(gauge: IntGauge) -> Self {
        Self {
            entries: Arc::default(),
            gauge,
        }
    }

    /// Adds an attempt.
    pub fn insert(&self, key: MessageKey, asked: Asked, sent: Sent) -> Attempt {
        let number = asked.number;
        let entry = Entry {
            asked,
            waiter: None,
            told: None,
            answer: None,
            refused: false,
        };
        if let Some(mut former) = self.entries.lock().insert(key, entry) {
            // It will be told nothing more.
            former.wake();
        }
        self.gauge.inc();
        Attempt {
            in_flight: self.clone(),
            key,
            number,
            sent,
        }
    }

    /// Tells who waits for an answer: an acknowledgement is the message's, whichever attempt it is
    /// of, an error its attempt's alone.
    pub fn hear(&self, key: &MessageKey, number: u16, answer: Answer) -> Heard {
        let mut entries = self.entries.lock();
        let Some(entry) = entries.get_mut(key) else {
            return Heard::Nobody;
        };
        if answer != Answer::Acknowledged && number != entry.asked.number {
            return Heard::Nobody;
        }
        let verdict = match answer {
            Answer::Acknowledged => Verdict::Acknowledged,
            Answer::Unreachable => Verdict::Unreachable,
            Answer::NotRegistered if !entry.asked.fallback => {
                entry.refused = true;
                return Heard::Refusal(entry.asked.registration.clone());
            }
            Answer::Failed | Answer::NotRegistered => Verdict::Failed,
        };
        entry.answer = Some(verdict);
        entry.tell(verdict);
        Heard::Waiter
    }

    /// Tells who waits for this attempt what came of its refusal.
    pub fn settle(&self, key: &MessageKey, number: u16, verdict: Verdict) {
        if let Some(entry) = self.entries.lock().get_mut(key)
            && entry.asked.number == number
        {
            entry.answer = Some(verdict);
            entry.tell(verdict);
        }
    }

    /// Tells everybody who waits. Answers are still heard.
    pub fn interrupt(&self, verdict: Verdict) {
        for entry in self.entries.lock().values_mut() {
            entry.tell(verdict);
        }
    }
}

/// A stanza that was made, and the wait for its answer. Answers are heard until it is closed or
/// dropped.
pub struct Attempt {
    in_flight: InFlight,
    key: MessageKey,
    number: u16,
    sent: Sent,
}

impl Attempt {
    /// None: no answer in time. A refusal that is being written is waited for.
    pub async fn wait(&self, deadline: Instant) -> Option<Verdict> {
        match timeout_at(deadline, self.told()).await {
            Ok(verdict) => verdict,
            Err(_) if self.is_refused() => self.told().await,
            Err(_) => None,
        }
    }

    /// What this attempt is told; None when the message's next one has taken its place.
    fn told(&self) -> impl Future<Output = Option<Verdict>> {
        poll_fn(|cx| {
            let mut entries = self.in_flight.entries.lock();
            let entry = entries.get_mut(&self.key);
            let Some(entry) = entry.filter(|entry| entry.asked.number == self.number) else {
                return Poll::Ready(None);
            };
            if entry.told.is_none() {
                entry.waiter = Some(cx.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(entry.told)
        })
    }

    /// Takes the stanza back. False when the link has started to send it.
    pub fn withdraw(&self) -> bool {
        self.sent.withdraw()
    }

    /// Ends the wait, and says what was answered meanwhile.
    pub fn close(self) -> Option<Verdict> {
        let entry = self.leave()?;
        entry.answer.or(entry.refused.then_some(Verdict::Revoked))
    }

    /// The message's next attempt may have begun: its entry is not this one's.
    fn leave(&self) -> Option<Entry> {
        let mut entries = self.in_flight.entries.lock();
        match entries.entry(self.key) {
            hash_map::Entry::Occupied(entry) if entry.get().asked.number == self.number => {
                Some(entry.remove())
            }
            _ => None,
        }
    }

    fn is_refused(&self) -> bool {
        let entries = self.in_flight.entries.lock();
        entries.get(&self.key).is_some_and(|entry| entry.refused)
    }
}

impl Drop for Attempt {
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

    fn insert(in_flight: &InFlight, number: u16) -> Attempt {
        let asked = Asked {
            registration: Arc::new(Registration {
                owner: Jid::new("romeo@example.org/orchard").unwrap(),
                application: Digest::from_bytes([1; 32]),
                instance: Digest::from_bytes([2; 32]),
                issued: Timestamp::from_secs(1),
                expires: Timestamp::from_secs(2),
            }),
            number,
            fallback: false,
        };
        in_flight.insert(KEY, asked, Sent::default())
    }

    fn acknowledge(in_flight: &InFlight) -> bool {
        in_flight.hear(&KEY, 1, Answer::Acknowledged) == Heard::Waiter
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(1)
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_counts_for_its_own_attempt_an_acknowledgement_for_any() {
        let in_flight = in_flight();
        let waiting = insert(&in_flight, 2);
        for error in [Answer::Failed, Answer::Unreachable, Answer::NotRegistered] {
            assert_eq!(in_flight.hear(&KEY, 1, error), Heard::Nobody);
        }
        assert_eq!(waiting.wait(soon()).await, None);
        assert!(acknowledge(&in_flight));
        assert_eq!(waiting.close(), Some(Verdict::Acknowledged));
        assert!(!acknowledge(&in_flight), "nobody waits any more");
        assert_eq!(in_flight.gauge.get(), 0);
    }

    #[tokio::test]
    async fn what_is_answered_after_an_interruption_is_still_heard() {
        let in_flight = in_flight();
        let waiting = insert(&in_flight, 1);
        in_flight.interrupt(Verdict::Stopping);
        assert_eq!(waiting.wait(soon()).await, Some(Verdict::Stopping));
        assert!(acknowledge(&in_flight));
        assert_eq!(waiting.close(), Some(Verdict::Acknowledged));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_waited_for_until_it_is_written() {
        let in_flight = in_flight();
        let waiting = insert(&in_flight, 1);
        let heard = in_flight.hear(&KEY, 1, Answer::NotRegistered);
        assert!(matches!(heard, Heard::Refusal(_)));
        let written = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            in_flight.settle(&KEY, 1, Verdict::Revoked);
        };
        let (verdict, ()) = tokio::join!(waiting.wait(soon()), written);
        assert_eq!(verdict, Some(Verdict::Revoked));
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_does_not_take_the_next_attempt_along() {
        let in_flight = in_flight();
        let first = insert(&in_flight, 1);
        let second = insert(&in_flight, 2);
        assert_eq!(first.close(), None);
        assert!(acknowledge(&in_flight), "the second waits");
        assert_eq!(second.wait(soon()).await, Some(Verdict::Acknowledged));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_an_attempt_whose_place_is_taken_waits_no_longer() {
        let in_flight = in_flight();
        let (first, deadline) = (insert(&in_flight, 1), soon());
        let next = async {
            tokio::task::yield_now().await;
            insert(&in_flight, 2)
        };
        let (verdict, _second) = tokio::join!(first.wait(deadline), next);
        assert_eq!(verdict, None);
        assert!(Instant::now() < deadline);
    }

    #[test]
    fn who_hangs_up_leaves_nothing_behind() {
        let in_flight = in_flight();
        drop(insert(&in_flight, 1));
        assert!(!acknowledge(&in_flight));
        assert_eq!(in_flight.gauge.get(), 0);
    }
}
