//! What is known of each phone that messages wait for, and in which order the phones are due.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jid::Jid;
use tokio::time::Instant;

use super::{Held, LEAST_PAUSE};

/// A full JID.
pub type Name = Arc<str>;

#[derive(Default)]
pub struct Table {
    pub phones: BTreeMap<Name, Phone>,
    /// Every phone whose turn has a time, by that time.
    due: BTreeSet<(Instant, Name)>,
    pub link_up: bool,
}

#[derive(Default)]
pub struct Phone {
    turn: Turn,
    pub rest: Rest,
    /// Temporary errors in a row. They outlast the rest: a new link ends it, but the next error
    /// makes the pause longer still.
    pub failures: u32,
    /// The next attempt is no earlier, whatever the phone says: one that answers with an error and
    /// announces itself, again and again, would keep the daemon busy.
    pub not_before: Option<Instant>,
    /// The registered resource is not there: another one of its account stands in.
    pub gone: bool,
    /// What is to be released before the next message is claimed.
    pub release: Option<Held>,
    /// Messages that are being stored.
    pub writing: u32,
    /// The store has messages for it, as far as is known.
    pub kept: bool,
}

#[derive(Default)]
enum Turn {
    /// The link is down, or the first message is not stored yet.
    #[default]
    Unscheduled,
    At(Instant),
    /// It is being tried, by whoever took it with [`Table::pop`].
    Trying(Meanwhile),
}

/// Whether a phone is left alone. What is stored for it then waits with the rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rest {
    #[default]
    No,
    /// It left a message unanswered, and has said nothing since.
    Quiet,
    /// It answered with a temporary error.
    Failing,
}

/// What has happened to a phone since the store was last asked for its next message, and may have
/// changed the store's reply or how the attempt ended.
#[derive(Clone, Copy, Default)]
pub struct Meanwhile {
    /// A message was stored.
    pub stored: bool,
    /// An attempt failed, and was counted.
    pub failed: bool,
    /// The phone spoke, or the link was lost: nothing that was learnt before counts any more.
    pub woken: bool,
}

impl Phone {
    /// The store may have a new message; it is `kept` if it surely has.
    pub fn store_changed(&mut self, kept: bool) {
        self.kept |= kept;
        self.note(|meanwhile| meanwhile.stored = true);
    }

    /// There was an error now.
    pub fn pause(&mut self, now: Instant) {
        self.not_before = Some(now + LEAST_PAUSE);
    }

    /// A temporary error.
    pub fn fail(&mut self, now: Instant) {
        self.pause(now);
        self.failures = self.failures.saturating_add(1);
        self.rest = Rest::Failing;
        self.note(|meanwhile| meanwhile.failed = true);
    }

    pub fn wake(&mut self) {
        self.failures = 0;
        self.rest = Rest::No;
        self.note(|meanwhile| meanwhile.woken = true);
    }

    pub fn release(&mut self, held: Option<Held>) {
        self.release = self.release.into_iter().chain(held).min();
    }

    /// Notes what happens to a phone while it is being tried.
    pub fn note(&mut self, note: impl FnOnce(&mut Meanwhile)) {
        if let Turn::Trying(meanwhile) = &mut self.turn {
            note(meanwhile);
        }
    }

    /// Nobody tries it any more.
    pub fn end_turn(&mut self) -> Meanwhile {
        let Turn::Trying(meanwhile) = self.turn else {
            return Meanwhile::default();
        };
        self.turn = Turn::Unscheduled;
        meanwhile
    }

    /// When it is tried; None when it has no time.
    pub fn next(&self) -> Option<Instant> {
        match self.turn {
            Turn::At(at) => Some(at),
            Turn::Unscheduled | Turn::Trying(_) => None,
        }
    }

    #[cfg(test)]
    pub fn is_being_tried(&self) -> bool {
        matches!(self.turn, Turn::Trying(_))
    }
}

impl Table {
    pub fn get(&self, phone: &str) -> Option<&Phone> {
        self.phones.get(phone)
    }

    pub fn get_mut(&mut self, phone: &str) -> Option<&mut Phone> {
        self.phones.get_mut(phone)
    }

    pub fn enter(&mut self, phone: &Jid) -> &mut Phone {
        self.phones.entry(phone.as_str().into()).or_default()
    }

    pub fn remove(&mut self, phone: &str) {
        if let Some((name, removed)) = self.phones.remove_entry(phone)
            && let Some(at) = removed.next()
        {
            self.due.remove(&(at, name));
        }
    }

    /// Every known resource of the same account.
    pub fn account_of(&self, phone: &Jid) -> Vec<Name> {
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

    /// A phone spoke, so it is there.
    pub fn wake(&mut self, phone: &str, now: Instant) {
        if let Some(known) = self.phones.get_mut(phone) {
            known.wake();
            known.gone = false;
            self.schedule(phone, now);
        }
    }

    /// This phone stands in for those of its account that are gone.
    pub fn wake_gone_beside(&mut self, phone: &Jid, now: Instant, held: Option<Held>) {
        for name in self.account_of(phone) {
            if let Some(other) = self.phones.get_mut(&name)
                && other.gone
            {
                other.wake();
                other.release(held);
                self.schedule(&name, now);
            }
        }
    }

    pub fn first_due(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Takes the phone that is due first. It has no other turn until [`Phone::end_turn`].
    pub fn pop(&mut self, now: Instant) -> Option<Jid> {
        while self.first_due().is_some_and(|at| at <= now) {
            let (_, name) = self.due.pop_first()?;
            if let Some(phone) = self.phones.get_mut(&name)
                && let Ok(jid) = Jid::new(&name)
            {
                phone.turn = Turn::Trying(Meanwhile::default());
                return Some(jid);
            }
        }
        None
    }

    /// Sets the time of a phone's turn. A phone that is being tried, or that cannot be reached, gets
    /// one later.
    pub fn schedule(&mut self, phone: &str, at: Instant) {
        let Some((name, _)) = self.phones.get_key_value(phone) else {
            return;
        };
        let name = name.clone();
        let Some(phone) = self.phones.get_mut(&name) else {
            return;
        };
        let at = phone.not_before.map_or(at, |earliest| earliest.max(at));
        if !self.link_up || matches!(phone.turn, Turn::Trying(_)) {
            return;
        }
        if let Some(before) = phone.next() {
            self.due.remove(&(before, name.clone()));
        }
        phone.turn = Turn::At(at);
        self.due.insert((at, name));
    }

    /// Sets the time of a phone's turn, unless it has an earlier one.
    pub fn schedule_by(&mut self, phone: &str, at: Instant) {
        let next = self.get(phone).and_then(Phone::next);
        self.schedule(phone, next.map_or(at, |next| next.min(at)));
    }

    /// The same, unless the phone is left alone.
    pub fn schedule_unless_resting(&mut self, phone: &str, at: Instant) {
        if self.get(phone).is_some_and(|phone| phone.rest == Rest::No) {
            self.schedule_by(phone, at);
        }
    }

    /// Nobody can be reached, so no turn has a time.
    pub fn link_down(&mut self) {
        self.link_up = false;
        self.due.clear();
        for phone in self.phones.values_mut() {
            if let Turn::At(_) = phone.turn {
                phone.turn = Turn::Unscheduled;
            }
        }
    }
}
