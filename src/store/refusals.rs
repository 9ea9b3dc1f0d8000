//! Which messages were refused a moment ago because an endpoint or its account holds as much as it
//! may. The next ones are refused without a look: each look reads all that the account has waiting,
//! and in PostgreSQL it takes a transaction.

use std::{collections::HashMap, time::Duration};

use super::{
    error::StoreResult,
    messages::{Caps, Enqueued, NewMessage},
};
use crate::model::{message::Urgency, registration::RegistrationKey, sync::Mutex, time::Timestamp};

/// For how long. Whoever is refused is asked to come back later than that.
const MOMENT: Duration = Duration::from_secs(1);

/// How many endpoints are remembered, in some megabytes at most; beyond it, all are forgotten.
const MOST: usize = 4096;

#[derive(Default)]
pub struct Refusals(Mutex<HashMap<RegistrationKey, Refused>>);

struct Refused {
    answer: Enqueued,
    /// Nothing more urgent was refused.
    urgency: Urgency,
    caps: Caps,
    at: Timestamp,
}

/// What the answer to a message depends on.
pub struct Asked {
    endpoint: RegistrationKey,
    urgency: Urgency,
    caps: Caps,
    now: Timestamp,
}

impl Asked {
    pub fn of(message: &NewMessage, caps: Caps, now: Timestamp) -> Self {
        Self {
            endpoint: message.registration.key(),
            urgency: message.urgency,
            caps,
            now,
        }
    }
}

impl Refusals {
    /// Has the store decide, unless it would say the same as a moment ago.
    ///
    /// A message that would have taken the place of an earlier one of its topic is refused as well:
    /// which topics wait is what the look would be for.
    pub async fn spare(
        &self,
        asked: Asked,
        decide: impl Future<Output = StoreResult<Enqueued>>,
    ) -> StoreResult<Enqueued> {
        if let Some(refused) = self.known(&asked) {
            return Ok(refused);
        }
        let answer = decide.await?;
        // Of those that came at the same time, the most urgent is the one to remember.
        if matches!(answer, Enqueued::AccountFull | Enqueued::Outranked)
            && self.known(&asked).is_none()
        {
            self.note(asked, answer.clone());
        }
        Ok(answer)
    }

    /// Nothing older is of use.
    pub fn forget_before(&self, now: Timestamp) {
        self.0.lock().retain(|_, refused| refused.is_recent(now));
    }

    fn known(&self, asked: &Asked) -> Option<Enqueued> {
        let refusals = self.0.lock();
        let refused = refusals.get(&asked.endpoint)?;
        let same = refused.is_recent(asked.now)
            && asked.urgency <= refused.urgency
            && asked.caps == refused.caps;
        same.then(|| refused.answer.clone())
    }

    fn note(&self, asked: Asked, answer: Enqueued) {
        let mut refusals = self.0.lock();
        if refusals.len() >= MOST {
            refusals.clear();
        }
        let refused = Refused {
            answer,
            urgency: asked.urgency,
            caps: asked.caps,
            at: asked.now,
        };
        refusals.insert(asked.endpoint, refused);
    }
}

impl Refused {
    /// One that has yet to come was made before the clock was set back.
    fn is_recent(&self, now: Timestamp) -> bool {
        self.at <= now && now < self.at.saturating_add(MOMENT)
    }
}
