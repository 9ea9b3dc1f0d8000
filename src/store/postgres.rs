//! The store of several daemons that share one name: PostgreSQL 13 or newer.
//!
//! Every write that concerns an account's rows holds that account's lock until it commits, so that
//! what is counted or chosen for one is not changed by another on the way. Only what names a single
//! message by its key does without. Work that takes longer than [`LIMIT`] fails, so that a database
//! which hangs is no worse than one that is away.

mod columns;
mod connect;
mod listen;
mod migrate;
mod queue;
mod registrations;
mod revocations;
mod upkeep;
mod url;
mod waiting;

use std::{
    hash::{BuildHasher, RandomState},
    sync::atomic::{AtomicBool, AtomicI64, Ordering},
    time::Duration,
};

use jid::{BareJid, Jid};
use ring::digest;
use tokio::{
    sync::{Mutex, MutexGuard},
    time::timeout,
};

use self::{
    connect::{Connection, Pool, Source},
    listen::{Listener, Notice},
};
pub use self::{
    migrate::OpenError,
    url::{PostgresUrl, PostgresUrlError},
};
use super::{News, StoreError};
use crate::link::Answer;

/// How long a caller waits for its work, from asking for a connection on.
const LIMIT: Duration = Duration::from_secs(3);

/// How much of it may be spent on the wait for others of the same account.
const TURN: Duration = Duration::from_secs(2);

/// The same for what the command line, or a start, reads whole.
const LONG_LIMIT: Duration = Duration::from_secs(60);

pub struct Postgres {
    pool: Pool,
    turns: Turns,
    pub(super) url: PostgresUrl,
    listener: Listener,
    /// The last change of revocations that this replica knows.
    changes: AtomicI64,
    /// What waits counts for, in bytes: as last counted, with what this replica has stored and
    /// deleted since. PostgreSQL would write a total that every replica changes to the disk once
    /// for each message, one after the other.
    queued_bytes: AtomicI64,
    /// The last work that failed has not been followed by a write that succeeded.
    failing: AtomicBool,
}

impl Postgres {
    /// Brings the schema to the present version first.
    pub async fn connect(url: &PostgresUrl) -> Result<Self, OpenError> {
        let source = Source::new(url)?;
        let pool = Pool::new(&source);
        migrate::migrate(&pool, url).await?;
        let failed = |error: StoreError| OpenError::Failed {
            url: url.clone(),
            why: error.to_string(),
        };
        let begun = timeout(LONG_LIMIT, start(&pool)).await;
        let begun = begun.unwrap_or_else(|_| Err(too_slow()));
        let (instance, changes, queued_bytes) = begun.map_err(failed)?;
        Ok(Self {
            pool,
            turns: Turns::new(),
            url: url.clone(),
            listener: Listener::new(source, instance),
            changes: AtomicI64::new(changes),
            queued_bytes: AtomicI64::new(queued_bytes),
            failing: AtomicBool::new(false),
        })
    }

    pub async fn news(&self) -> News {
        self.listener.news().await
    }

    pub async fn pass_on(&self, from: &Jid, id: &str, answer: Answer) -> Result<(), StoreError> {
        self.within(async {
            let db = self.pool.get().await?;
            let notice = Notice::answer(from, id, answer);
            self.listener.tell(&db, notice).await?;
            db.done();
            Ok(())
        })
        .await
    }

    /// Whatever fails may have been a write.
    async fn within<T>(
        &self,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.within_limit(LIMIT, work).await
    }

    /// For what reads whole tables.
    async fn at_leisure<T>(
        &self,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.within_limit(LONG_LIMIT, work).await
    }

    async fn within_limit<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let done = timeout(limit, work).await;
        let done = done.unwrap_or_else(|_| Err(too_slow()));
        if matches!(done, Err(StoreError::Failed(_))) {
            self.failing.store(true, Ordering::Relaxed);
        }
        done
    }

    /// In a transaction in which the server, too, has patience.
    async fn begin_long(&self) -> Result<Connection, StoreError> {
        let db = self.pool.begin().await?;
        db.batch("SET LOCAL statement_timeout = '60s'").await?;
        Ok(db)
    }
}

/// Who waits for an account's lock waits here first, without a connection: one account that gets very
/// many messages must not take them all.
struct Turns {
    hasher: RandomState,
    locks: Vec<Mutex<()>>,
}

impl Turns {
    fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            locks: (0..64).map(|_| Mutex::default()).collect(),
        }
    }

    async fn take(&self, account: &BareJid) -> Result<MutexGuard<'_, ()>, StoreError> {
        let number = self.hasher.hash_one(account) % self.locks.len() as u64;
        let turn = self.locks[number as usize].lock();
        timeout(TURN, turn).await.map_err(|_| StoreError::Busy)
    }
}

/// A random name for this replica, the changes so far, and the bytes that wait.
async fn start(pool: &Pool) -> Result<(String, i64, i64), StoreError> {
    let db = pool.begin().await?;
    db.batch("SET LOCAL statement_timeout = '60s'").await?;
    let instance = db.value("SELECT gen_random_uuid()::text", &[]).await?;
    let changes = revocations::changes(&db).await?;
    let bytes = upkeep::queued(&db).await?.bytes;
    db.commit().await?;
    Ok((instance, changes, i64::try_from(bytes).unwrap_or(i64::MAX)))
}

/// Waits until nobody else writes rows of this account; holds until the transaction ends. First in
/// a transaction, and one at most, so that no two wait for each other.
async fn lock_account(db: &Connection, account: &BareJid) -> Result<(), StoreError> {
    // Two accounts with one number merely wait for each other.
    let name = format!("unified-push {account}");
    let digest = digest::digest(&digest::SHA256, name.as_bytes());
    let number = digest
        .as_ref()
        .first_chunk()
        .map_or(0, |first| i64::from_be_bytes(*first));
    db.execute("SELECT pg_advisory_xact_lock($1)", &[&number])
        .await?;
    Ok(())
}

fn too_slow() -> StoreError {
    StoreError::failed("PostgreSQL does not answer in time")
}
