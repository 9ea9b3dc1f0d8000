//! What is known of each phone, by its JID, and in which order they are due.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jid::Jid;
use tokio::time::Instant;

use crate::model::time::Timestamp;

/// A full JID.
pub type Name = Arc<str>;

#[derive(Default)]
pub struct Table {
    phones: BTreeMap<Name, Phone>,
    /// Every phone with a `next`, by it.
    due: BTreeSet<(Instant, Name)>,
    pub link_up: bool,
}

#[derive(Default)]
pub struct Phone {
    /// None: the link is down, it is being tried, or its first message is not stored yet.
    pub next: Option<Instant>,
    pub trying: bool,
    /// Temporary errors in a row.
    pub failures: u32,
    /// It is quiet, or had an error: what is stored for it waits with the rest.
    pub resting: bool,
    /// The registered resource is not there: another one is tried.
    pub gone: bool,
    /// What is held and was sent since then is to be sent as well.
    pub release: Option<Timestamp>,
    /// Messages that are being stored.
    pub writing: u32,
    /// The store has messages for it, as far as is known.
    pub kept: bool,
    /// What happened since the last look at the store.
    pub stored: bool,
    pub heard: bool,
    pub bounced: bool,
    /// The link was lost.
    pub doubted: bool,
}

impl Phone {
    pub fn hear(&mut self) {
        self.heard = true;
        self.failures = 0;
        self.resting = false;
    }

    pub fn release(&mut self, since: Timestamp) {
        self.release = Some(self.release.map_or(since, |earlier| earlier.min(since)));
    }
}

impl Table {
    pub fn len(&self) -> usize {
        self.phones.len()
    }

    pub fn get(&self, phone: &Jid) -> Option<&Phone> {
        self.phones.get(phone.as_str())
    }

    pub fn get_mut(&mut self, phone: &Jid) -> Option<&mut Phone> {
        self.phones.get_mut(phone.as_str())
    }

    pub fn enter(&mut self, phone: &Jid) -> &mut Phone {
        self.phones.entry(phone.as_str().into()).or_default()
    }

    pub fn remove(&mut self, phone: &Jid) {
        if let Some((name, removed)) = self.phones.remove_entry(phone.as_str())
            && let Some(at) = removed.next
        {
            self.due.remove(&(at, name));
        }
    }

    pub fn names(&self) -> Vec<Name> {
        self.phones.keys().cloned().collect()
    }

    pub fn phones_mut(&mut self) -> impl Iterator<Item = &mut Phone> {
        self.phones.values_mut()
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

    /// Those of them that were found to be gone.
    pub fn gone_beside(&self, phone: &Jid) -> Vec<Name> {
        let mut names = self.account_of(phone);
        names.retain(|name| self.phones.get(name).is_some_and(|other| other.gone));
        names
    }

    pub fn by_name(&mut self, name: &Name) -> Option<&mut Phone> {
        self.phones.get_mut(name)
    }

    pub fn first_due(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Takes the phone that is due first.
    pub fn pop(&mut self, now: Instant) -> Option<Jid> {
        while self.first_due().is_some_and(|at| at <= now) {
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

    pub fn schedule(&mut self, phone: &Jid, at: Instant) {
        self.schedule_name(phone.as_str(), at);
    }

    /// Then, or when it is to be tried already.
    pub fn schedule_by(&mut self, phone: &Jid, at: Instant) {
        let next = self.get(phone).and_then(|phone| phone.next);
        self.schedule(phone, next.map_or(at, |next| next.min(at)));
    }

    /// No later than it is to be tried already; unless it is left alone.
    pub fn schedule_unless_resting(&mut self, phone: &Jid, at: Instant) {
        if self.get(phone).is_some_and(|phone| !phone.resting) {
            self.schedule_by(phone, at);
        }
    }

    /// A phone that is being tried, or that cannot be reached, is scheduled later.
    pub fn schedule_name(&mut self, name: &str, at: Instant) {
        let Some((name, _)) = self.phones.get_key_value(name) else {
            return;
        };
        let name = name.clone();
        let Some(phone) = self.phones.get_mut(&name) else {
            return;
        };
        if phone.trying || !self.link_up {
            return;
        }
        if let Some(before) = phone.next.replace(at) {
            self.due.remove(&(before, name.clone()));
        }
        self.due.insert((at, name));
    }

    pub fn unschedule_all(&mut self) {
        self.due.clear();
        for phone in self.phones.values_mut() {
            phone.next = None;
        }
    }
}
