//! What the store is to be told of a phone before it is asked for the next message.

use std::{ops::RangeInclusive, time::Duration};

use crate::{model::time::Timestamp, store::Overtaken};

/// What was sent so shortly before the link was lost may never have arrived, or its answer was lost
/// with the link. Longer than it takes to notice a peer that is gone.
pub const DOUBTFUL: Duration = Duration::from_secs(60);

/// The clocks of two replicas may differ by so much. What another replica sends within this time is released
/// as well, and may arrive twice.
const SKEW: Duration = Duration::from_millis(500);

/// Which held messages are to be released: those that were sent between these times, inclusive. What another
/// replica has sent later is not among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    pub since: Timestamp,
    pub until: Timestamp,
}

/// What the store is to be told before the next message for a phone is claimed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct First {
    /// To be released.
    pub held: Option<Held>,
    /// To be deleted.
    pub overtaken: Vec<Overtaken>,
}

impl Held {
    /// All that was sent until now, by any replica's clock.
    pub fn until(now: Timestamp) -> Self {
        Self {
            since: Timestamp::from_secs(0),
            until: now.saturating_add(SKEW),
        }
    }

    /// What may be lost with a link that is lost now.
    pub fn doubtful(now: Timestamp) -> Self {
        Self {
            since: now.saturating_sub(DOUBTFUL),
            until: now.saturating_add(SKEW),
        }
    }

    pub fn and(self, other: Self) -> Self {
        Self {
            since: self.since.min(other.since),
            until: self.until.max(other.until),
        }
    }

    pub fn sent(self) -> RangeInclusive<Timestamp> {
        self.since..=self.until
    }
}
