//! By how much a time of our own was ahead of the system's clock, and since when. What others were
//! told by that clock is understood with it.

use serde::{Deserialize, Serialize};

use super::time::Timestamp;

/// Leads that are remembered. Beyond it, what was issued before the oldest lives a little longer.
pub(super) const MOST: usize = 64;

/// At least one; the first is as old as can be. The names are those of the JSON in which it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Leads(Vec<Step>);

/// From an instant of ours on, our time was ahead by so many milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Step {
    since: Timestamp,
    lead: i64,
}

impl Step {
    const FIRST: Self = Self {
        since: Timestamp::from_millis(0),
        lead: 0,
    };
}

/// Our time was never ahead.
impl Default for Leads {
    fn default() -> Self {
        Self(vec![Step::FIRST])
    }
}

impl Leads {
    /// The present one, in milliseconds.
    pub fn last(&self) -> i64 {
        self.0.last().unwrap_or(&Step::FIRST).lead
    }

    /// The one at an instant of ours, in milliseconds.
    pub fn at(&self, time: Timestamp) -> i64 {
        if time == Step::FIRST.since {
            // Nobody knows when: the alternative by which endpoints live longest.
            return self.0.iter().map(|step| step.lead).max().unwrap_or(0);
        }
        let before = self.0.iter().rev().find(|step| step.since <= time);
        before.unwrap_or(&Step::FIRST).lead
    }

    /// Another one from this instant of ours on.
    pub fn change(&mut self, since: Timestamp, lead: i64) {
        self.0.push(Step { since, lead });
        if self.0.len() > MOST {
            let oldest = self.0.remove(0);
            let first = &mut self.0[0];
            first.since = oldest.since;
            first.lead = first.lead.max(oldest.lead);
        }
    }

    /// How many are remembered.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }
}
