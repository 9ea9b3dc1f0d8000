//! The phones that messages wait for, and when each is tried next.
//!
//! A full JID is in the table while the store holds messages for it, as far as this replica knows.
//! While it is, pushes to it are stored and none is sent past those that wait.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jid::Jid;
use prometheus::IntGauge;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use crate::random::{Random, random_array};

/// How long an unanswered message is held, and its phone left alone: its server may still deliver
/// what a hibernating session was sent, and whatever is sent again arrives twice.
pub const HOLD: Duration = Duration::from_secs(15 * 60);

/// After a temporary error, doubled with each up to the limit.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = HOLD;

/// Between the first attempts after the link has come back: 500 phones a second.
pub const PACE: Duration = Duration::from_millis(2);

/// What was sent so shortly before the link was lost may never have arrived, or its answer was lost
/// with the link. Longer than it takes to notice a peer that is gone.
const DOUBTFUL: Duration = Duration::from_secs(60);

/// A full JID.
type Name = Arc<str>;

pub struct Backlog {
    table: Mutex<Table>,
    changed: Notify,
    random: Arc<dyn Random>,
    gauge: IntGauge,
}

#[derive(Default)]
struct Table {
    phones: BTreeMap<Name, Phone>,
    /// Every phone with a `next`, by it.
    due: BTreeSet<(Instant, Name)>,
    link_up: bool,
}

#[derive(Default)]
struct Phone {
    /// None: the link is down, or it is being tried.
    next: Option<Instant>,
    trying: bool,
    /// Temporary errors in a row.
    failures: u32,
    /// When it last left a message unanswered.
    unanswered: Option<Instant>,
    /// What is held is to be sent as well.
    release: bool,
    /// The registered resource is not there: another one is tried.
    gone: bool,
    /// Since the last look at the store.
    stored: bool,
    heard: bool,
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

    /// Whether messages wait for this phone.
    pub fn contains(&self, phone: &Jid) -> bool {
        self.lock().phones.contains_key(phone.as_str())
    }

    /// Whether messages wait for this phone or another one of its account.
    pub fn concerns_account_of(&self, phone: &Jid) -> bool {
        !self.lock().account_of(phone).is_empty()
    }

    /// A message was stored. A phone that was not known is tried at `at`.
    pub fn stored(&self, phone: &Jid, at: Instant) {
        self.change(|table| match table.phones.get_mut(phone.as_str()) {
            Some(known) => known.stored = true,
            None => {
                table.phones.insert(phone.as_str().into(), Phone::default());
                table.schedule(phone, at);
            }
        });
    }

    /// A push was left unanswered: the phone is quiet from now on.
    pub fn unanswered(&self, phone: &Jid) {
        let now = Instant::now();
        self.change(|table| {
            table.enter(phone).unanswered = Some(now);
            table.schedule(phone, now + HOLD);
        });
    }

    /// A push met a temporary error.
    pub fn failed(&self, phone: &Jid) {
        self.change(|table| {
            let failures = &mut table.enter(phone).failures;
            *failures = failures.saturating_add(1);
            let pause = self.pause(*failures);
            table.schedule(phone, Instant::now() + pause);
        });
    }

