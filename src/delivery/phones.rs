//! Who is tried when: the phones that messages wait for.
//!
//! A full JID is in the table while the store holds messages for it, as far as this replica knows.
//! While it is there, pushes to it are stored and none is sent past those that wait. The present
//! time is always an argument, so a test moves it as it likes.
//!
//! # A phone that sleeps
//!
//! `romeo@example.org/orchard` is in a tunnel, and its server keeps the session for it.
//!
//! - **12:00:00** A push goes out. Nobody answers within a second, so its sender is told that it is
//!   stored, held until 12:15. [`left_unanswered`](Phones::left_unanswered) makes the phone
//!   [quiet](Rest::Quiet), and its turn comes at 12:15. Before the store is asked to write,
//!   [`begin_write`](Phones::begin_write) has entered the phone.
//! - **12:03** Another push comes. [`must_wait`](Phones::must_wait) says that it is to be stored;
//!   [`end_write`](Phones::end_write) leaves the turn where it is, because the phone is quiet.
//! - **12:04** The phone sends a stanza: [`spoke`](Phones::spoke) ends the quiet and sets the turn to
//!   now. The forwarder [takes it](Phones::take_due), and sends the second message; the first one is
//!   held, because the phone's server may still deliver it. The [round ends](Phones::round_ended)
//!   with [`End::Later`], and the next turn comes at 12:15.
//! - **12:06** The phone binds its resource anew and announces itself: its former session is over,
//!   and what that was sent is lost, or bounces. [`available`](Phones::available) has the message
//!   released, and it is sent once more, at once. The phone acknowledges it, the store has nothing
//!   more, and [`End::Empty`] takes the phone out of the table.
//!
//! Had the server bounced the first message with an error, [`failed`](Phones::failed) would have
//! tried it after 5 seconds, then after 10, and so on. Had the server said that there is no such
//! resource, and had `romeo@example.org/balcony` announced itself, then that one would stand in.

mod announced;
mod elsewhere;
mod first;
mod pause;
mod phone;
mod table;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use jid::Jid;
use prometheus::IntGauge;
use tokio::{
    sync::{Notify, futures::Notified},
    time::Instant,
};

pub use self::first::{First, Held};
use self::{
    announced::Announced,
    phone::{Meanwhile, Phone, Rest},
    table::Table,
};
use crate::{
    metrics::Metrics,
    model::{random::Random, sync::Mutex, time::Timestamp},
    store::Overtaken,
};

/// How long an unanswered message is held, and its phone left alone: its server may still deliver
/// what a hibernating session was sent, and whatever is sent again arrives twice.
pub const HOLD: Duration = Duration::from_secs(15 * 60);

/// The pause after an error that the phone cannot cut short.
pub const LEAST_PAUSE: Duration = Duration::from_secs(1);

/// Between the first attempts after the link has come back: 500 phones a second.
pub const PACE: Duration = Duration::from_millis(2);

pub struct Phones {
    table: Mutex<Table>,
    announced: Announced,
    /// The first turn comes at another time than before.
    changed: Notify,
    random: Arc<dyn Random>,
    waiting: IntGauge,
}

/// Whose turn it is.
#[derive(Debug, PartialEq, Eq)]
pub enum Due {
    /// The caller's, until [`Phones::round_ended`].
    Phone(Jid),
    /// Nobody's before then; None: no turn has a time.
    Later(Option<Instant>),
}

/// How a round of attempts at a phone ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Nothing waits for it any more.
    Empty,
    /// Nothing is to be sent before then.
    Later(Instant),
    Unanswered,
    /// A temporary error.
    Failed,
}

impl Phones {
    pub fn new(random: Arc<dyn Random>, metrics: &Metrics) -> Self {
        Self {
            table: Mutex::default(),
            announced: Announced::new(metrics.phones_available.clone()),
            changed: Notify::new(),
            random,
            waiting: metrics.phones_waiting.clone(),
        }
    }

    /// Whether a push to this phone is to be stored: messages wait for it, or it is left alone.
    pub fn must_wait(&self, phone: &Jid) -> bool {
        let table = self.table.lock();
        table.get(phone.as_str()).is_some_and(Phone::must_wait)
    }

    /// Whether messages wait for this phone or another one of its account.
    pub fn concern_account_of(&self, phone: &Jid) -> bool {
        self.table.lock().knows_account_of(phone)
    }

