//! The phones that messages wait for, and when each is tried next.
//!
//! A full JID is in the table while the store holds messages for it, as far as this replica knows.
//! While it is, pushes to it are stored and none is sent past those that wait.

mod table;
#[cfg(test)]
mod tests;

use std::{
    sync::{Arc, MutexGuard},
    time::Duration,
};

use jid::Jid;
use prometheus::IntGauge;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use self::table::{Phone, Table};
use crate::model::sync::Mutex;
use crate::model::{
    random::{Random, random_array},
    time::Timestamp,
};

/// How long an unanswered message is held, and its phone left alone: its server may still deliver
/// what a hibernating session was sent, and whatever is sent again arrives twice.
pub const HOLD: Duration = Duration::from_secs(15 * 60);

/// After a temporary error, doubled with each up to the limit.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = HOLD;

/// Between the first attempts after the link has come back: 500 phones a second.
pub const PACE: Duration = Duration::from_millis(2);

const EVER: Timestamp = Timestamp::from_secs(0);

pub struct Backlog {
    table: Mutex<Table>,
    changed: Notify,
    random: Arc<dyn Random>,
    gauge: IntGauge,
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

impl Backlog {
    pub fn new(random: Arc<dyn Random>, gauge: IntGauge) -> Self {
        Self {
            table: Mutex::default(),
            changed: Notify::new(),
            random,
            gauge,
        }
    }

    /// Whether messages wait for this phone, or it is left alone.
    pub fn contains(&self, phone: &Jid) -> bool {
        let blocks = |phone: &Phone| phone.kept || phone.writing > 0 || phone.resting;
        self.lock().get(phone).is_some_and(blocks)
    }

    /// Whether messages wait for this phone or another one of its account.
    pub fn concerns_account_of(&self, phone: &Jid) -> bool {
        !self.lock().account_of(phone).is_empty()
    }

    /// A message is about to be stored: from now on nothing is sent past it. To be followed by
    /// [`written`](Self::written).
    pub fn enter(&self, phone: &Jid) {
        self.change(|table| table.enter(phone).writing += 1);
    }

    /// A message was stored, or not. The store is asked in either case: a write that failed may
    /// have reached it, though nothing is kept back for that.
    pub fn written(&self, phone: &Jid, kept: bool) {
        self.change(|table| {
            let known = table.enter(phone);
            known.writing = known.writing.saturating_sub(1);
            known.kept |= kept;
            known.stored = true;
            table.schedule_unless_resting(phone, Instant::now());
        });
    }

    /// A message waits. Its phone is tried at `at`, unless it is left alone for a while.
    pub fn stored(&self, phone: &Jid, at: Instant) {
        self.change(|table| {
            let known = table.enter(phone);
            known.kept = true;
            known.stored = true;
            table.schedule_unless_resting(phone, at);
        });
    }

    /// A push was left unanswered: the phone is quiet from now on.
    pub fn unanswered(&self, phone: &Jid) {
        self.change(|table| {
            table.enter(phone).resting = true;
            table.schedule(phone, Instant::now() + HOLD);
        });
    }

    /// A push met a temporary error, perhaps late, when it was held: it is tried anew, but no later
    /// than it would be.
    pub fn failed(&self, phone: &Jid) {
        self.change(|table| {
            let known = table.enter(phone);
            known.bounced = true;
            let pause = self.fail(known);
            table.schedule_by(phone, Instant::now() + pause);
        });
    }

    /// A stanza came from this phone, and not one that its server makes in its name.
    pub fn heard(&self, phone: &Jid) {
        self.change(|table| {
            if let Some(known) = table.get_mut(phone) {
                known.hear();
                known.gone = false;
                table.schedule(phone, Instant::now());
            }
        });
    }

    /// This phone has taken what may have waited for another one of its account, which is gone: so
    /// it can be sent more.
    pub fn served(&self, phone: &Jid) {
        self.change(|table| {
            for name in table.gone_beside(phone) {
                if let Some(other) = table.by_name(&name) {
                    other.hear();
                }
                table.schedule_name(&name, Instant::now());
            }
        });
    }

    /// It has registered, which may have left nothing for its account's other resources.
    pub fn registered(&self, phone: &Jid) {
        self.heard(phone);
        self.change(|table| {
            for name in table.account_of(phone) {
                table.schedule_name(&name, Instant::now());
            }
        });
    }

    /// It has announced itself, as on binding a resource: what an earlier session was sent is lost,
    /// or comes back. Its account's other resources, if they are gone, are served by this one.
    pub fn announced(&self, phone: &Jid) {
        // First: who is looked at meanwhile is looked at with this.
        self.change(|table| {
            if let Some(known) = table.get_mut(phone) {
                known.release(EVER);
            }
            for name in table.gone_beside(phone) {
                if let Some(other) = table.by_name(&name) {
                    other.release(EVER);
                }
            }
        });
        self.heard(phone);
        self.served(phone);
    }

