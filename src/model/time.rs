//! Wall-clock time as a parameter. [`SystemClock`] is the only caller of the system's clock;
//! timeouts use `tokio::time`, which tests can pause.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

#[cfg(test)]
pub use manual::ManualClock;

/// Milliseconds since the Unix epoch.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct Timestamp(u64);

impl Timestamp {
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Whole seconds, rounded down.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    pub fn saturating_add(self, duration: Duration) -> Self {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(millis))
    }

    pub fn saturating_sub(self, duration: Duration) -> Self {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub(millis))
    }

    /// This instant, or the first one after `earlier` if that has not passed.
    pub fn after(self, earlier: Timestamp) -> Self {
        self.max(Self(earlier.0.saturating_add(1)))
    }

    /// How long until `later`; zero when it has passed.
    pub fn until(self, later: Timestamp) -> Duration {
        Duration::from_millis(later.0.saturating_sub(self.0))
    }
}

/// XEP-0082 in UTC, whole seconds, always with `Z`: old phones cannot parse another zone or a
/// fraction. Instants after the year 9999 show as its last second.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LAST: u64 = 253_402_300_799;
        let time = UNIX_EPOCH + Duration::from_secs(self.as_secs().min(LAST));
        humantime::format_rfc3339_seconds(time).fmt(f)
    }
}

/// What tells the time of day.
pub trait Clock: Send + Sync {
    /// May go back when the system's clock is set.
    fn now(&self) -> Timestamp;
}

/// The system's clock.
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the system clock"
    )]
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        // Before 1970 every token counts as not yet expired, which a daemon may survive.
        let millis = since_epoch.unwrap_or_default().as_millis();
        Timestamp(u64::try_from(millis).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod manual {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// A clock that moves only when it is told to.
    pub struct ManualClock(AtomicU64);

    impl ManualClock {
        pub fn new(now: Timestamp) -> Self {
            Self(AtomicU64::new(now.0))
        }

        pub fn advance(&self, by: Duration) {
            self.set(self.now().saturating_add(by));
        }

        pub fn set(&self, now: Timestamp) {
            self.0.store(now.0, Ordering::Relaxed);
        }
    }

    impl Clock for ManualClock {
        fn now(&self) -> Timestamp {
            Timestamp(self.0.load(Ordering::Relaxed))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiration_text_is_what_old_phones_can_parse() {
        let time = Timestamp::from_millis(1_763_835_600_999);
        assert_eq!(time.to_string(), "2025-11-22T18:20:00Z");
    }

    #[test]
    fn far_future_shows_as_the_last_second_of_9999() {
        let time = Timestamp::from_millis(u64::MAX);
        assert_eq!(time.to_string(), "9999-12-31T23:59:59Z");
    }
}
