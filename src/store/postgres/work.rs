//! How work gets a connection: it commits, unlocks and gives it back by itself. What takes longer
//! than [`LIMIT`] fails, so that a database which hangs is no worse than one that is away.

use std::{
    sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use jid::BareJid;
use tokio::time::timeout;

use super::{
    account::{self, Turns},
    failure::{PostgresFailure, Result},
    pool::{Connection, Pool},
};
use crate::store::error::{StoreError, StoreResult};

/// How long a caller waits for its work, from asking for a connection on.
const LIMIT: Duration = Duration::from_secs(3);

/// The same for what the command line, or a start, reads whole.
const LONG_LIMIT: Duration = Duration::from_secs(60);

pub struct Work {
    pool: Pool,
    turns: Turns,
    /// What waits counts for, in bytes: as last counted, with what this replica has stored and
    /// deleted since. PostgreSQL would write a total that every replica changes to the disk once
    /// for each message, one after the other.
    pub queued_bytes: AtomicI64,
    /// How many messages had expired and were deleted since the last purge.
    pub swept: AtomicU64,
    /// The last work that failed has not been followed by a write that succeeded.
    pub failing: AtomicBool,
}

impl Work {
    pub fn new(pool: Pool, queued_bytes: i64) -> Self {
        Self {
            pool,
            turns: Turns::new(),
            queued_bytes: AtomicI64::new(queued_bytes),
            swept: AtomicU64::new(0),
            failing: AtomicBool::new(false),
        }
    }

    /// Work that reads, that writes by one statement, which is a transaction by itself, or that
    /// begins and commits itself.
    pub async fn single<T>(
        &self,
        work: impl AsyncFnOnce(&Connection) -> Result<T>,
    ) -> StoreResult<T> {
        self.within(LIMIT, self.lend(work)).await
    }

    /// A transaction that holds the account's lock.
    pub async fn account<T>(
        &self,
        account: &BareJid,
        work: impl AsyncFnOnce(&Connection) -> Result<T>,
    ) -> StoreResult<T> {
        self.within(LIMIT, async {
            let _turn = self.turns.take(account).await?;
            self.lend(async |db| {
                db.batch("BEGIN").await?;
                account::lock(db, account).await?;
                let done = work(db).await?;
                db.batch("COMMIT").await?;
                Ok(done)
            })
            .await
        })
        .await
    }

    /// A transaction with which the server, too, has patience: for what reads whole tables.
    pub async fn long<T>(
        &self,
        work: impl AsyncFnOnce(&Connection) -> Result<T>,
    ) -> StoreResult<T> {
        let lent = self.lend(async |db| {
            db.batch("BEGIN; SET LOCAL statement_timeout = '60s'")
                .await?;
            let done = work(db).await?;
            db.batch("COMMIT").await?;
            Ok(done)
        });
        self.within(LONG_LIMIT, lent).await
    }

    /// Waits for others that do the work, for as long as for one's own.
    pub async fn by_others<T>(
        &self,
        answer: impl Future<Output = StoreResult<T>>,
    ) -> StoreResult<T> {
        let answered = timeout(LIMIT, answer).await;
        answered.unwrap_or_else(|_| self.note(Err(PostgresFailure::TooSlow.into())))
    }

    /// Gives the connection back, and counts what was done with it, only if the work has succeeded.
    async fn lend<T>(&self, work: impl AsyncFnOnce(&Connection) -> Result<T>) -> Result<T> {
        let db = self.pool.get().await?;
        let done = work(&db).await?;
        self.queued_bytes.fetch_add(db.give_back(), Relaxed);
        Ok(done)
    }

    async fn within<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T>>,
    ) -> StoreResult<T> {
        let done = timeout(limit, work).await;
        let done = done.unwrap_or(Err(PostgresFailure::TooSlow));
        if done.as_ref().is_err_and(PostgresFailure::is_of_server) {
            self.pool.forget_idle();
        }
        self.note(done.map_err(StoreError::from))
    }

    /// Whatever fails may have been a write.
    fn note<T>(&self, done: StoreResult<T>) -> StoreResult<T> {
        if matches!(done, Err(StoreError::Failed(_))) {
            self.failing.store(true, Relaxed);
        }
        done
    }
}