    /// A stanza came from this phone, and not one that its server makes in its name.
    pub fn heard(&self, phone: &Jid) {
        self.change(|table| {
            if let Some(known) = table.phones.get_mut(phone.as_str()) {
                known.hear();
                table.schedule(phone, Instant::now());
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
        self.change(|table| {
            let now = Instant::now();
            if let Some(known) = table.phones.get_mut(phone.as_str()) {
                known.hear();
                known.release = true;
                table.schedule(phone, now);
            }
            for other in table.account_of(phone) {
                if table.phones.get(&other).is_some_and(|other| other.gone) {
                    table.schedule_name(&other, now);
                }
            }
        });
    }

    /// Another replica has emptied this phone's queue, as far as it knows.
    pub fn drained_elsewhere(&self, phone: &Jid) {
        self.change(|table| {
            if table.link_up {
                table.schedule(phone, Instant::now());
            } else {
                table.remove(phone);
            }
        });
    }

    /// Starts with one attempt at each phone, paced.
    pub fn link_up(&self) {
        self.change(|table| {
            table.link_up = true;
            let names: Vec<Name> = table.phones.keys().cloned().collect();
            let mut at = Instant::now();
            for name in names {
                table.schedule_name(&name, at);
                at += PACE;
            }
        });
    }

    pub fn link_down(&self) {
        let now = Instant::now();
        let mut table = self.lock();
        table.link_up = false;
        table.due.clear();
        for phone in table.phones.values_mut() {
            phone.next = None;
            let doubtful = |at: Instant| now.duration_since(at) <= DOUBTFUL;
            phone.release |= phone.unanswered.is_some_and(doubtful);
        }
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
                table.due.first().map(|(at, _)| *at)
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

    /// Before the store is asked for the next message. True: what is held is to be released first.
    pub fn look(&self, phone: &Jid) -> bool {
        let mut table = self.lock();
        let Some(known) = table.phones.get_mut(phone.as_str()) else {
            return false;
        };
        known.stored = false;
        known.heard = false;
        std::mem::take(&mut known.release)
    }

    /// What is held could not be released.
    pub fn release_later(&self, phone: &Jid) {
        if let Some(known) = self.lock().phones.get_mut(phone.as_str()) {
            known.release = true;
        }
    }

    /// Whether the resource itself was found to be gone.
    pub fn is_gone(&self, phone: &Jid) -> bool {
        let table = self.lock();
        table.phones.get(phone.as_str()).is_some_and(|p| p.gone)
    }

    /// Tries a phone now that was to be tried later.
    pub fn hurry(&self, phone: &Jid) {
        self.change(|table| table.schedule(phone, Instant::now()));
    }

    /// A temporary error came late, for a message that was held: it is tried anew, but no later than
    /// it would be.
    pub fn bounced(&self, phone: &Jid) {
        self.change(|table| {
            let Some(known) = table.phones.get_mut(phone.as_str()) else {
                return;
            };
            known.failures = known.failures.saturating_add(1);
            let (failures, next) = (known.failures, known.next);
            let at = Instant::now() + self.pause(failures);
            table.schedule(phone, next.map_or(at, |next| next.min(at)));
        });
    }

    pub fn set_gone(&self, phone: &Jid, gone: bool) {
        if let Some(known) = self.lock().phones.get_mut(phone.as_str()) {
            known.gone = gone;
        }
    }

    /// Gives a phone back that [`due`](Self::due) gave out.
    pub fn end(&self, phone: &Jid, end: End) {
        let now = Instant::now();
        self.change(|table| {
            let Some(known) = table.phones.get_mut(phone.as_str()) else {
                return;
            };
            known.trying = false;
            // What happened since the look at the store may have changed its answer.
            let next = match end {
                End::Empty if !known.stored => {
                    table.remove(phone);
                    return;
                }
                End::Empty => now,
                End::Later(_) if known.stored || known.heard => now,
                End::Later(at) => at,
                End::Unanswered | End::Failed if known.heard => now,
                End::Unanswered => {
                    known.unanswered = Some(now);
                    now + HOLD
                }
                End::Failed => {
                    known.failures = known.failures.saturating_add(1);
                    now + self.pause(known.failures)
                }
            };
            table.schedule(phone, next);
        });
    }

    /// When a phone is tried next; None when it is not known, or the link is down.
    pub fn next(&self, phone: &Jid) -> Option<Instant> {
        self.lock().phones.get(phone.as_str())?.next
    }

    #[cfg(test)]
    pub fn is_busy(&self, phone: &Jid) -> bool {
        let now = Instant::now();
        let is_busy = |p: &Phone| p.trying || p.next.is_some_and(|next| next <= now);
        self.lock().phones.get(phone.as_str()).is_some_and(is_busy)
    }

    fn pause(&self, failures: u32) -> Duration {
        let doubled = FIRST_PAUSE * 2u32.saturating_pow(failures.saturating_sub(1).min(16));
        let [random] = random_array(&*self.random);
        // Up to a quarter less, so that those who failed together do not come back together.
        doubled
            .min(LONGEST_PAUSE)
            .mul_f64(1.0 - f64::from(random) / 1024.0)
    }

    fn change(&self, change: impl FnOnce(&mut Table)) {
        let mut table = self.lock();
        let earliest = table.due.first().map(|(at, _)| *at);
        change(&mut table);
        self.gauge
            .set(i64::try_from(table.phones.len()).unwrap_or(i64::MAX));
        if table.due.first().map(|(at, _)| *at) != earliest {
            self.changed.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Phone {
    fn hear(&mut self) {
        self.heard = true;
        self.failures = 0;
        self.gone = false;
    }
}

impl Table {
    fn enter(&mut self, phone: &Jid) -> &mut Phone {
        self.phones.entry(phone.as_str().into()).or_default()
    }

    /// Every known resource of the same account.
    fn account_of(&self, phone: &Jid) -> Vec<Name> {
        let bare = phone.to_bare();
        // A resource starts after the slash, and '0' is the character after that.
        let (slash, end): (Name, Name) = (format!("{bare}/").into(), format!("{bare}0").into());
        let bare = self.phones.get_key_value(bare.as_str());
        let resources = self.phones.range(slash..end);
        bare.into_iter()
            .chain(resources)
            .map(|(name, _)| name.clone())
            .collect()
    }

    fn schedule(&mut self, phone: &Jid, at: Instant) {
        if let Some((name, _)) = self.phones.get_key_value(phone.as_str()) {
            let name = name.clone();
            self.schedule_name(&name, at);
        }
    }

    /// A phone that is being tried, or that cannot be reached, is scheduled later.
    fn schedule_name(&mut self, name: &Name, at: Instant) {
        let Some(phone) = self.phones.get_mut(name) else {
            return;
        };
        if phone.trying || !self.link_up {
            return;
        }
        if let Some(before) = phone.next.replace(at) {
            self.due.remove(&(before, name.clone()));
        }
        self.due.insert((at, name.clone()));
    }

    fn remove(&mut self, phone: &Jid) {
        if let Some((name, removed)) = self.phones.remove_entry(phone.as_str())
            && let Some(at) = removed.next
        {
            self.due.remove(&(at, name));
        }
    }

    fn pop(&mut self, now: Instant) -> Option<Jid> {
        while self.due.first().is_some_and(|(at, _)| *at <= now) {
            let (_, name) = self.due.pop_first()?;
            if let Some(phone) = self.phones.get_mut(&name)
                && let Ok(jid) = Jid::new(&name)
            {
                phone.next = None;
                phone.trying = true;
                return Some(jid);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
