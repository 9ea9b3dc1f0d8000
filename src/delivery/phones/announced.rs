//! Which resources announced themselves by directed presence.

use std::collections::{BTreeMap, HashMap};

use jid::{BareJid, Jid};
use prometheus::IntGauge;
use tokio::time::Instant;

use crate::model::sync::Mutex;

/// Bytes of JIDs remembered at most. Beyond it, the domains with the most give way to the others.
const CAPACITY: usize = 16 << 20;
/// What is left when they have, so that it does not come to that with each announcement.
const ENOUGH: usize = CAPACITY / 16 * 15;
/// What one entry costs beside its JID, which is kept as part of its account's and domain's names, too.
const OVERHEAD: usize = 256;
/// Of one account; the one that came first is forgotten.
const RESOURCES: usize = 32;

pub struct Announced {
    known: Mutex<Known>,
    gauge: IntGauge,
}

#[derive(Default)]
struct Known {
    accounts: HashMap<BareJid, Account>,
    domains: HashMap<String, Domain>,
    bytes: usize,
    resources: i64,
    /// Of announcements.
    count: u64,
}

#[derive(Default)]
struct Account {
    resources: Vec<Resource>,
    /// Which announcement was its last.
    last: u64,
}

/// What the accounts of a domain have.
#[derive(Default)]
struct Domain {
    bytes: usize,
    /// Its accounts, by their last announcements.
    accounts: BTreeMap<u64, BareJid>,
}

struct Resource {
    jid: Jid,
    /// When it announced itself last.
    at: Instant,
}

impl Known {
    fn add(&mut self, jid: &Jid, now: Instant) {
        self.count += 1;
        let bare = jid.to_bare();
        let domain = self.domains.entry(bare.domain().to_string()).or_default();
        let account = self.accounts.entry(bare.clone()).or_default();
        domain.accounts.remove(&account.last);
        domain.accounts.insert(self.count, bare);
        account.last = self.count;
        let resources = &mut account.resources;
        if let Some(known) = resources.iter_mut().find(|known| known.jid == *jid) {
            known.at = now;
            return;
        }
        let mut freed = 0;
        if resources.len() == RESOURCES {
            freed = cost(&resources.remove(0).jid);
            self.resources -= 1;
        }
        resources.push(Resource {
            jid: jid.clone(),
            at: now,
        });
        self.resources += 1;
        domain.bytes = domain.bytes + cost(jid) - freed;
        self.bytes = self.bytes + cost(jid) - freed;
    }

    fn remove_account(&mut self, bare: &BareJid) {
        let Some(account) = self.accounts.remove(bare) else {
            return;
        };
        self.resources -= account.resources.len() as i64;
        let freed = account.resources.iter().map(|known| cost(&known.jid)).sum();
        self.give_back(bare, freed);
        if let Some(domain) = self.domains.get_mut(bare.domain().as_str()) {
            domain.accounts.remove(&account.last);
            if domain.accounts.is_empty() {
                self.domains.remove(bare.domain().as_str());
            }
        }
    }

    fn give_back(&mut self, bare: &BareJid, bytes: usize) {
        self.bytes -= bytes;
        if let Some(domain) = self.domains.get_mut(bare.domain().as_str()) {
            domain.bytes -= bytes;
        }
    }

    /// Takes the oldest announcements of the domains that have most, down to one share for all of them.
    fn make_room(&mut self) {
        let share = share(self.domains.values().map(|domain| domain.bytes).collect());
        let greedy = self.domains.iter().filter(|(_, it)| it.bytes > share);
        let mut greedy: Vec<_> = greedy
            .map(|(name, domain)| (domain.accounts.keys().next().copied(), name.clone()))
            .collect();
        greedy.sort_unstable();
        for (_, name) in greedy {
            while self.bytes > ENOUGH
                && let Some(domain) = self.domains.get(&name)
                && domain.bytes > share
                && let Some((_, oldest)) = domain.accounts.first_key_value()
            {
                let oldest = oldest.clone();
                self.remove_account(&oldest);
            }
        }
    }
}

/// The bytes that each may have so that all of them together have enough: who has less keeps it.
fn share(mut sizes: Vec<usize>) -> usize {
    sizes.sort_unstable();
    let mut left = ENOUGH;
    let count = sizes.len();
    for (index, size) in sizes.into_iter().enumerate() {
        let each = left / (count - index);
        if size > each {
            return each;
        }
        left -= size;
    }
    usize::MAX
}

impl Announced {
    pub fn new(gauge: IntGauge) -> Self {
        Self {
            known: Mutex::default(),
            gauge,
        }
    }

    pub fn available(&self, jid: &Jid, now: Instant) {
        let mut known = self.known.lock();
        known.add(jid, now);
        if known.bytes > CAPACITY {
            known.make_room();
        }
        self.gauge.set(known.resources);
    }

