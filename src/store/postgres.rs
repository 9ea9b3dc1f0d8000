//! The store of several daemons that share one name: PostgreSQL 13 or newer.
//!
//! Work gets its connection by [`Postgres::single`], [`Postgres::account`] or [`Postgres::long`],
//! which commit, unlock and give it back by themselves. What takes longer than [`LIMIT`] fails, so
//! that a database which hangs is no worse than one that is away.

mod account;
mod columns;
mod enqueue;
mod examine;
pub(super) mod failure;
mod issuers;
mod listen;
mod open;
mod pool;
mod pooler;
mod queue;
mod registrations;
mod remedy;
mod revocations;
mod source;
mod tls;
mod upkeep;
mod url;

use std::{
    sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed},
    time::Duration,
};

use jid::{BareJid, Jid};
use tokio::time::timeout;

use self::{
    account::Turns,
    columns::as_i64,
    failure::{PostgresFailure, Result},
    listen::Listener,
    pool::{Connection, Pool},
    source::Source,
};
pub use self::{
    examine::{PostgresExamined, examine},
    open::PostgresOpenError,
    tls::TlsSetupError,
    url::{PostgresUrl, PostgresUrlError},
};
use super::{
    engine::{Engine, in_steps},
    error::{StoreError, StoreResult},
    messages::{Caps, Claim, Enqueued, NewMessage, News, Waiting},
    registrations::{Found, Issuer, NewRegistration, Owned, Registered, Revoked, Sizes, TokenHash},
};
use crate::{
    link::Answer,
    model::{
        message::{Hold, MessageId, MessageKey},
        registration::Registration,
        revocation::{Revocation, Scope},
        secret::KeyId,
        time::Timestamp,
    },
};

/// How long a caller waits for its work, from asking for a connection on.
const LIMIT: Duration = Duration::from_secs(3);

/// The same for what the command line, or a start, reads whole.
const LONG_LIMIT: Duration = Duration::from_secs(60);

pub struct Postgres {
    pool: Pool,
    turns: Turns,
    source: Source,
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
    pub async fn connect(url: &PostgresUrl) -> std::result::Result<Self, PostgresOpenError> {
        let source = Source::new(url).map_err(|failure| open::failed(failure, url))?;
        let pool = Pool::new(&source);
        let start = open::open(&pool, url).await?;
        Ok(Self {
            pool,
            turns: Turns::new(),
            source: source.clone(),
            url: url.clone(),
            listener: Listener::new(source, start.replica),
            changes: AtomicI64::new(start.changes),
            queued_bytes: AtomicI64::new(as_i64(start.queued_bytes)),
            failing: AtomicBool::new(false),
        })
    }

    /// Goes on with the user, the password and the certificates of a URL. One of another database
    /// changes nothing.
    pub async fn renew(&self, url: &PostgresUrl) -> std::result::Result<(), PostgresOpenError> {
        if !url.is_same_database(&self.url) {
            return Ok(());
        }
        let renewed = self.source.renew(url).await;
        renewed.map_err(|failure| open::failed(failure, url))
    }

    /// Work that reads, or that writes by one statement, which is a transaction by itself.
    async fn single<T>(&self, work: impl AsyncFnOnce(&Connection) -> Result<T>) -> StoreResult<T> {
        self.within(LIMIT, self.lend(work)).await
    }

    /// A transaction that holds the account's lock.
    async fn account<T>(
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
    async fn long<T>(&self, work: impl AsyncFnOnce(&Connection) -> Result<T>) -> StoreResult<T> {
        let lent = self.lend(async |db| {
            db.batch("BEGIN; SET LOCAL statement_timeout = '60s'")
                .await?;
            let done = work(db).await?;
            db.batch("COMMIT").await?;
            Ok(done)
        });
        self.within(LONG_LIMIT, lent).await
    }

    /// Gives the connection back, and counts what was done with it, only if the work has succeeded.
    async fn lend<T>(&self, work: impl AsyncFnOnce(&Connection) -> Result<T>) -> Result<T> {
        let db = self.pool.get().await?;
        let done = work(&db).await?;
        self.queued_bytes.fetch_add(db.give_back(), Relaxed);
        Ok(done)
    }

    /// Whatever fails may have been a write.
    async fn within<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T>>,
    ) -> StoreResult<T> {
        let done = timeout(limit, work).await;
        let done = done.unwrap_or(Err(PostgresFailure::TooSlow));
        let done = done.map_err(StoreError::from);
        if matches!(done, Err(StoreError::Failed(_))) {
            self.failing.store(true, Relaxed);
        }
        done
    }
}

