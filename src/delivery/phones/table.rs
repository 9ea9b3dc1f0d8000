//! What is known of each phone that messages wait for, and in which order the phones are due.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
    time::Duration,
};

use jid::Jid;
use tokio::time::Instant;

use super::{First, HOLD, Held, LEAST_PAUSE};
use crate::store::Overtaken;

/// A full JID.
pub type Name = Arc<str>;

#[derive(Default)]
pub struct Table {
    pub phones: BTreeMap<Name, Phone>,
    /// Every phone whose turn has a time, by that time.
    due: BTreeSet<(Instant, Name)>,
    /// The phones whose resource is not there: another one of the account stands in.
    gone: BTreeSet<Name>,
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
    pub first: First,
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

/// How many phones are woken at once for whoever stands in for them: an account may have very many. When
/// one of them was served, the next are woken.
const WOKEN_AT_ONCE: usize = 32;

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
        self.first.held = self.first.held.into_iter().chain(held).min();
    }

    /// The latest push counts of each topic; of a phone with very many topics the earlier ones are
    /// given up.
    pub fn overtake(&mut self, overtaken: Overtaken) {
        const MOST: usize = 32;
        let known = &mut self.first.overtaken;
        let same =
            |of: &Overtaken| of.endpoint == overtaken.endpoint && of.topic == overtaken.topic;
        match known.iter_mut().find(|known| same(known)) {
            Some(known) => known.before = known.before.max(overtaken.before),
            None => {
                if known.len() == MOST {
                    known.remove(0);
                }
                known.push(overtaken);
            }
        }
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

/// Where the full JIDs of the same account are.
fn resources_of(phone: &Jid) -> Range<Name> {
    let bare = phone.to_bare();
    // A resource starts after the slash, and '0' is the character after that.
    format!("{bare}/").into()..format!("{bare}0").into()
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
        self.gone.remove(phone);
        if let Some((name, removed)) = self.phones.remove_entry(phone)
            && let Some(at) = removed.next()
        {
            self.due.remove(&(at, name));
        }
    }

    pub fn is_gone(&self, phone: &str) -> bool {
        self.gone.contains(phone)
    }

    /// Enters the phone.
    pub fn set_gone(&mut self, phone: &Jid, gone: bool) {
        self.enter(phone);
        match gone {
            true => self.gone.insert(phone.as_str().into()),
            false => self.gone.remove(phone.as_str()),
        };
    }

    /// Every known resource of the same account.
    pub fn account_of(&self, phone: &Jid) -> Vec<Name> {
        let bare = self.phones.get_key_value(phone.to_bare().as_str());
        let resources = self.phones.range(resources_of(phone));
        let known = bare.into_iter().chain(resources);
        known.map(|(name, _)| name.clone()).collect()
    }

    /// Whether there is any.
    pub fn knows_account_of(&self, phone: &Jid) -> bool {
        let mut resources = self.phones.range(resources_of(phone));
        resources.next().is_some() || self.phones.contains_key(phone.to_bare().as_str())
    }

    /// Some resources of the same account that are gone.
    fn gone_beside(&self, phone: &Jid) -> Vec<Name> {
        let bare = self.gone.get(phone.to_bare().as_str());
        let resources = self.gone.range(resources_of(phone));
        let gone = bare.into_iter().chain(resources);
        gone.take(WOKEN_AT_ONCE).cloned().collect()
    }

    /// A phone spoke, so it is there.
    pub fn wake(&mut self, phone: &str, now: Instant) {
        if let Some(known) = self.phones.get_mut(phone) {
            known.wake();
            self.gone.remove(phone);
            self.schedule(phone, now);
        }
    }

    /// This phone stands in for those of its account that are gone.
    pub fn wake_gone_beside(&mut self, phone: &Jid, now: Instant, held: Option<Held>) {
        for name in self.gone_beside(phone) {
            if let Some(other) = self.phones.get_mut(&name) {
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

    /// The phones that left a message unanswered no longer ago than this.
    pub fn quiet_since(&self, now: Instant, ago: Duration) -> Vec<Jid> {
        let lately = |phone: &Phone| phone.next().is_some_and(|at| at + ago >= now + HOLD);
        let quiet = |phone: &Phone| phone.rest == Rest::Quiet && lately(phone);
        let quiet = self.phones.iter().filter(|(_, phone)| quiet(phone));
        quiet.filter_map(|(name, _)| Jid::new(name).ok()).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn romeo(resource: u32) -> Jid {
        Jid::new(&format!("romeo@example.org/{resource}")).unwrap()
    }

    /// Takes out all that are due.
    fn due(table: &mut Table, now: Instant) -> Vec<Jid> {
        std::iter::from_fn(|| table.pop(now)).collect()
    }

    #[test]
    fn presence_costs_no_more_however_many_resources_wait() {
        let (mut table, now) = (Table::default(), Instant::now());
        table.link_up = true;
        let later = now + LEAST_PAUSE;
        for resource in 0..1000 {
            table.enter(&romeo(resource)).rest = Rest::Quiet;
            table.schedule(romeo(resource).as_str(), later);
        }
        let newcomer = romeo(5000);
        table.wake_gone_beside(&newcomer, now, Some(Held::All));
        assert!(due(&mut table, now).is_empty(), "they may be there");

        for resource in 0..1000 {
            table.set_gone(&romeo(resource), true);
        }
        let mut served = 0;
        loop {
            table.wake_gone_beside(&newcomer, now, Some(Held::All));
            let woken = due(&mut table, now);
            assert!(woken.len() <= WOKEN_AT_ONCE, "{}", woken.len());
            if woken.is_empty() {
                break;
            }
            served += woken.len();
            for phone in woken {
                table.remove(phone.as_str());
            }
        }
        assert_eq!(served, 1000, "each has its turn");
        assert!(table.gone.is_empty());
        assert!(!table.knows_account_of(&newcomer));
    }

    #[test]
    fn a_resource_that_speaks_is_not_gone() {
        let (mut table, now) = (Table::default(), Instant::now());
        table.set_gone(&romeo(1), true);
        assert!(table.is_gone(romeo(1).as_str()) && table.knows_account_of(&romeo(2)));
        table.wake(romeo(1).as_str(), now);
        assert!(!table.is_gone(romeo(1).as_str()));
        assert!(table.gone_beside(&romeo(2)).is_empty());
    }
}