    /// Whether this very resource has announced itself since then, as on binding anew.
    pub fn since(&self, jid: &Jid, then: Instant) -> bool {
        let known = self.known.lock();
        let Some(account) = known.accounts.get(&jid.to_bare()) else {
            return false;
        };
        let mut resources = account.resources.iter();
        resources.any(|known| known.jid == *jid && known.at >= then)
    }

    pub fn unavailable(&self, jid: &Jid) {
        let mut known = self.known.lock();
        let bare = jid.to_bare();
        let Some(account) = known.accounts.get_mut(&bare) else {
            return;
        };
        let resources = &mut account.resources;
        let Some(index) = resources.iter().position(|known| known.jid == *jid) else {
            return;
        };
        if resources.len() == 1 {
            known.remove_account(&bare);
        } else {
            resources.swap_remove(index);
            known.resources -= 1;
            known.give_back(&bare, cost(jid));
        }
        self.gauge.set(known.resources);
    }

    /// Another resource of the same account; the one that announced itself last.
    pub fn other_than(&self, jid: &Jid) -> Option<Jid> {
        let known = self.known.lock();
        let account = known.accounts.get(&jid.to_bare())?;
        let other = account.resources.iter().rfind(|other| other.jid != *jid)?;
        Some(other.jid.clone())
    }

    /// The link is gone, and with it the news of who leaves.
    pub fn forget_all(&self) {
        *self.known.lock() = Known::default();
        self.gauge.set(0);
    }
}

fn cost(jid: &Jid) -> usize {
    jid.as_str().len() + OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jid(text: &str) -> Jid {
        Jid::new(text).unwrap()
    }

    fn announced() -> Announced {
        Announced::new(IntGauge::new("phones", "test").unwrap())
    }

    #[test]
    fn come_and_go_once_each() {
        let (announced, now) = (announced(), Instant::now());
        announced.available(&jid("romeo@example.org/a"), now);
        announced.available(&jid("romeo@example.org/a"), now);
        announced.available(&jid("romeo@example.org/b"), now);
        assert_eq!(announced.gauge.get(), 2);
        announced.unavailable(&jid("romeo@example.org/a"));
        announced.unavailable(&jid("romeo@example.org/a"));
        assert_eq!(announced.gauge.get(), 1);
        announced.unavailable(&jid("romeo@example.org/b"));
        let known = announced.known.lock();
        assert!(known.accounts.is_empty() && known.bytes == 0);
    }

    #[test]
    fn another_resource_is_one_of_the_same_account() {
        let (announced, now) = (announced(), Instant::now());
        let phone = jid("romeo@example.org/a");
        announced.available(&phone, now);
        announced.available(&jid("juliet@example.org/b"), now);
        assert_eq!(announced.other_than(&phone), None);
        announced.available(&jid("romeo@example.org/b"), now);
        announced.available(&jid("romeo@example.org/c"), now);
        let other = announced.other_than(&phone);
        assert_eq!(other, Some(jid("romeo@example.org/c")));
        announced.forget_all();
        assert_eq!(announced.other_than(&phone), None);
        assert_eq!(announced.gauge.get(), 0);
    }

    #[test]
    fn one_domain_cannot_fill_the_table_for_good() {
        let (announced, now) = (announced(), Instant::now());
        let ours = jid("romeo@example.org/a");
        announced.available(&ours, now);
        let resource = "r".repeat(1000);
        for number in 0..20_000 {
            let jid = jid(&format!("eve{number}@evil.example/{resource}"));
            announced.available(&jid, now);
        }
        announced.available(&jid("romeo@example.org/b"), now);
        assert!(announced.other_than(&ours).is_some());
        let newest = jid(&format!("eve19999@evil.example/{resource}"));
        let oldest = jid(&format!("eve0@evil.example/{resource}"));
        assert!(announced.since(&newest, now) && !announced.since(&oldest, now));

        // Whoever has many domains gets a share with each.
        for number in 0..20_000 {
            let jid = jid(&format!("eve@{number}.example/{resource}"));
            announced.available(&jid, now);
        }
        assert!(announced.other_than(&ours).is_some());
        let known = announced.known.lock();
        assert!(known.bytes <= CAPACITY && known.resources > 10_000);
        assert_eq!(announced.gauge.get(), known.resources);
        let resources = known
            .accounts
            .values()
            .map(|account| account.resources.len());
        assert_eq!(resources.sum::<usize>() as i64, known.resources);
        let bytes: usize = known.domains.values().map(|domain| domain.bytes).sum();
        assert_eq!(bytes, known.bytes);
    }

    #[test]
    fn shares_leave_small_ones_alone() {
        assert_eq!(share(vec![1, ENOUGH / 2]), usize::MAX);
        assert_eq!(share(vec![ENOUGH * 2, 10]), ENOUGH - 10);
        assert_eq!(share(vec![ENOUGH, ENOUGH, ENOUGH]), ENOUGH / 3);
    }
}
