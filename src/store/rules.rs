//! The decisions that do not depend on a database: pure functions over rows that an engine has
//! read, so that each is made in one place.

#[cfg(test)]
mod tests;

use std::time::Duration;

use jid::Jid;

use super::{
    messages::{Caps, Enqueued, MESSAGE_OVERHEAD, NewMessage},
    registrations::{Generation, NewRegistration, TokenHash},
};
use crate::model::{
    registration::Registration,
    revocation::{Revocation, Scope},
    secret::KeyId,
    time::Timestamp,
};

/// How many rows one transaction deletes at most, so that nobody waits long for it.
pub const STEP: u32 = 500;

/// A registration that ends so soon gets a new URL when it is renewed: it may end while the renewal
/// waits for the disk, and a URL that has answered 404 never comes back.
const NO_TIME_LEFT: Duration = Duration::from_secs(60);

/// How many revocations of one account are kept apart. Nobody parts with so many apps within a
/// registration's life; beyond it the whole account is revoked, so that no account can fill the
/// memory, which mirrors the table.
const REVOCATIONS_PER_OWNER: u64 = 1000;

/// How many revoked registrations of one account are kept until they expire, so that their tokens can be
/// inspected. What is older is deleted, or a phone that registers and unregisters again and again would
/// fill the store past the limit for its account. A token without a row is as dead as a revoked one.
pub const REVOKED_KEPT: u32 = 100;

/// In milliseconds. What was sent so much later than seems possible was dated by a clock that has been set
/// back since.
pub const SET_BACK: u64 = 3_600_000;

/// The columns of a [`Registration`].
pub const REGISTRATION: &str = "jid, application, instance, issued, expires";

/// The same in the row of a message.
pub const REGISTRATION_OF_MESSAGE: &str =
    "owner, application, instance, issued, registration_expires";

/// Owner, application and instance as columns; the digests are empty for a whole account.
pub fn scope_columns(scope: &Scope) -> (&str, &[u8], &[u8]) {
    match scope {
        Scope::Registration(key) => (
            key.owner.as_str(),
            key.application.as_bytes(),
            key.instance.as_bytes(),
        ),
        Scope::Owner(owner) => (owner.as_str(), &[], &[]),
    }
}

/// The newest row of an owner, application and instance that ends after [`renewable_after`].
#[derive(Clone, Copy)]
pub struct Live {
    pub id: TokenHash,
    pub key: KeyId,
    pub generation: Generation,
    pub expires: Timestamp,
}

/// What becomes of a registration that is asked for.
pub enum Registering {
    /// The row of this id gets the new JID and instant of issue, and this expiry.
    Renew(Live),
    /// A new row, as it was offered.
    Make,
    TooMany,
}

/// When a registration counts as issued: after all that was revoked, or it would be dead on
/// arrival, as when the clock was set back.
pub fn issue_time(new: &Registration, revoked_up_to: Option<Timestamp>) -> Timestamp {
    revoked_up_to.map_or(new.issued, |at| new.issued.after(at))
}

/// A row that ends later may be renewed.
pub fn renewable_after(now: Timestamp) -> Timestamp {
    now.saturating_add(NO_TIME_LEFT)
}

/// `held` counts what the account has registered; it matters only when nothing is `live`.
pub fn register(new: &NewRegistration, live: Option<Live>, held: u64) -> Registering {
    match live {
        Some(live) if live.key == new.key => Registering::Renew(Live {
            expires: live.expires.max(new.registration.expires),
            ..live
        }),
        // It lives on beside the new one until it expires.
        Some(_) => Registering::Make,
        None if held >= u64::from(new.limit) => Registering::TooMany,
        None => Registering::Make,
    }
}

/// What was issued then or before is revoked.
pub fn is_revoked(registration: &Registration, revoked_up_to: Option<Timestamp>) -> bool {
    revoked_up_to.is_some_and(|at| registration.issued <= at)
}

/// A revocation as it is to be stored: for as long as any token may live, and of the whole account
/// if that has too many. `held` counts the account's revocations.
pub fn widen(
    scope: Scope,
    at: Timestamp,
    min_until: Timestamp,
    latest_issuer: Option<Timestamp>,
    held: u64,
) -> Revocation {
    let scope = match scope {
        Scope::Registration(key) if held >= REVOCATIONS_PER_OWNER => Scope::Owner(key.owner),
        scope => scope,
    };
    let until = latest_issuer.map_or(min_until, |latest| latest.max(min_until));
    Revocation { scope, at, until }
}

/// A message that may have to make room for a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaving {
    /// Of the row.
    pub number: i64,
    /// The [`rank`](crate::model::message::Urgency::rank) of its urgency.
    pub urgency: u8,
    pub arrived: Timestamp,
    /// As [`Caps::bytes`] counts.
    pub size: u64,
}

/// What is there beside a new message, once [`STEP`] messages of the account that have expired were
/// deleted.
#[derive(Clone, Copy, Debug)]
pub struct There {
    /// With what has expired and is left: every write of the account reads it all, so it is capped.
    pub of_account: u64,
    /// What lives: nothing gives way to what has expired.
    pub of_endpoint: u64,
}

/// There is room, but for the cap on bytes, once these have left.
#[derive(Debug, PartialEq, Eq)]
pub struct Room {
    pub leaving: Vec<Leaving>,
    replaced: u32,
    evicted: u32,
}

/// How a message counts for [`Caps::bytes`].
pub fn size(payload_len: u64) -> u64 {
    MESSAGE_OVERHEAD + payload_len
}

/// A message comes in, and another one of its topic waits. One that has yet to arrive came before the
/// clock was set back.
pub fn replace(message: &NewMessage, waiting: Leaving, now: Timestamp) -> Result<Room, Enqueued> {
    if waiting.arrived > message.arrived && waiting.arrived <= now {
        return Err(Enqueued::Superseded);
    }
    Ok(Room {
        leaving: vec![waiting],
        replaced: 1,
        evicted: 0,
    })
}

/// How many messages of the endpoint have to leave for one more. More than one only when the cap
/// was lowered.
pub fn excess(there: There, caps: Caps) -> u64 {
    (there.of_endpoint + 1).saturating_sub(u64::from(caps.per_endpoint))
}

/// A message comes in beside those that are there. `least` is the [`excess`], or as many as there are:
/// the endpoint's oldest of the lowest urgency.
pub fn make_room(
    message: &NewMessage,
    there: There,
    caps: Caps,
    least: Vec<Leaving>,
) -> Result<Room, Enqueued> {
    let excess = excess(there, caps);
    if excess == 0 && there.of_account >= u64::from(caps.per_account) {
        return Err(Enqueued::AccountFull);
    }
    let urgency = message.urgency.rank();
    let all = least.len() as u64 == excess;
    if !all || least.last().is_some_and(|row| row.urgency > urgency) {
        return Err(Enqueued::Outranked);
    }
    Ok(Room {
        leaving: least,
        replaced: 0,
        evicted: u32::try_from(excess).unwrap_or(u32::MAX),
    })
}

impl Room {
    /// Whether the message is within [`Caps::bytes`] when so many bytes wait before.
    pub fn fits(&self, message: &NewMessage, waiting: u64, caps: Caps) -> bool {
        let freed: u64 = self.leaving.iter().map(|row| row.size).sum();
        waiting.saturating_sub(freed) + size(message.payload.len() as u64) <= caps.bytes
    }

    /// The answer, once the message is stored.
    pub fn stored(self, redirected: Option<Jid>) -> Enqueued {
        Enqueued::Stored {
            replaced: self.replaced,
            evicted: self.evicted,
            redirected,
        }
    }
}
