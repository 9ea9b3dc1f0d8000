//! The daemon's own time, which goes on evenly whatever becomes of the system's clock.
//!
//! It begins with the system's clock, and then counts the time since the computer was started, which
//! nobody sets. All that is kept is dated by it, so no clock that is set forward ends an endpoint or a
//! message, and none that is set back makes the newer look older. What others are told is what the
//! system's clock says; for when endpoints come back that carry such a time, the *lead* of our time
//! is kept, with each change of it.
//!
//! An example. The clock is 40 days behind when a phone is told that its endpoint expires in a week,
//! which is 33 days ago. Then the clock is set right. For us no time has passed: ours is behind by 40
//! days from now on, a lead of -40 days that began at this moment. The endpoint says that it expired
//! 33 days ago, and was issued when the lead was 0: it has a week to go.

#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tracing::warn;

use super::{
    leads::Leads,
    sync::Mutex,
    time::{Clock, RELEASED, TimeSource, Timestamp},
};

/// How often the time is to be kept, in case the daemon is killed.
pub const KEEP_EVERY: Duration = Duration::from_secs(300);

/// An absence of the daemon counts for no more: often nobody can know whether it was one or the clock
/// was set, and no phone could renew its endpoints meanwhile.
const LONGEST_ABSENCE: Duration = Duration::from_secs(7 * 86400);

const EPOCH: Timestamp = Timestamp::from_millis(0);

/// In milliseconds. A lead that has changed by less is not worth a note.
const TOLERANCE: u64 = 60_000;

pub struct Timekeeper {
    source: Box<dyn TimeSource>,
    boot: Option<String>,
    state: Mutex<State>,
}

enum State {
    /// The system's clock is certainly wrong, so this has not begun.
    Awaited(Origin),
    Wall,
    Own(Own),
}

/// What time is counted from.
#[derive(Clone)]
pub enum Origin {
    /// The system's clock alone: what is kept is dated by the store's own clock.
    Wall,
    /// What was kept, or what the system's clock says when nothing was.
    Own(Option<Kept>),
}

/// Our own time.
struct Own {
    /// Milliseconds since 1970, when the computer was started.
    at_boot: i64,
    leads: Leads,
}

/// What it takes to go on after a restart. The names are those of the JSON in which it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    now: Timestamp,
    wall: Timestamp,
    since_boot: Duration,
    boot: Option<String>,
    #[serde(rename = "steps")]
    leads: Leads,
}

impl Timekeeper {
    /// Begins at once, unless the system's clock is certainly wrong.
    pub fn new(source: impl TimeSource + 'static, origin: Origin) -> Self {
        let keeper = Self {
            boot: source.boot(),
            source: Box::new(source),
            state: Mutex::new(State::Awaited(origin)),
        };
        keeper.begin();
        keeper
    }

    /// What the system's clock says, even if that is certainly wrong.
    pub fn wall_as_it_is(&self) -> Timestamp {
        self.source.wall()
    }

    /// Since the computer was started, the time that it slept included.
    pub fn since_boot(&self) -> Duration {
        self.source.since_boot()
    }

    /// Whether it has begun now, which it does when the system's clock is no longer certainly wrong.
    pub fn begin(&self) -> bool {
        let mut state = self.state.lock();
        let State::Awaited(origin) = &*state else {
            return false;
        };
        let wall = self.source.wall();
        if wall < RELEASED {
            return false;
        }
        *state = match origin {
            Origin::Wall => State::Wall,
            Origin::Own(kept) => State::Own(Own::resume(kept.as_ref(), &*self.source, wall)),
        };
        true
    }

    /// What is to be stored for the next start. None: there is no time of our own.
    pub fn kept(&self) -> Option<Kept> {
        match &mut *self.state.lock() {
            State::Own(own) => {
                let wall = self.source.wall();
                let now = own.look(&*self.source, wall);
                Some(Kept {
                    now,
                    wall,
                    since_boot: self.source.since_boot(),
                    boot: self.boot.clone(),
                    leads: own.leads.clone(),
                })
            }
            State::Awaited(_) | State::Wall => None,
        }
    }
}

impl Kept {
    /// For a daemon that goes on with a time which was another store's until now.
    pub fn taken_over(source: &dyn TimeSource, now: Timestamp, leads: Leads) -> Self {
        Self {
            now,
            wall: source.wall(),
            since_boot: source.since_boot(),
            boot: source.boot(),
            leads,
        }
    }

