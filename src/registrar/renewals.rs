//! Renewals of what an account has registered before: they are not refused because the account
//! registers too much that is new.

use std::hash::{BuildHasher, RandomState};

use hashlink::LruCache;

use crate::model::{
    rate::{Limiter, Rate},
    registration::RegistrationKey,
    sync::Mutex,
};

/// How many registrations are remembered, by a hash alone: at most 4 MiB. One that is forgotten
/// counts as new.
const REMEMBERED: usize = 1 << 16;

pub(super) struct Renewals {
    known: Mutex<LruCache<u64, ()>>,
    hasher: RandomState,
    /// Keyed by account.
    rate: Limiter,
}

impl Renewals {
    /// `rate` is what one account may renew beyond its share of all registrations.
    pub fn new(rate: Rate) -> Self {
        Self {
            known: Mutex::new(LruCache::new(REMEMBERED)),
            hasher: RandomState::new(),
            rate: Limiter::new(rate),
        }
    }

    /// Whether this was registered before and may be renewed now.
    pub fn admit(&self, registration: &RegistrationKey) -> bool {
        let hash = self.hasher.hash_one(registration);
        self.known.lock().contains_key(&hash) && self.rate.admit(&registration.owner)
    }

    pub fn remember(&self, registration: &RegistrationKey) {
        let hash = self.hasher.hash_one(registration);
        self.known.lock().insert(hash, ());
    }

    pub fn set_rate(&self, rate: Rate) {
        self.rate.set_rate(rate);
    }

    pub fn forget_idle(&self) {
        self.rate.forget_idle();
    }
}

#[cfg(test)]
mod tests {
    use jid::BareJid;

    use super::*;
    use crate::model::registration::Digest;

    #[test]
    fn only_the_latest_are_remembered() {
        let renewals = Renewals::new("1/s, burst 9".parse().unwrap());
        let of = |number: usize| {
            let mut application = [0; 32];
            application[..8].copy_from_slice(&number.to_be_bytes());
            RegistrationKey {
                owner: BareJid::new("romeo@example.org").unwrap(),
                application: Digest::from_bytes(application),
                instance: Digest::from_bytes([2; 32]),
            }
        };
        for number in 0..=REMEMBERED {
            renewals.remember(&of(number));
        }
        assert_eq!(renewals.known.lock().len(), REMEMBERED);
        assert!(!renewals.admit(&of(0)));
        assert!(renewals.admit(&of(1)) && renewals.admit(&of(REMEMBERED)));
    }
}