    /// A message is about to be stored: from now on nothing is sent past it. To be followed by
    /// [`end_write`](Self::end_write).
    pub fn begin_write(&self, phone: &Jid) {
        self.change(|table| table.enter(phone).writing += 1);
    }

    /// A message was stored, or not. The store is asked in either case: a write that failed may
    /// have reached it, though nothing is kept back for that.
    pub fn end_write(&self, phone: &Jid, kept: bool, now: Instant) {
        self.change(|table| {
            let known = table.enter(phone);
            known.writing = known.writing.saturating_sub(1);
            known.store_changed(kept);
            table.schedule_unless_resting(phone.as_str(), now);
        });
    }

    /// A message waits. Its phone is tried at `at`, unless it is left alone for a while.
    pub fn message_waits(&self, phone: &Jid, at: Instant) {
        self.change(|table| {
            table.enter(phone).store_changed(true);
            table.schedule_unless_resting(phone.as_str(), at);
        });
    }

    /// A push was left unanswered: the phone is quiet from now on.
    pub fn left_unanswered(&self, phone: &Jid, now: Instant) {
        self.change(|table| table.leave_quiet(phone, now + HOLD));
    }

    /// A message met a temporary error, perhaps late, when it was held: it is tried anew, but no
    /// later than it would be. Several that come back during one pause are one error.
    pub fn failed(&self, phone: &Jid, now: Instant) {
        self.change(|table| {
            let pausing = table.get(phone.as_str()).filter(|known| known.pauses(now));
            let pause = match pausing {
                Some(known) => self.pause(known),
                None => self.pause(table.fail(phone, now)),
            };
            table.schedule_by(phone.as_str(), now + pause);
        });
    }

    /// A stanza came from this phone, and not one that its server makes in its name.
    pub fn spoke(&self, phone: &str, now: Instant) {
        self.change(|table| table.wake(phone, now));
    }

    /// This phone has taken what may have waited for another one of its account, which is gone: so
    /// it can be sent more.
    pub fn stood_in(&self, phone: &Jid, now: Instant) {
        self.change(|table| table.wake_gone_beside(phone, now, None));
    }

    /// It has registered, which may have left nothing for its account's other resources.
    pub fn registered(&self, phone: &Jid, now: Instant) {
        self.change(|table| {
            table.wake(phone.as_str(), now);
            for name in table.account_of(phone) {
                table.schedule(&name, now);
            }
        });
    }

    /// It has announced itself, as on binding a resource: what an earlier session was sent is lost,
    /// or comes back. Its account's other resources, if they are gone, are served by this one.
    pub fn available(&self, phone: &Jid, now: Instant, time: Timestamp) {
        self.announced.available(phone, now);
        self.rebound(phone, now, time);
        let held = Held::until(time);
        self.change(|table| table.wake_gone_beside(phone, now, Some(held)));
    }

    /// It has announced itself since it was sent what is stored now.
    pub fn rebound(&self, phone: &Jid, now: Instant, time: Timestamp) {
        self.change(|table| {
            if let Some(known) = table.get_mut(phone.as_str()) {
                known.release(Some(Held::until(time)));
            }
            table.wake(phone.as_str(), now);
        });
    }

    pub fn unavailable(&self, phone: &Jid) {
        self.announced.unavailable(phone);
    }

    /// Whether this very resource has announced itself since then, as on binding anew.
    pub fn announced_since(&self, phone: &Jid, then: Instant) -> bool {
        self.announced.since(phone, then)
    }

    /// Who is to be asked in place of a phone that was found to be gone.
    pub fn stand_in(&self, phone: &Jid) -> Option<Jid> {
        let gone = self.table.lock().is_gone(phone.as_str());
        gone.then(|| self.announced.other_than(phone)).flatten()
    }

    /// Notes whether a resource was found to be gone. True when another one stands in, which may
    /// not be quiet as that one was.
    pub fn set_gone(&self, phone: &Jid, gone: bool) -> bool {
        self.change(|table| {
            table.set_gone(phone, gone);
            if gone {
                table.enter(phone).rest = Rest::No;
            }
        });
        gone && self.announced.other_than(phone).is_some()
    }

    /// Starts with one attempt at each phone, paced.
    pub fn link_up(&self, now: Instant) {
        self.change(|table| {
            table.link_up = true;
            table.begin_tour(now);
        });
    }

