//! Rates: how they are written, and the limiters that hold callers to them.

use std::{
    fmt,
    hash::{BuildHasher, Hash, RandomState},
    num::NonZeroU32,
    str::FromStr,
    time::Duration,
};

use governor::{
    Quota, RateLimiter, clock::Clock as GovernorClock, middleware::NoOpMiddleware, nanos::Nanos,
    state::keyed::HashMapStateStore,
};
use tokio::time::Instant;

use super::sync::Current;

/// `COUNT/UNIT, burst BURST`, such as `5/s, burst 120`: that many at once, refilled at that pace.
/// Units are s, min, h and d; without a burst it is the count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    count: NonZeroU32,
    unit: Unit,
    burst: NonZeroU32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Second,
    Minute,
    Hour,
    Day,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("write it as \"5/s, burst 120\" (units: s, min, h, d; both numbers at least 1)")]
pub struct RateError;

impl Unit {
    const ALL: [(&'static str, Unit); 4] = [
        ("s", Unit::Second),
        ("min", Unit::Minute),
        ("h", Unit::Hour),
        ("d", Unit::Day),
    ];

    fn duration(self) -> Duration {
        Duration::from_secs(match self {
            Unit::Second => 1,
            Unit::Minute => 60,
            Unit::Hour => 3600,
            Unit::Day => 86400,
        })
    }
}

impl Rate {
    fn quota(self) -> Quota {
        // A count so large that the pause rounds to nothing means no limit that anybody could meet.
        let pause = (self.unit.duration() / self.count.get()).max(Duration::from_nanos(1));
        Quota::with_period(pause)
            .expect("the pause is not zero")
            .allow_burst(self.burst)
    }
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let (pace, burst) = match text.split_once(',') {
            Some((pace, burst)) => (pace, Some(burst)),
            None => (text, None),
        };
        let (count, unit) = pace.trim().split_once('/').ok_or(RateError)?;
        let count = count.trim().parse().map_err(|_| RateError)?;
        let unit = Unit::ALL
            .iter()
            .find(|(name, _)| *name == unit.trim())
            .ok_or(RateError)?
            .1;
        let burst = match burst {
            None => count,
            Some(burst) => burst
                .trim()
                .strip_prefix("burst ")
                .and_then(|number| number.trim().parse().ok())
                .ok_or(RateError)?,
        };
        Ok(Self { count, unit, burst })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = Unit::ALL
            .iter()
            .find(|(_, unit)| *unit == self.unit)
            .map_or("", |(name, _)| name);
        write!(f, "{}/{unit}, burst {}", self.count, self.burst)
    }
}

/// Time for governor from `tokio::time`, which tests can pause.
#[derive(Clone)]
struct TokioClock(Instant);

impl GovernorClock for TokioClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::from(self.0.elapsed())
    }
}

/// How many keys are remembered at most. With more at once everybody is let in: whoever makes up so
/// many must neither fill the memory nor lock the others out.
const MAX_KEYS: usize = 1 << 18;

/// One bucket per key, of which only a hash is kept. Call [`forget_idle`](Self::forget_idle) now and
/// then: keys come from outside.
pub struct Limiter {
    held: Current<Held>,
    hasher: RandomState,
}

/// The rate, and the buckets that hold callers to it.
struct Held {
    rate: Rate,
    /// One map behind one lock: a single thread takes all the pushes.
    buckets: RateLimiter<u64, HashMapStateStore<u64>, TokioClock, NoOpMiddleware<Nanos>>,
}

impl Held {
    fn new(rate: Rate) -> Self {
        let clock = TokioClock(Instant::now());
        Self {
            rate,
            buckets: RateLimiter::hashmap_with_clock(rate.quota(), clock),
        }
    }
}

impl Limiter {
    pub fn new(rate: Rate) -> Self {
        Self {
            held: Current::new(Held::new(rate)),
            hasher: RandomState::new(),
        }
    }

    /// Holds callers to another rate from now on, with full buckets.
    pub fn set_rate(&self, rate: Rate) {
        let same = self.held.read().rate == rate;
        if !same {
            self.held.set(Held::new(rate));
        }
    }

    /// Takes one from the key's bucket; false when it is empty.
    pub fn admit(&self, key: &impl Hash) -> bool {
        let key = self.hasher.hash_one(key);
        let buckets = &self.held.read().buckets;
        buckets.len() >= MAX_KEYS || buckets.check_key(&key).is_ok()
    }

    /// Forgets the keys whose buckets are full again.
    pub fn forget_idle(&self) {
        let buckets = &self.held.read().buckets;
        buckets.retain_recent();
        buckets.shrink_to_fit();
    }

    /// How many keys are remembered.
    #[cfg(test)]
    pub fn keys(&self) -> usize {
        self.held.read().buckets.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_and_shown_alike() {
        for text in [
            "5/s, burst 120",
            "1/min, burst 1",
            "10/h, burst 20",
            "3/d, burst 3",
        ] {
            assert_eq!(Rate::from_str(text).unwrap().to_string(), text);
        }
        assert_eq!(
            Rate::from_str("7/min").unwrap().to_string(),
            "7/min, burst 7"
        );
        for bad in [
            "",
            "5",
            "5/",
            "0/s",
            "5/s, burst 0",
            "5/week",
            "5/s, 120",
            "-1/s",
            "5/s burst 9",
        ] {
            assert_eq!(Rate::from_str(bad), Err(RateError), "{bad:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_then_the_pace_for_each_key_apart() {
        let limiter = Limiter::new("2/s, burst 3".parse().unwrap());
        let admitted = |key: &'static str| (0..10).filter(|_| limiter.admit(&key)).count();
        assert_eq!(admitted("a"), 3);
        assert_eq!(admitted("b"), 3);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(admitted("a"), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn another_rate_is_held_at_once_and_the_same_one_forgets_nothing() {
        let limiter = Limiter::new("1/d, burst 1".parse().unwrap());
        assert!(limiter.admit(&1) && !limiter.admit(&1));
        limiter.set_rate("1/d, burst 1".parse().unwrap());
        assert!(!limiter.admit(&1));
        limiter.set_rate("1/d, burst 2".parse().unwrap());
        assert!(limiter.admit(&1) && limiter.admit(&1) && !limiter.admit(&1));
    }

    #[tokio::test(start_paused = true)]
    async fn idle_keys_are_forgotten() {
        let limiter = Limiter::new("1/s, burst 1".parse().unwrap());
        assert!(limiter.admit(&1) && limiter.keys() == 1);
        tokio::time::advance(Duration::from_secs(5)).await;
        limiter.forget_idle();
        assert_eq!(limiter.keys(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn keys_are_bounded_and_nobody_is_locked_out_by_many() {
        let limiter = Limiter::new("1/d, burst 1".parse().unwrap());
        for key in 0..MAX_KEYS + 10 {
            assert!(limiter.admit(&key));
        }
        assert_eq!(limiter.keys(), MAX_KEYS);
    }
}
