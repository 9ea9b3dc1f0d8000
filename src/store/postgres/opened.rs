//! Registrations that were looked up a moment ago: one that gets many pushes costs no round trip.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use crate::{
    model::sync::Mutex,
    store::registrations::{Found, TokenHash},
};

/// What another replica has renewed or revoked is seen within this time.
const FRESH: Duration = Duration::from_millis(900);

/// How many are kept; beyond it, all are forgotten.
const MOST: usize = 10_000;

#[derive(Default)]
pub struct LatelyFound {
    found: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// How often what is known has changed.
    changes: u64,
    found: HashMap<[u8; 32], (Instant, Found)>,
}

impl LatelyFound {
    /// If it was looked up lately; and what is to be handed to [`put`](Self::put).
    pub fn get(&self, id: &TokenHash, now: Instant) -> Result<Found, u64> {
        let state = self.found.lock();
        match state.found.get(id.as_bytes()) {
            Some((at, found)) if now < *at + FRESH => Ok(found.clone()),
            _ => Err(state.changes),
        }
    }

    /// Looked up at `asked`, unless something has changed since.
    pub fn put(&self, id: &TokenHash, found: &Found, asked: Instant, changes: u64) {
        let mut state = self.found.lock();
        if state.found.len() >= MOST {
            state.found.clear();
        }
        if state.changes == changes {
            state.found.insert(*id.as_bytes(), (asked, found.clone()));
        }
    }

    /// This replica has changed a registration, or learned that another one has.
    pub fn forget_all(&self) {
        let mut state = self.found.lock();
        state.changes += 1;
        state.found.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        registration::{Digest, Registration},
        time::Timestamp,
    };

    const ID: TokenHash = TokenHash::from_bytes([1; 32]);

    fn found() -> Found {
        let digest = Digest::from_bytes([7; 32]);
        Found {
            registration: Registration {
                owner: jid::Jid::new("romeo@example.org/orchard").unwrap(),
                application: digest,
                instance: digest,
                issued: Timestamp::from_secs(1),
                expires: Timestamp::from_secs(2),
            },
            signer: None,
            revoked: false,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_looked_up_is_known_for_less_than_a_second() {
        let (lately, begun) = (LatelyFound::default(), Instant::now());
        let changes = lately.get(&ID, begun).unwrap_err();
        lately.put(&ID, &found(), begun, changes);
        assert_eq!(
            lately.get(&ID, begun + FRESH - Duration::from_millis(1)),
            Ok(found())
        );
        assert!(lately.get(&ID, begun + FRESH).is_err());
        assert!(FRESH < Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn what_changes_during_a_look_up_is_not_kept() {
        let (lately, now) = (LatelyFound::default(), Instant::now());
        let changes = lately.get(&ID, now).unwrap_err();
        lately.forget_all();
        lately.put(&ID, &found(), now, changes);
        assert!(lately.get(&ID, now).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_is_seen_at_once_where_it_was_made() {
        let (lately, now) = (LatelyFound::default(), Instant::now());
        let changes = lately.get(&ID, now).unwrap_err();
        lately.put(&ID, &found(), now, changes);
        lately.forget_all();
        assert!(lately.get(&ID, now).is_err());
    }
}