    /// Nobody is known to be available any more, and what was sent lately may be lost. Gives the phones
    /// that may have left it unanswered, or whose topics were overtaken, and which of it other replicas
    /// should not hold any longer either.
    pub fn link_down(&self, now: Instant, time: Timestamp) -> (Vec<(Jid, Vec<Overtaken>)>, Held) {
        self.announced.forget_all();
        let doubtful = Held::doubtful(time);
        let mut lost = Vec::new();
        self.change(|table| {
            lost = table.asked_since(now, first::DOUBTFUL);
            table.link_down(doubtful);
        });
        (lost, doubtful)
    }

    /// How often the link was lost.
    pub fn links_lost(&self) -> u64 {
        self.table.lock().links_lost
    }

    /// Gives the first phone whose time has come.
    pub fn take_due(&self, now: Instant) -> Due {
        let mut table = self.table.lock();
        match table.pop(now) {
            Some(phone) => Due::Phone(phone),
            None => Due::Later(table.first_due()),
        }
    }

    /// Ends when [`take_due`](Self::take_due) may give something else than it did; to be called
    /// before that, so that nothing is missed.
    pub fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// The store is about to be asked for the next message. It is to be told this first.
    pub fn about_to_claim(&self, phone: &Jid) -> First {
        let mut table = self.table.lock();
        let Some(known) = table.get_mut(phone.as_str()) else {
            return First::default();
        };
        known.note(|meanwhile| *meanwhile = Meanwhile::default());
        known.take_first()
    }

    /// The store could not be told, or is to be told again.
    pub fn before_next_claim(&self, phone: &Jid, first: First) {
        if let Some(known) = self.table.lock().get_mut(phone.as_str()) {
            known.release(first.held);
            for overtaken in first.overtaken {
                known.overtake(overtaken);
            }
        }
    }

    /// Gives a phone back that [`take_due`](Self::take_due) gave out.
    pub fn round_ended(&self, phone: &Jid, end: End, now: Instant) {
        let name = phone.as_str();
        self.change(|table| {
            let link_up = table.link_up;
            let Some(known) = table.get_mut(name) else {
                return;
            };
            let meanwhile = known.end_turn();
            if end == End::Failed && link_up {
                known.pause(now);
            }
            let next = match end {
                End::Empty if meanwhile.stored => now,
                End::Empty => {
                    known.kept = false;
                    if known.writing == 0 {
                        table.remove(name);
                    }
                    // What moved to another resource may have been leased by an attempt here.
                    for other in table.account_of(phone) {
                        if table
                            .get(&other)
                            .is_some_and(|other| other.rest == Rest::No)
                        {
                            table.schedule(&other, now);
                        }
                    }
                    return;
                }
                _ if meanwhile.woken => now,
                End::Failed => {
                    known.fail(now);
                    now + self.pause(known)
                }
                // Counted already.
                End::Later(_) | End::Unanswered if meanwhile.failed => now + self.pause(known),
                End::Unanswered => {
                    known.rest = Rest::Quiet;
                    now + HOLD
                }
                End::Later(_) if meanwhile.stored && known.rest == Rest::No => now,
                End::Later(at) => at,
            };
            table.schedule(name, next);
        });
    }

    /// When a phone is tried next; None when it is not known, or its turn has no time.
    pub fn next_turn(&self, phone: &Jid) -> Option<Instant> {
        self.table.lock().next_turn(phone.as_str())
    }

    #[cfg(test)]
    pub fn is_busy(&self, phone: &Jid, now: Instant) -> bool {
        let is_busy =
            |phone: &Phone| phone.is_being_tried() || phone.next().is_some_and(|at| at <= now);
        self.table.lock().get(phone.as_str()).is_some_and(is_busy)
    }

    fn pause(&self, phone: &Phone) -> Duration {
        pause::after(phone.failures(), &*self.random)
    }

    fn change(&self, change: impl FnOnce(&mut Table)) {
        let mut table = self.table.lock();
        let earliest = table.first_due();
        change(&mut table);
        let waiting = i64::try_from(table.phones.len()).unwrap_or(i64::MAX);
        self.waiting.set(waiting);
        if table.first_due() != earliest {
            self.changed.notify_one();
        }
    }
}
