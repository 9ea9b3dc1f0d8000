//! Which resources announced themselves by directed presence.

use std::collections::HashMap;

use jid::{BareJid, Jid};
use prometheus::IntGauge;
use tokio::time::Instant;

use crate::model::sync::Mutex;

/// Bytes of JIDs remembered at most; an announcement beyond it is not.
const CAPACITY: usize = 16 << 20;
/// What one entry costs beside its JID.
const OVERHEAD: usize = 128;
/// Of one account; the one that came first is forgotten.
const RESOURCES: usize = 32;

pub struct Announced {
    known: Mutex<Known>,
    gauge: IntGauge,
}

#[derive(Default)]
struct Known {
    accounts: HashMap<BareJid, Vec<Resource>>,
    bytes: usize,
}

struct Resource {
    jid: Jid,
    /// When it announced itself last.
    at: Instant,
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
        let cost = cost(jid);
        if known.bytes + cost > CAPACITY {
            return;
        }
        let resources = known.accounts.entry(jid.to_bare()).or_default();
        if let Some(resource) = resources.iter_mut().find(|known| known.jid == *jid) {
            resource.at = now;
            return;
        }
        let mut freed = 0;
        if resources.len() == RESOURCES {
            freed = self::cost(&resources.remove(0).jid);
            self.gauge.dec();
        }
        resources.push(Resource {
            jid: jid.clone(),
            at: now,
        });
        known.bytes = known.bytes - freed + cost;
        self.gauge.inc();
    }

    /// Whether this very resource has announced itself since then, as on binding anew.
    pub fn since(&self, jid: &Jid, then: Instant) -> bool {
        let known = self.known.lock();
        let Some(resources) = known.accounts.get(&jid.to_bare()) else {
            return false;
        };
        let mut resources = resources.iter();
        resources.any(|known| known.jid == *jid && known.at >= then)
    }

    pub fn unavailable(&self, jid: &Jid) {
        let mut known = self.known.lock();
        let account = jid.to_bare();
        let Some(resources) = known.accounts.get_mut(&account) else {
            return;
        };
        let Some(index) = resources.iter().position(|known| known.jid == *jid) else {
            return;
        };
        resources.swap_remove(index);
        if resources.is_empty() {
            known.accounts.remove(&account);
        }
        known.bytes -= cost(jid);
        self.gauge.dec();
    }

    /// Another resource of the same account; the one that announced itself last.
    pub fn other_than(&self, jid: &Jid) -> Option<Jid> {
        let known = self.known.lock();
        let resources = known.accounts.get(&jid.to_bare())?;
        let other = resources.iter().rfind(|other| other.jid != *jid)?;
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
    fn memory_is_bounded_by_bytes() {
        let (announced, now) = (announced(), Instant::now());
        let resource = "r".repeat(1000);
        for number in 0..20_000 {
            let jid = jid(&format!("romeo-{number}@example.org/{resource}"));
            announced.available(&jid, now);
        }
        let known = announced.known.lock();
        assert!(known.bytes <= CAPACITY && known.accounts.len() < 17_000);
    }
}