    /// Our time when this was made, and what it takes to understand what others were told by then.
    pub fn into_time(self) -> (Timestamp, Leads) {
        (self.now, self.leads)
    }

    /// Whether it has to be stored when this was stored last.
    pub fn is_news_after(&self, stored: &Self) -> bool {
        self.knows_more_leads_than(stored) || stored.now.until(self.now) >= KEEP_EVERY
    }

    /// Whether the system's clock was set in between.
    pub fn knows_more_leads_than(&self, stored: &Self) -> bool {
        self.leads != stored.leads
    }
}

impl Clock for Timekeeper {
    fn now(&self) -> Timestamp {
        match &*self.state.lock() {
            State::Own(own) => own.now(&*self.source),
            State::Awaited(Origin::Own(Some(kept))) => kept.now,
            State::Awaited(_) | State::Wall => self.source.wall(),
        }
    }

    fn has_begun(&self) -> bool {
        !matches!(*self.state.lock(), State::Awaited(_))
    }

    fn wall(&self) -> Option<Timestamp> {
        let wall = self.source.wall();
        if let State::Own(own) = &mut *self.state.lock() {
            own.look(&*self.source, wall);
        }
        (wall >= RELEASED && self.has_begun()).then_some(wall)
    }

    fn to_wall(&self, time: Timestamp) -> Timestamp {
        match &*self.state.lock() {
            State::Own(own) => time.shifted(-own.leads.at(time)),
            State::Awaited(_) | State::Wall => time,
        }
    }

    fn to_ours(&self, told: Timestamp, told_at: Timestamp) -> Timestamp {
        match &*self.state.lock() {
            State::Own(own) => told.shifted(own.leads.at(told_at)),
            State::Awaited(_) | State::Wall => told,
        }
    }
}

impl Own {
    fn resume(kept: Option<&Kept>, source: &dyn TimeSource, wall: Timestamp) -> Self {
        let now = kept.map_or(wall, |kept| kept.resumed(source, wall));
        let mut own = Self {
            at_boot: now.millis_since(EPOCH) - millis(source.since_boot()),
            leads: kept.map_or_else(Leads::default, |kept| kept.leads.clone()),
        };
        let lead = now.millis_since(wall);
        if let (Some(kept), Some(change)) = (kept, own.change_to(lead)) {
            warn!(
                "since the daemon last ran, the system's clock {}, or the daemon was not running \
                 for more than a week: endpoints stay valid for as long as before",
                describe(change)
            );
            // When is not known. This is the alternative by which endpoints live longer.
            let since = if change > 0 { now } else { kept.now };
            own.leads.change(since, lead);
        }
        own
    }

    fn now(&self, source: &dyn TimeSource) -> Timestamp {
        EPOCH.shifted(self.at_boot + millis(source.since_boot()))
    }

    /// Notes when the system's clock was set. Gives the present time.
    fn look(&mut self, source: &dyn TimeSource, wall: Timestamp) -> Timestamp {
        let now = self.now(source);
        let lead = now.millis_since(wall);
        if let Some(change) = self.change_to(lead) {
            warn!(
                "the system's clock {}: endpoints and messages that wait stay valid for as long as \
                 before",
                describe(change)
            );
            self.leads.change(now, lead);
        }
        now
    }

    /// By how many milliseconds the system's clock was set forward, if that is worth a note.
    fn change_to(&self, lead: i64) -> Option<i64> {
        let change = self.leads.last() - lead;
        (change.unsigned_abs() > TOLERANCE).then_some(change)
    }
}

impl Kept {
    /// What our time is now, after a restart.
    fn resumed(&self, source: &dyn TimeSource, wall: Timestamp) -> Timestamp {
        let since_boot = source.since_boot();
        let same_boot = self.boot.is_some() && self.boot == source.boot();
        let away = match since_boot.checked_sub(self.since_boot) {
            Some(away) if same_boot => away,
            _ if wall >= self.wall => self.wall.until(wall),
            // The clock was set back. We have not run for longer than this since.
            _ => KEEP_EVERY,
        };
        self.now.saturating_add(away.min(LONGEST_ABSENCE))
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// A change of the system's clock in words.
fn describe(millis: i64) -> String {
    let seconds = Duration::from_secs(millis.unsigned_abs() / 1000);
    let way = if millis > 0 { "forward" } else { "back" };
    format!("was set {way} by {}", humantime::format_duration(seconds))
}
