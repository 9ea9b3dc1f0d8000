//! Where the messages of an account begin. Those that were delivered lie below, and cost nothing even
//! while PostgreSQL cannot remove them, because a backup reads or nothing vacuums.

use std::{collections::HashMap, time::Duration};

use jid::BareJid;
use tokio::time::Instant;

use crate::model::sync::Mutex;

/// A floor is looked for anew after this time: if one was ever too high, it would hide a message for
/// no longer.
const TRUSTED: Duration = Duration::from_secs(60);

/// How many are kept; beyond it, all are forgotten.
const MOST: usize = 50_000;

#[derive(Default)]
pub struct Floors {
    floors: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// How often all were forgotten.
    forgotten: u64,
    floors: HashMap<BareJid, Floor>,
}

#[derive(Clone, Copy)]
struct Floor {
    place: i64,
    /// When the account was read from the bottom.
    found: Instant,
}

/// What was known before the database is asked.
pub struct Asked {
    forgotten: u64,
    at: Instant,
}

impl Floors {
    /// The lowest place that each account may have, 0 where that is not known.
    pub fn of<'a>(
        &self,
        accounts: impl IntoIterator<Item = &'a BareJid>,
        now: Instant,
    ) -> (Asked, Vec<i64>) {
        let state = self.floors.lock();
        let floor = |account| match state.floors.get(account) {
            Some(floor) if now < floor.found + TRUSTED => floor.place,
            _ => 0,
        };
        let asked = Asked {
            forgotten: state.forgotten,
            at: now,
        };
        (asked, accounts.into_iter().map(floor).collect())
    }

    /// The lowest place that an account has, of those from `from` on.
    pub fn learn(&self, asked: &Asked, account: &BareJid, from: i64, lowest: i64) {
        let mut state = self.floors.lock();
        if state.forgotten != asked.forgotten {
            return;
        }
        if state.floors.len() >= MOST {
            state.floors.clear();
        }
        if from == 0 {
            let floor = Floor {
                place: lowest,
                found: asked.at,
            };
            state.floors.insert(account.clone(), floor);
        } else if let Some(floor) = state.floors.get_mut(account) {
            floor.place = floor.place.max(lowest);
        }
    }

    /// The database may be another one, whose places are lower: a standby that was behind.
    pub fn forget_all(&self) {
        let mut state = self.floors.lock();
        state.forgotten += 1;
        state.floors.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn romeo() -> BareJid {
        BareJid::new("romeo@example.org").unwrap()
    }

    fn floor(floors: &Floors, now: Instant) -> i64 {
        floors.of([&romeo()], now).1[0]
    }

    #[tokio::test(start_paused = true)]
    async fn a_floor_rises_and_is_looked_for_anew_after_a_minute() {
        let (floors, begun) = (Floors::default(), Instant::now());
        let (asked, _) = floors.of([&romeo()], begun);
        floors.learn(&asked, &romeo(), 0, 5);
        let later = begun + TRUSTED - Duration::from_secs(1);
        let (asked, known) = floors.of([&romeo()], later);
        assert_eq!(known, [5]);
        floors.learn(&asked, &romeo(), 5, 9);
        floors.learn(&asked, &romeo(), 5, 7);
        assert_eq!(floor(&floors, later), 9);
        assert_eq!(floor(&floors, begun + TRUSTED), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_another_server_said_is_not_kept() {
        let (floors, now) = (Floors::default(), Instant::now());
        let (asked, _) = floors.of([&romeo()], now);
        floors.forget_all();
        floors.learn(&asked, &romeo(), 0, 5);
        assert_eq!(floor(&floors, now), 0);
    }
}