impl Engine for Postgres {
    async fn register(&self, new: NewRegistration) -> StoreResult<Registered> {
        let account = new.registration.owner.to_bare();
        self.account(&account, async |db| registrations::register(db, &new).await)
            .await
    }

    async fn find(&self, id: TokenHash) -> StoreResult<Option<Found>> {
        self.single(async |db| registrations::find(db, &id).await)
            .await
    }

    async fn longest_unrenewed(
        &self,
        owner: &BareJid,
        now: Timestamp,
    ) -> StoreResult<Option<Registration>> {
        self.single(async |db| registrations::longest_unrenewed(db, owner, now).await)
            .await
    }

    async fn owners(&self, now: Timestamp) -> StoreResult<Vec<Owned>> {
        self.long(async |db| registrations::owners(db, now).await)
            .await
    }

    async fn revoke(
        &self,
        scope: Scope,
        at: Timestamp,
        min_until: Timestamp,
    ) -> StoreResult<Revoked> {
        let account = match &scope {
            Scope::Registration(key) => key.owner.clone(),
            Scope::Owner(owner) => owner.clone(),
        };
        let revoked = self.account(&account, async |db| {
            let revoked = revocations::revoke(db, scope, at, min_until).await?;
            Ok((revoked, revocations::note_change(db).await?))
        });
        let (revoked, change) = revoked.await?;
        // News only if another's came in between.
        let changes = &self.changes;
        let _ = changes.compare_exchange(change - 1, change, Relaxed, Relaxed);
        Ok(revoked)
    }

    async fn revocations(&self) -> StoreResult<Vec<Revocation>> {
        self.long(async |db| revocations::all(db).await).await
    }

    async fn revocations_if_changed(&self) -> StoreResult<Option<Vec<Revocation>>> {
        let known = self.changes.load(Relaxed);
        let read = self.single(async |db| {
            // First: what comes in between is then read twice, not never.
            let present = revocations::changes(db).await?;
            let changed = match present != known {
                true => Some(revocations::all(db).await?),
                false => None,
            };
            Ok((present, changed))
        });
        let (present, changed) = read.await?;
        self.changes.store(present, Relaxed);
        Ok(changed)
    }

    async fn note_issuer(&self, key: KeyId, live_until: Timestamp) -> StoreResult<()> {
        self.single(async |db| issuers::note(db, key, live_until).await)
            .await
    }

    async fn issuers(&self) -> StoreResult<Vec<Issuer>> {
        self.single(async |db| issuers::all(db).await).await
    }

    async fn forget_key(&self, key: KeyId) -> StoreResult<Option<usize>> {
        let step = || self.single(async |db| registrations::forget_step(db, key).await);
        let forgotten = in_steps(step).await?;
        // Last, so that a half-done work still stops the daemon from starting without the secret.
        let known = self.long(async |db| {
            let known = issuers::forget(db, key).await?;
            revocations::note_change(db).await?;
            Ok(known)
        });
        let forgotten = usize::try_from(forgotten).unwrap_or(usize::MAX);
        Ok(known.await?.then_some(forgotten))
    }

    async fn enqueue(
        &self,
        message: NewMessage,
        caps: Caps,
        now: Timestamp,
    ) -> StoreResult<Enqueued> {
        let owner = &message.registration.owner;
        self.account(&owner.to_bare(), async |db| {
            let waiting = u64::try_from(self.queued_bytes.load(Relaxed)).unwrap_or(0);
            let enqueued = enqueue::enqueue(db, &message, caps, now, waiting).await?;
            if let Enqueued::Stored { redirected, .. } = &enqueued {
                let owner = redirected.as_ref().unwrap_or(owner).clone();
                let try_at = message.try_at;
                self.listener
                    .tell(db, News::Stored { owner, try_at })
                    .await?;
            }
            Ok(enqueued)
        })
        .await
    }

