//! The time of day as a parameter. [`SystemClock`] is the only caller of the system's clock;
//! timeouts use `tokio::time`, which tests can pause.

use std::{
    fmt, fs,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::time::{ClockId, clock_gettime};

#[cfg(test)]
pub use manual::{ManualClock, ManualSource};

/// The beginning of the year of this version's release, 2026: a clock that says less is wrong. To be
/// brought up to date with the version; a test sees to it. No build's own date, so that whoever builds
/// the same source gets the same program.
pub const RELEASED: Timestamp = Timestamp::from_secs(1_767_225_600);

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

    /// So many milliseconds later, or earlier.
    pub fn shifted(self, millis: i64) -> Self {
        Self(self.0.saturating_add_signed(millis))
    }

    /// How many milliseconds later than `earlier`; negative when it is not later.
    pub fn millis_since(self, earlier: Self) -> i64 {
        let signed = |time: Self| i64::try_from(time.0).unwrap_or(i64::MAX);
        signed(self) - signed(earlier)
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

/// What tells the time. There are two: the time that everything kept is counted by, and the time that
/// others are told. They are the same unless somebody sets the system's clock; see
/// [`Timekeeper`](super::timekeeper::Timekeeper).
pub trait Clock: Send + Sync {
    /// The present time, as everything that is kept counts it.
    fn now(&self) -> Timestamp;

    /// Whether [`now`](Self::now) is known. Until it is, nothing may be dated.
    fn has_begun(&self) -> bool {
        true
    }

    /// The time that others are told now: what the system's clock says. None while that is
    /// certainly wrong.
    fn wall(&self) -> Option<Timestamp> {
        Some(self.now())
    }

    /// An instant as others are told.
    fn to_wall(&self, time: Timestamp) -> Timestamp {
        time
    }

    /// What others were told, when our time was `told_at`, as an instant of ours.
    fn to_ours(&self, told: Timestamp, _told_at: Timestamp) -> Timestamp {
        told
    }
}

/// What a computer knows about time.
pub trait TimeSource: Send + Sync {
    /// The time of day. Goes back, or leaps, when somebody sets it.
    fn wall(&self) -> Timestamp;

    /// Since the computer was started, the time that it slept included. Nobody sets it.
    fn since_boot(&self) -> Duration;

    /// Differs from start to start of the computer; None when that is not known.
    fn boot(&self) -> Option<String>;
}

impl<T: TimeSource + ?Sized> TimeSource for Arc<T> {
    fn wall(&self) -> Timestamp {
        (**self).wall()
    }

    fn since_boot(&self) -> Duration {
        (**self).since_boot()
    }

    fn boot(&self) -> Option<String> {
        (**self).boot()
    }
}

/// The system's clock.
pub struct SystemClock;

impl TimeSource for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the system clock"
    )]
    fn wall(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        let millis = since_epoch.unwrap_or_default().as_millis();
        Timestamp(u64::try_from(millis).unwrap_or(u64::MAX))
    }

    fn since_boot(&self) -> Duration {
        clock_gettime(ClockId::Boottime)
            .try_into()
            .unwrap_or_default()
    }

    /// None where `/proc` shows processes only, as in a sandbox of systemd's.
    fn boot(&self) -> Option<String> {
        let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        Some(id.trim().to_owned())
    }
}

/// For those who date nothing that is kept.
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        TimeSource::wall(self)
    }
}

#[cfg(test)]
mod manual {
    use std::sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    };

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

    /// A computer whose clock somebody sets. Clones are the same computer.
    #[derive(Clone)]
    pub struct ManualSource(Arc<Mutex<Computer>>);

    struct Computer {
        wall: Timestamp,
        since_boot: Duration,
        boots: Option<u32>,
    }

    impl ManualSource {
        pub fn new(wall: Timestamp) -> Self {
            Self(Arc::new(Mutex::new(Computer {
                wall,
                since_boot: Duration::from_secs(1000),
                boots: Some(1),
            })))
        }

        pub fn set(&self, wall: Timestamp) {
            self.0.lock().unwrap().wall = wall;
        }

        /// Time passes, awake or asleep.
        pub fn pass(&self, time: Duration) {
            let mut computer = self.0.lock().unwrap();
            computer.wall = computer.wall.saturating_add(time);
            computer.since_boot += time;
        }

        /// It is started again, and its clock goes on from where it is.
        pub fn boot(&self) {
            let mut computer = self.0.lock().unwrap();
            computer.since_boot = Duration::from_secs(20);
            computer.boots = computer.boots.map(|boots| boots + 1);
        }

        /// From now on nobody can tell one boot from another.
        pub fn hide_boots(&self) {
            self.0.lock().unwrap().boots = None;
        }
    }

    impl TimeSource for ManualSource {
        fn wall(&self) -> Timestamp {
            self.0.lock().unwrap().wall
        }

        fn since_boot(&self) -> Duration {
            self.0.lock().unwrap().since_boot
        }

        fn boot(&self) -> Option<String> {
            let boots = self.0.lock().unwrap().boots?;
            Some(boots.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// By the date of the last commit: no test looks at the machine's clock.
    #[test]
    fn the_release_is_brought_up_to_date_with_the_source() {
        let log = Command::new("git")
            .args(["log", "-1", "--format=%ct"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output();
        let commit = log.ok().and_then(|log| String::from_utf8(log.stdout).ok());
        let Some(commit) = commit.and_then(|commit| commit.trim().parse().ok()) else {
            println!("left out: the source is in no Git repository");
            return;
        };
        let commit = Timestamp::from_secs(commit);
        let year = Duration::from_secs(366 * 86400);
        assert!(
            RELEASED <= commit && commit < RELEASED.saturating_add(2 * year),
            "RELEASED is {RELEASED}, the last commit is of {commit}"
        );
    }

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
