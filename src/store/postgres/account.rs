//! Who may write the rows of an account. Every write that concerns them holds the account's lock
//! until it commits, so that what is counted or chosen for one is not changed by another on the
//! way. Only what names a single message by its key does without.
//!
//! A daemon that lives says so by a lock of its own, which its listening connection holds: when it is
//! gone, others need not wait for its claims to end.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use jid::BareJid;
use ring::digest;
use tokio::{
    sync::{Mutex, MutexGuard},
    time::timeout,
};

use super::{
    failure::{PostgresFailure, Result},
    pool::Connection,
};

/// How long to wait for others of the same account.
const TURN: Duration = Duration::from_secs(2);

/// Whoever waits for an account's lock waits here first, without a connection: one account that gets
/// very many messages must not take them all.
pub struct Turns {
    hasher: RandomState,
    locks: Vec<Mutex<()>>,
}

impl Turns {
    pub fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            locks: (0..64).map(|_| Mutex::default()).collect(),
        }
    }

    pub async fn take(&self, account: &BareJid) -> Result<MutexGuard<'_, ()>> {
        let number = self.hasher.hash_one(account) % self.locks.len() as u64;
        let turn = self.locks[number as usize].lock();
        timeout(TURN, turn).await.map_err(|_| PostgresFailure::Busy)
    }
}

/// Waits until nobody else writes rows of this account; holds until the transaction ends. First in
/// a transaction, and one at most, so that no two wait for each other.
pub async fn lock(db: &Connection, account: &BareJid) -> Result<()> {
    db.run(LOCK_ALL, &[&numbers([account])]).await?;
    Ok(())
}

/// The same for the [`numbers`] of several, which everybody locks in the same order.
pub const LOCK_ALL: &str =
    "SELECT count(pg_advisory_xact_lock(number)) FROM unnest($1::bigint[]) AS number";

/// What a daemon of this name is locked by while it lives.
pub fn number_of_daemon(name: &str) -> i64 {
    number(&format!("unified-push daemon {name}"))
}

/// Shared, so that a connection which the server takes for open still does not stand in the way.
pub fn live(daemon: i64) -> String {
    format!("SELECT pg_advisory_lock_shared({daemon})")
}

/// A condition: the daemon of this number lives, or is not known, as one of an earlier version.
pub fn lives(daemon: &str) -> String {
    format!("NOT coalesce(pg_try_advisory_xact_lock({daemon}), false)")
}

/// What accounts are locked by. Two with one number merely wait for each other.
pub fn numbers<'a>(accounts: impl IntoIterator<Item = &'a BareJid>) -> Vec<i64> {
    let of = |account: &BareJid| number(&format!("unified-push {account}"));
    let mut numbers: Vec<i64> = accounts.into_iter().map(of).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

fn number(name: &str) -> i64 {
    let digest = digest::digest(&digest::SHA256, name.as_bytes());
    let first = digest.as_ref().first_chunk();
    first.map_or(0, |first| i64::from_be_bytes(*first))
}