    async fn claim(
        &self,
        done: Option<MessageKey>,
        owner: &Jid,
        now: Timestamp,
        lease: Timestamp,
    ) -> StoreResult<(bool, Claim)> {
        self.account(&owner.to_bare(), async |db| {
            let was_there = match done {
                Some(done) => queue::acknowledge(db, done).await?,
                None => false,
            };
            let claim = queue::claim(db, owner, now, lease).await?;
            if claim == Claim::Empty {
                let owner = owner.clone();
                self.listener.tell(db, News::Drained { owner }).await?;
            }
            Ok((was_there, claim))
        })
        .await
    }

    async fn acknowledge(&self, key: MessageKey) -> StoreResult<bool> {
        self.single(async |db| queue::acknowledge(db, key).await)
            .await
    }

    async fn put_back(
        &self,
        key: MessageKey,
        attempt: u16,
        hold: Hold,
    ) -> StoreResult<Option<Jid>> {
        self.single(async |db| queue::put_back(db, key, attempt, hold).await)
            .await
    }

    async fn asked(&self, key: MessageKey, attempt: u16) -> StoreResult<Option<Registration>> {
        self.single(async |db| queue::asked(db, key, attempt).await)
            .await
    }

    async fn release(&self, owner: &Jid, since: Timestamp) -> StoreResult<()> {
        let account = owner.to_bare();
        self.account(&account, async |db| queue::release(db, owner, since).await)
            .await
    }

    async fn redirect(&self, registration: &Registration) -> StoreResult<u64> {
        self.account(&registration.owner.to_bare(), async |db| {
            let moved = queue::redirect(db, registration).await?;
            if moved > 0 {
                let (owner, try_at) = (registration.owner.clone(), registration.issued);
                self.listener
                    .tell(db, News::Stored { owner, try_at })
                    .await?;
            }
            Ok(moved)
        })
        .await
    }

    async fn owners_waiting(&self, after: Option<&Jid>, limit: u32) -> StoreResult<Vec<Jid>> {
        self.single(async |db| queue::owners_waiting(db, after, limit).await)
            .await
    }

    async fn is_waiting(&self, id: MessageId, now: Timestamp) -> StoreResult<bool> {
        self.single(async |db| queue::is_waiting(db, id, now).await)
            .await
    }

    async fn cancel(&self, id: MessageId) -> StoreResult<bool> {
        self.single(async |db| queue::cancel(db, id).await).await
    }

    async fn waiting(&self, now: Timestamp) -> StoreResult<Vec<Waiting>> {
        self.long(async |db| queue::waiting(db, now).await).await
    }

    async fn drop_waiting(&self, owner: &BareJid) -> StoreResult<u64> {
        in_steps(|| self.account(owner, async |db| queue::drop_step(db, owner).await)).await
    }

    async fn news(&self) -> News {
        self.listener.news().await
    }

    async fn pass_on(&self, from: &Jid, id: &str, answer: Answer) -> StoreResult<()> {
        let (from, id) = (from.clone(), id.to_owned());
        let news = News::Answer { from, id, answer };
        self.single(async |db| self.listener.tell(db, news).await)
            .await
    }

    async fn purge(&self, now: Timestamp) -> StoreResult<u64> {
        let step = || self.single(async |db| upkeep::purge_messages(db, now).await);
        let expired = in_steps(step).await?;
        in_steps(|| self.single(async |db| upkeep::purge_step(db, now).await)).await?;
        Ok(expired)
    }

    async fn sizes(&self) -> StoreResult<Sizes> {
        let sizes = self.single(async |db| upkeep::sizes(db).await).await?;
        self.queued_bytes.store(as_i64(sizes.queued_bytes), Relaxed);
        Ok(sizes)
    }

    async fn ping(&self) -> StoreResult<()> {
        let was_failing = self.failing.load(Relaxed);
        let pinged = self.single(async |db| upkeep::touch(db, was_failing).await);
        match pinged.await {
            Ok(()) if was_failing => {
                self.failing.store(false, Relaxed);
                Ok(())
            }
            // Every connection waits for a database that does not answer.
            Err(StoreError::Busy) if was_failing => Err(PostgresFailure::TooSlow.into()),
            done => done,
        }
    }
}
