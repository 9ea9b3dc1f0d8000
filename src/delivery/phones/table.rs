//! The phones that messages wait for, and in which order they are due.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::{
        Bound::{Excluded, Unbounded},
        Range,
    },
    sync::Arc,
    time::Duration,
};

use jid::Jid;
use tokio::time::Instant;

use super::{
    HOLD, Held, PACE,
    phone::{Meanwhile, Phone, Rest, Turn},
};
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
    /// How many pushes each is being sent past what the store may have.
    pub passing: HashMap<Name, u32>,
    /// Of the first attempts after the link has come back.
    tour: Option<Tour>,
    pub link_up: bool,
    pub links_lost: u64,
}

/// Goes through the phones in their order. To give each its time at once would take long when very many
/// wait, and memory.
struct Tour {
    /// Whose turn was last.
    last: Option<Name>,
    /// When the next one's is.
    at: Instant,
}

/// How many phones are woken at once for whoever stands in for them: an account may have very many. When
/// one of them was served, the next are woken.
const WOKEN_AT_ONCE: usize = 32;

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

    /// It left a message unanswered. Without a link none is left alone: it is tried when there is one.
    pub fn leave_quiet(&mut self, phone: &Jid, until: Instant) {
        let link_up = self.link_up;
        let known = self.enter(phone);
        if link_up {
            known.leave_alone(Rest::Quiet);
            self.schedule(phone.as_str(), until);
        }
    }

    /// A temporary error.
    pub fn fail(&mut self, phone: &Jid, now: Instant) -> &Phone {
        let link_up = self.link_up;
        let known = self.enter(phone);
        match link_up {
            true => known.fail(now),
            false => known.count_failure(),
        }
        known
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
        let tour = self.tour.iter().map(|tour| tour.at);
        self.first_scheduled().into_iter().chain(tour).min()
    }

    fn first_scheduled(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Takes the phone that is due first. It has no other turn until [`Phone::end_turn`].
    pub fn pop(&mut self, now: Instant) -> Option<Jid> {
        while self.first_due().is_some_and(|at| at <= now) {
            let scheduled = self.first_scheduled();
            let name = match self.tour.take() {
                Some(tour) if scheduled.is_none_or(|at| tour.at <= at) => self.go_on(tour),
                tour => {
                    self.tour = tour;
                    self.due.pop_first().map(|(_, name)| name)
                }
            };
            if let Some(name) = name
                && let Some(phone) = self.phones.get_mut(&name)
                && let Ok(jid) = Jid::new(&name)
            {
                phone.turn = Turn::Trying(Meanwhile::default());
                phone.asked = true;
                return Some(jid);
            }
        }
        None
    }

    /// The link is up: every phone that waits is tried once, paced.
    pub fn begin_tour(&mut self, at: Instant) {
        let tour = Tour { last: None, at };
        self.tour = (!self.phones.is_empty()).then_some(tour);
    }

    /// The next phone of a tour; None when that one is to be tried at another time.
    fn go_on(&mut self, tour: Tour) -> Option<Name> {
        let last = tour.last.as_deref().map_or(Unbounded, Excluded);
        let mut phones = self.phones.range::<str, _>((last, Unbounded));
        let (name, phone) = phones.next()?;
        let (name, its_turn) = (name.clone(), phone.is_to_be_toured());
        let scheduled = phone.next();
        if phones.next().is_some() {
            self.tour = Some(Tour {
                last: Some(name.clone()),
                at: tour.at + PACE,
            });
        }
        if let Some(at) = scheduled.filter(|_| its_turn) {
            self.due.remove(&(at, name.clone()));
        }
        its_turn.then_some(name)
    }

    /// When a phone is tried, at the earliest; None when it has no time.
    pub fn next_turn(&self, phone: &str) -> Option<Instant> {
        let known = self.get(phone)?;
        let tour = self.tour.iter().filter(|tour| {
            known.is_to_be_toured() && tour.last.as_deref().is_none_or(|last| last < phone)
        });
        let tour = tour.map(|tour| tour.at);
        known.next().into_iter().chain(tour).min()
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
        let at = phone.not_before().map_or(at, |earliest| earliest.max(at));
        if !self.link_up || phone.is_being_tried() {
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

    /// The phones that may have left a message unanswered no longer ago than this, and those whose topics
    /// were overtaken.
    pub fn asked_since(&self, now: Instant, ago: Duration) -> Vec<(Jid, Vec<Overtaken>)> {
        // While it is left alone, nothing is sent to it.
        let is_long_ago = |phone: &Phone| match (phone.rest, phone.next()) {
            (Rest::Quiet, Some(at)) => at + ago < now + HOLD,
            (Rest::Failing, Some(_)) => phone.not_before().is_some_and(|at| at + ago < now),
            _ => false,
        };
        let asked = self.phones.iter().filter(|(_, phone)| {
            phone.asked && !is_long_ago(phone) || !phone.overtaken().is_empty()
        });
        let jids = asked.map(|(name, phone)| Ok((Jid::new(name)?, phone.overtaken().to_vec())));
        jids.filter_map(Result::<_, jid::Error>::ok).collect()
    }

    /// Nobody can be reached, so no turn has a time.
    pub fn link_down(&mut self, doubtful: Held) {
        self.link_up = false;
        self.links_lost += 1;
        self.tour = None;
        self.due.clear();
        for phone in self.phones.values_mut() {
            phone.link_down(doubtful);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::LEAST_PAUSE, *};
    use crate::model::time::Timestamp;

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
        let held = Some(Held::until(Timestamp::from_secs(100)));
        table.wake_gone_beside(&newcomer, now, held);
        assert!(due(&mut table, now).is_empty(), "they may be there");

        for resource in 0..1000 {
            table.set_gone(&romeo(resource), true);
        }
        let mut served = 0;
        loop {
            table.wake_gone_beside(&newcomer, now, held);
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
    fn a_tour_tries_each_once_and_keeps_no_times() {
        let (mut table, now) = (Table::default(), Instant::now());
        for resource in 0..9 {
            table.enter(&romeo(resource)).kept = true;
        }
        table.link_up = true;
        table.begin_tour(now);
        assert!(table.due.is_empty(), "however many wait");
        assert_eq!(table.next_turn(romeo(8).as_str()), Some(now));

        // One speaks, for one a message is being stored, and one is away.
        table.wake(romeo(5).as_str(), now);
        table.enter(&romeo(6)).writing = 1;
        table.leave_quiet(&romeo(7), now + HOLD);
        // What waits for this one is another's at the moment, who may give it back.
        table.schedule(romeo(8).as_str(), now + HOLD);
        assert_eq!(table.pop(now), Some(romeo(0)));
        assert_eq!(table.pop(now), Some(romeo(5)));
        assert_eq!(table.pop(now), None, "they are paced");
        let rest = [1, 2, 3, 4, 8].map(romeo);
        assert_eq!(due(&mut table, now + PACE * 8), rest);
        assert_eq!(table.first_due(), Some(now + HOLD));
        assert_eq!(due(&mut table, now + HOLD), [romeo(7)]);
        assert_eq!(table.first_due(), None);
    }

    /// A million may wait.
    #[test]
    fn a_phone_takes_little_memory() {
        assert!(size_of::<Phone>() <= 32, "{}", size_of::<Phone>());
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
