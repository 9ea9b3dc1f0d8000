//! How many messages of an account there are at most. Whoever has counted them once adds what has come
//! since; what was deleted since is counted still, until the caps are near or something has expired.

use std::{collections::HashMap, time::Duration};

use jid::BareJid;
use tokio::time::Instant;

use crate::model::{sync::Mutex, time::Timestamp};

/// All are counted anew after this time: if a tally was ever too low, it is not for longer.
const TRUSTED: Duration = Duration::from_secs(60);

/// How many are kept; beyond it, all are forgotten.
const MOST: usize = 50_000;

#[derive(Default)]
pub struct Tallies {
    tallies: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// How often all were forgotten.
    forgotten: u64,
    tallies: HashMap<BareJid, Tally>,
}

/// Of one account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// At least as many as there are up to the highest place.
    pub messages: u64,
    /// What has come since lies above.
    pub highest: i64,
    /// When the first of them expires.
    pub soonest: Timestamp,
    /// When all were counted.
    pub counted: Instant,
}

impl Tally {
    /// From here on lies what came after it.
    pub fn end(self) -> i64 {
        self.highest.saturating_add(1)
    }

    /// With what came after it.
    pub fn and(self, later: Self) -> Self {
        Self {
            messages: self.messages + later.messages,
            highest: self.highest.max(later.highest),
            soonest: self.soonest.min(later.soonest),
            counted: self.counted.min(later.counted),
        }
    }
}

/// How many come in, and the least of what their senders say may wait.
#[derive(Clone, Copy)]
pub struct Arriving {
    many: u64,
    cap: u32,
}

impl Default for Arriving {
    fn default() -> Self {
        Self {
            many: 0,
            cap: u32::MAX,
        }
    }
}

impl Arriving {
    pub fn add(&mut self, cap: u32) {
        self.many += 1;
        self.cap = cap.min(self.cap);
    }

    /// How many are too many beside those that are there.
    pub fn excess(self, there: u64) -> u64 {
        (there + self.many).saturating_sub(u64::from(self.cap))
    }

    pub fn fits(self, there: u64) -> bool {
        self.excess(there) == 0
    }
}

/// How often all were forgotten before the database was asked.
#[derive(Clone, Copy, Default)]
pub struct Asked(u64);

impl Tallies {
    pub fn of<'a>(
        &self,
        accounts: impl IntoIterator<Item = &'a BareJid>,
        now: Instant,
    ) -> (Asked, Vec<Option<Tally>>) {
        let state = self.tallies.lock();
        let tally = |account| {
            let known = state.tallies.get(account).copied();
            known.filter(|tally| now < tally.counted + TRUSTED)
        };
        (
            Asked(state.forgotten),
            accounts.into_iter().map(tally).collect(),
        )
    }

    /// What was just committed.
    pub fn learn(&self, asked: Asked, tallies: impl IntoIterator<Item = (BareJid, Tally)>) {
        let mut state = self.tallies.lock();
        if state.forgotten != asked.0 {
            return;
        }
        for (account, tally) in tallies {
            if state.tallies.len() >= MOST {
                state.tallies.clear();
            }
            state.tallies.insert(account, tally);
        }
    }

    /// The database may be another one, whose places are lower: a standby that was behind.
    pub fn forget_all(&self) {
        let mut state = self.tallies.lock();
        state.forgotten += 1;
        state.tallies.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn romeo() -> BareJid {
        BareJid::new("romeo@example.org").unwrap()
    }

    fn tally(counted: Instant) -> Tally {
        Tally {
            messages: 5,
            highest: 70,
            soonest: Timestamp::from_secs(9),
            counted,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn all_are_counted_anew_after_a_minute() {
        let (tallies, begun) = (Tallies::default(), Instant::now());
        let (asked, known) = tallies.of([&romeo()], begun);
        assert_eq!(known, [None]);
        tallies.learn(asked, [(romeo(), tally(begun))]);
        let later = begun + TRUSTED - Duration::from_secs(1);
        assert_eq!(tallies.of([&romeo()], later).1, [Some(tally(begun))]);
        assert_eq!(tallies.of([&romeo()], begun + TRUSTED).1, [None]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_another_server_said_is_not_kept() {
        let (tallies, now) = (Tallies::default(), Instant::now());
        let (asked, _) = tallies.of([&romeo()], now);
        tallies.forget_all();
        tallies.learn(asked, [(romeo(), tally(now))]);
        assert_eq!(tallies.of([&romeo()], now).1, [None]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_came_later_is_added() {
        let now = Instant::now();
        let later = Tally {
            messages: 2,
            highest: 90,
            soonest: Timestamp::from_secs(7),
            counted: now + Duration::from_secs(1),
        };
        let both = tally(now).and(later);
        assert_eq!((both.messages, both.highest), (7, 90));
        assert_eq!((both.soonest, both.counted), (later.soonest, now));
    }
}