    /// Another replica has emptied this phone's queue, as far as it knows. Who has no link forgets
    /// it: the store is asked when the link is up.
    pub fn drained_elsewhere(&self, phone: &Jid) {
        self.change(|table| {
            if table.link_up {
                table.schedule(phone, Instant::now());
            } else if table.get(phone).is_some_and(|phone| phone.writing == 0) {
                table.remove(phone);
            }
        });
    }

    /// Starts with one attempt at each phone, paced. None is quiet any more: its server may be a new
    /// one.
    pub fn link_up(&self) {
        self.change(|table| {
            table.link_up = true;
            for phone in table.phones_mut() {
                phone.resting = false;
            }
            let mut at = Instant::now();
            for name in table.names() {
                table.schedule_name(&name, at);
                at += PACE;
            }
        });
    }

    /// What was sent at `doubtful` or later may never have arrived, or its answer was lost.
    pub fn link_down(&self, doubtful: Timestamp) {
        self.change(|table| {
            table.link_up = false;
            table.unschedule_all();
            for phone in table.phones_mut() {
                phone.release(doubtful);
                phone.doubted = true;
            }
        });
    }

    /// Waits for the next phone to try. It is the caller's until [`end`](Self::end).
    pub async fn due(&self) -> Jid {
        loop {
            let changed = self.changed.notified();
            let next = {
                let mut table = self.lock();
                if let Some(phone) = table.pop(Instant::now()) {
                    return phone;
                }
                table.first_due()
            };
            match next {
                Some(at) => tokio::select! {
                    () = changed => {}
                    () = sleep_until(at) => {}
                },
                None => changed.await,
            }
        }
    }

    /// Before the store is asked for the next message. What is held and was sent since the instant
    /// that this gives is to be released first.
    pub fn look(&self, phone: &Jid) -> Option<Timestamp> {
        let mut table = self.lock();
        let known = table.get_mut(phone)?;
        known.stored = false;
        known.heard = false;
        known.bounced = false;
        known.doubted = false;
        known.release.take()
    }

    /// What is held could not be released.
    pub fn release_later(&self, phone: &Jid, since: Timestamp) {
        if let Some(known) = self.lock().get_mut(phone) {
            known.release(since);
        }
    }

    /// Whether the resource itself was found to be gone.
    pub fn is_gone(&self, phone: &Jid) -> bool {
        self.lock().get(phone).is_some_and(|phone| phone.gone)
    }

    /// Who stands in for a phone that is gone may not be quiet as that one was.
    pub fn set_gone(&self, phone: &Jid, gone: bool) {
        self.change(|table| {
            let known = table.enter(phone);
            known.gone = gone;
            known.resting &= !gone;
        });
    }

    /// Gives a phone back that [`due`](Self::due) gave out.
    pub fn end(&self, phone: &Jid, end: End) {
        let now = Instant::now();
        self.change(|table| {
            let Some(known) = table.get_mut(phone) else {
                return;
            };
            known.trying = false;
            // What happened since the look at the store may have changed its answer.
            let next = match end {
                End::Empty if known.stored => now,
                End::Empty => {
                    known.kept = false;
                    if known.writing == 0 {
                        table.remove(phone);
                    }
                    // What moved to another resource may have been leased by an attempt here.
                    for name in table.account_of(phone) {
                        if table.by_name(&name).is_some_and(|other| !other.resting) {
                            table.schedule_name(&name, now);
                        }
                    }
                    return;
                }
                _ if known.heard || known.doubted => now,
                End::Failed => now + self.fail(known),
                // Counted already.
                End::Later(_) | End::Unanswered if known.bounced => now + self.pause(known),
                End::Unanswered => {
                    known.resting = true;
                    now + HOLD
                }
                End::Later(_) if known.stored && !known.resting => now,
                End::Later(at) => at,
            };
            table.schedule(phone, next);
        });
    }

    /// When a phone is tried next; None when it is not known, or the link is down.
    pub fn next(&self, phone: &Jid) -> Option<Instant> {
        self.lock().get(phone)?.next
    }

    #[cfg(test)]
    pub fn is_busy(&self, phone: &Jid) -> bool {
        let now = Instant::now();
        let is_busy = |p: &Phone| p.trying || p.next.is_some_and(|next| next <= now);
        self.lock().get(phone).is_some_and(is_busy)
    }

    /// Counts a temporary error; how long to wait after it.
    fn fail(&self, phone: &mut Phone) -> Duration {
        phone.failures = phone.failures.saturating_add(1);
        phone.resting = true;
        self.pause(phone)
    }

    fn pause(&self, phone: &Phone) -> Duration {
        let doublings = phone.failures.saturating_sub(1).min(16);
        let [random] = random_array(&*self.random);
        // Up to a quarter less, so that those who failed together do not come back together.
        (FIRST_PAUSE * 2u32.saturating_pow(doublings))
            .min(LONGEST_PAUSE)
            .mul_f64(1.0 - f64::from(random) / 1024.0)
    }

    fn change(&self, change: impl FnOnce(&mut Table)) {
        let mut table = self.lock();
        let earliest = table.first_due();
        change(&mut table);
        self.gauge
            .set(i64::try_from(table.len()).unwrap_or(i64::MAX));
        if table.first_due() != earliest {
            self.changed.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock()
    }
}
