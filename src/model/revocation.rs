//! Which registrations are dead before their time.
//!
//! The list mirrors the store's table, so that opening a token asks no database.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
};

use jid::BareJid;

use crate::model::{
    registration::{Registration, RegistrationKey},
    time::Timestamp,
};

/// What a revocation kills.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// One application on one phone: the phone said that it knows it no longer.
    Registration(RegistrationKey),
    /// Everything of one account: the administrator said so, or its phones said more than is kept
    /// apart.
    Owner(BareJid),
}

/// Kills whatever was issued up to `at`; a later registration lives. Kept until `until`, when the
/// last endpoint concerned would have expired anyway. That of an account by the command line is
/// kept for 100 years: it also covers JWTs that mod_unified_push signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    pub scope: Scope,
    pub at: Timestamp,
    pub until: Timestamp,
}

/// The revocations in force, in memory.
#[derive(Default)]
pub struct RevocationList {
    entries: RwLock<HashMap<Scope, Span>>,
}

#[derive(Clone, Copy)]
struct Span {
    at: Timestamp,
    until: Timestamp,
}

impl RevocationList {
    /// Adds one; of two with the same scope the later instants count. One of a whole account takes
    /// in the earlier ones of its registrations.
    pub fn insert(&self, revocation: Revocation) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        let Revocation { scope, at, until } = revocation;
        if let Scope::Owner(owner) = &scope {
            entries.retain(|other, span| !is_covered(other, owner) || span.at > at);
        }
        let span = entries.entry(scope).or_insert(Span { at, until });
        span.at = span.at.max(at);
        span.until = span.until.max(until);
    }

    /// Forgets what would have expired by itself.
    pub fn purge(&self, now: Timestamp) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|_, span| span.until > now);
    }

    /// Whether a revocation killed it: one of its key or of its whole account that is not older.
    pub fn contains(&self, registration: &Registration) -> bool {
        let at = self.at(|| registration.key());
        at.is_some_and(|at| registration.issued <= at)
    }

    /// When a registration that is made now counts as issued: after every revocation known, else
    /// it would be dead on arrival, as when the clock was set back.
    pub fn issue_time(&self, key: &RegistrationKey, now: Timestamp) -> Timestamp {
        let at = self.at(|| key.clone());
        at.map_or(now, |at| now.after(at))
    }

    /// The latest revocation that concerns a key, which is not built for an empty list.
    fn at(&self, key: impl FnOnce() -> RegistrationKey) -> Option<Timestamp> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        if entries.is_empty() {
            return None;
        }
        let key = key();
        let owner = Scope::Owner(key.owner.clone());
        [Scope::Registration(key), owner]
            .iter()
            .filter_map(|scope| entries.get(scope))
            .map(|span| span.at)
            .max()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.entries
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }
}

fn is_covered(scope: &Scope, account: &BareJid) -> bool {
    match scope {
        Scope::Registration(key) => key.owner == *account,
        Scope::Owner(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use jid::Jid;

    use super::*;
    use crate::model::registration::Digest;

    fn registration(issued: u64) -> Registration {
        Registration {
            owner: Jid::new("romeo@example.org/orchard").unwrap(),
            application: Digest::from_bytes([1; 32]),
            instance: Digest::from_bytes([2; 32]),
            issued: Timestamp::from_secs(issued),
            expires: Timestamp::from_secs(1000),
        }
    }

    fn revocation(scope: Scope, at: u64) -> Revocation {
        Revocation {
            scope,
            at: Timestamp::from_secs(at),
            until: Timestamp::from_secs(1000),
        }
    }

    #[test]
    fn kills_what_was_issued_before_and_spares_a_later_registration() {
        let list = RevocationList::default();
        let key = registration(0).key();
        list.insert(revocation(Scope::Registration(key.clone()), 10));
        assert!(list.contains(&registration(10)));
        assert!(!list.contains(&registration(11)));

        // An older revocation that is learnt late takes nothing back.
        list.insert(revocation(Scope::Registration(key), 5));
        assert!(list.contains(&registration(10)));
    }

    #[test]
    fn an_owners_revocation_takes_in_the_earlier_ones_of_the_account() {
        let list = RevocationList::default();
        let owner = || Scope::Owner(BareJid::new("romeo@example.org").unwrap());
        list.insert(revocation(Scope::Registration(registration(0).key()), 10));
        list.insert(revocation(owner(), 9));
        assert_eq!(list.count(), 2);
        list.insert(revocation(owner(), 10));
        assert_eq!(list.count(), 1);
        assert!(list.contains(&registration(10)));
    }

    #[test]
    fn an_owners_revocation_covers_every_registration_of_the_account_only() {
        let list = RevocationList::default();
        list.insert(revocation(
            Scope::Owner(BareJid::new("romeo@example.org").unwrap()),
            10,
        ));
        assert!(list.contains(&registration(10)));
        let other = Registration {
            owner: Jid::new("juliet@example.org/x").unwrap(),
            ..registration(1)
        };
        assert!(!list.contains(&other));
    }

    #[test]
    fn what_is_issued_at_or_before_a_revocation_by_the_clock_still_lives() {
        let list = RevocationList::default();
        let key = registration(0).key();
        let at = Timestamp::from_secs(10);
        assert_eq!(list.issue_time(&key, at), at);
        list.insert(revocation(Scope::Registration(key.clone()), 10));
        list.insert(revocation(Scope::Owner(key.owner.clone()), 20));
        for now in [5, 20] {
            let issued = list.issue_time(&key, Timestamp::from_secs(now));
            assert_eq!(issued, Timestamp::from_millis(20_001));
            assert!(!list.contains(&Registration {
                issued,
                ..registration(0)
            }));
        }
        let later = Timestamp::from_secs(21);
        assert_eq!(list.issue_time(&key, later), later);
    }

    #[test]
    fn forgets_what_has_expired_by_itself() {
        let list = RevocationList::default();
        list.insert(revocation(Scope::Registration(registration(0).key()), 10));
        list.purge(Timestamp::from_secs(999));
        assert_eq!(list.count(), 1);
        list.purge(Timestamp::from_secs(1000));
        assert_eq!(list.count(), 0);
    }
}
