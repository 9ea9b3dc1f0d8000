//! Which phones announced themselves by directed presence.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use jid::Jid;
use prometheus::IntGauge;

/// Bytes of JIDs remembered at most; an announcement beyond it is not.
const CAPACITY: usize = 16 << 20;
/// What one entry costs beside its JID.
const OVERHEAD: usize = 64;

pub struct Phones {
    known: Mutex<Known>,
    gauge: IntGauge,
}

#[derive(Default)]
struct Known {
    jids: HashSet<Jid>,
    bytes: usize,
}

impl Phones {
    pub fn new(gauge: IntGauge) -> Self {
        Self {
            known: Mutex::default(),
            gauge,
        }
    }

    pub fn available(&self, jid: &Jid) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let cost = cost(jid);
        if known.bytes + cost <= CAPACITY && known.jids.insert(jid.clone()) {
            known.bytes += cost;
            self.gauge.inc();
        }
    }

    pub fn unavailable(&self, jid: &Jid) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.jids.remove(jid) {
            known.bytes -= cost(jid);
            self.gauge.dec();
        }
    }

    /// The link is gone, and with it the news of who leaves.
    pub fn forget_all(&self) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Known::default();
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

    fn phones() -> Phones {
        Phones::new(IntGauge::new("phones", "test").unwrap())
    }

    #[test]
    fn come_and_go_once_each() {
        let phones = phones();
        phones.available(&jid("romeo@example.org/a"));
        phones.available(&jid("romeo@example.org/a"));
        phones.available(&jid("romeo@example.org/b"));
        assert_eq!(phones.gauge.get(), 2);
        phones.unavailable(&jid("romeo@example.org/a"));
        phones.unavailable(&jid("romeo@example.org/a"));
        assert_eq!(phones.gauge.get(), 1);
        phones.forget_all();
        assert_eq!(phones.gauge.get(), 0);
    }

    #[test]
    fn memory_is_bounded_by_bytes() {
        let phones = phones();
        let resource = "r".repeat(1000);
        for number in 0..40_000 {
            phones.available(&jid(&format!("romeo@example.org/{number}{resource}")));
        }
        let known = phones.known.lock().unwrap();
        assert!(known.bytes <= CAPACITY && known.jids.len() < 17_000);
    }
}
