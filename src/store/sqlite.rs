//! The store of a single daemon: SQLite in `state_dir`, shared with the command line's process
//! while the daemon runs.
//!
//! A write is answered when it is on the disk; those that wait at the same time share one commit.

mod columns;
mod enqueue;
mod examine;
mod issuers;
mod meanwhile;
mod open;
mod open_error;
mod queue;
mod registrations;
mod revocations;
mod schema;
mod state_dir;
mod statements;
mod tables;
#[cfg(test)]
mod tests;
mod upkeep;
mod worker;

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
};

use jid::{BareJid, Jid};
use rusqlite::Connection;
use tokio::sync::RwLock;

pub use self::{
    examine::{SqliteExamined, examine},
    open_error::SqliteOpenError,
    tables::SqliteTables,
};
use self::{
    meanwhile::Meanwhile,
    worker::{Reader, Writer},
};
use super::{
    engine::{Engine, in_steps},
    error::{StoreError, StoreResult},
    messages::{Caps, Claim, Enqueued, NewMessage, News, Overtaken, Waiting},
    refusals::{Asked, Refusals},
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
        timekeeper::Kept,
    },
};

/// The files are closed when it is dropped.
pub struct Sqlite {
    reader: Reader,
    writer: Writer,
    pub(super) path: PathBuf,
    /// The last change by another process that this one knows.
    changes: AtomicI64,
    refusals: Refusals,
    /// How many messages had expired and were deleted since the last [`purge`](Engine::purge).
    swept: AtomicU64,
    /// There is one from a write that failed until [`ping`](Engine::ping) finds that the disk takes
    /// writes again. Whoever writes about messages that wait holds it, so that nothing comes
    /// between what is remembered and its way to the disk.
    meanwhile: Arc<RwLock<Option<Meanwhile>>>,
    /// The daemon's claim to the directory, held until the last handle is gone.
    _lock: Option<File>,
}

impl Sqlite {
    /// The daemon's: makes what is missing, and keeps other daemons out.
    pub fn open(state_dir: &Path) -> Result<Self, SqliteOpenError> {
        let path = state_dir::make(state_dir)?;
        Self::start(path, Some(state_dir::lock(state_dir)?))
    }

    /// For the command line, which must not leave a database that belongs to another user.
    pub fn open_existing(state_dir: &Path) -> Result<Self, SqliteOpenError> {
        Self::start(state_dir::find(state_dir)?, None)
    }

    fn start(path: PathBuf, lock: Option<File>) -> Result<Self, SqliteOpenError> {
        let writing = open::connect(&path)?;
        schema::migrate(&path, &writing)?;
        let copied_from = open::copied_from(&writing);
        if let Some(copied_from) =
            copied_from.map_err(|source| open_error::failed(&path, source))?
        {
            return Err(SqliteOpenError::Unfinished { path, copied_from });
        }
        if lock.is_some() {
            // If the disk is full, say, they end by themselves: no reason not to start.
            let _ = queue::void_claims(&writing);
        }
        let changes =
            revocations::changes(&writing).map_err(|source| open_error::failed(&path, source))?;
        let reading = open::connect(&path)?;
        Ok(Self {
            reader: Reader::start(reading).map_err(SqliteOpenError::Thread)?,
            writer: Writer::start(writing).map_err(SqliteOpenError::Thread)?,
            path,
            changes: AtomicI64::new(changes),
            refusals: Refusals::default(),
            swept: AtomicU64::new(0),
            meanwhile: Arc::default(),
            _lock: lock,
        })
    }

    /// What the daemon knew of the time when it last ran.
    pub async fn kept_time(&self) -> StoreResult<Option<Kept>> {
        self.reader.read(upkeep::kept_time).await
    }

    pub async fn keep_time(&self, kept: &Kept) -> StoreResult<()> {
        let kept = kept.clone();
        self.write(move |db| upkeep::keep_time(db, &kept)).await
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> StoreResult<T> {
        let written = self.writer.write(work).await;
        if matches!(written, Err(StoreError::Failed(_))) {
            self.meanwhile.write().await.get_or_insert_default();
        }
        written
    }

    /// Does work on messages that wait: on the disk or, while that takes no writes, in the memory.
    async fn deliver<T: Send + 'static>(
        &self,
        on_disk: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
        in_memory: impl FnOnce(&Connection, &mut Meanwhile) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<T> {
        let meanwhile = self.meanwhile.read().await;
        if meanwhile.is_none() {
            match self.writer.write(on_disk).await {
                Err(StoreError::Failed(_)) => {}
                done => return done,
            }
        }
        drop(meanwhile);
        let mut meanwhile = self.meanwhile.clone().write_owned().await;
        // The work takes the guard along: it may go on when nobody waits for it any more.
        let work = move |db: &Connection| in_memory(db, meanwhile.get_or_insert_default());
        self.reader.read(work).await
    }

    /// Answers a question about messages that wait, in the same way.
    async fn look<T: Send + 'static>(
        &self,
        on_disk: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
        in_memory: impl FnOnce(&Connection, &Meanwhile) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<T> {
        let meanwhile = self.meanwhile.clone().read_owned().await;
        let work = move |db: &Connection| match &*meanwhile {
            Some(meanwhile) => in_memory(db, meanwhile),
            None => Ok(on_disk(db)?),
        };
        self.reader.read(work).await
    }

    /// Writes what is remembered, if the disk takes it.
    async fn catch_up(&self) -> StoreResult<()> {
        self.writer.write(upkeep::touch).await?;
        let meanwhile = self.meanwhile.clone().write_owned().await;
        let work = move |db: &Connection| {
            if let Some(meanwhile) = &*meanwhile {
                meanwhile.write(db)?;
            }
            Ok(meanwhile)
        };
        // Nobody else has had it before the commit.
        *self.writer.write(work).await? = None;
        Ok(())
    }
}

impl Engine for Sqlite {
    async fn register(&self, new: NewRegistration) -> StoreResult<Registered> {
        self.write(move |db| registrations::register(db, &new))
            .await
    }

    async fn import(&self, new: Vec<NewRegistration>) -> StoreResult<usize> {
        self.write(move |db| registrations::import(db, &new)).await
    }

    async fn find(&self, id: TokenHash) -> StoreResult<Option<Found>> {
        self.reader
            .read(move |db| registrations::find(db, &id))
            .await
    }

    async fn longest_unrenewed(
        &self,
        owner: &BareJid,
        now: Timestamp,
    ) -> StoreResult<Option<Registration>> {
        let owner = owner.clone();
        self.reader
            .read(move |db| registrations::longest_unrenewed(db, &owner, now))
            .await
    }

    async fn owners(&self, now: Timestamp) -> StoreResult<Vec<Owned>> {
        self.reader
            .read(move |db| registrations::owners(db, now))
            .await
    }

    async fn revoke(
        &self,
        scope: Scope,
        at: Timestamp,
        min_until: Timestamp,
    ) -> StoreResult<Revoked> {
        self.write(move |db| revocations::revoke(db, scope, at, min_until))
            .await
    }

    async fn revocations(&self) -> StoreResult<Vec<Revocation>> {
        self.reader.read(revocations::all).await
    }

    async fn revocations_if_changed(&self) -> StoreResult<Option<Vec<Revocation>>> {
        let known = self.changes.load(Relaxed);
        let (present, revocations) = self
            // Asked of the connection that writes: what it writes itself does not count.
            .write(move |db| {
                let present = revocations::changes(db)?;
                let changed = present != known;
                let revocations = changed.then(|| revocations::all(db)).transpose()?;
                Ok((present, revocations))
            })
            .await?;
        self.changes.store(present, Relaxed);
        Ok(revocations)
    }

    async fn note_issuer(&self, key: KeyId, live_until: Timestamp) -> StoreResult<()> {
        self.write(move |db| issuers::note(db, key, live_until))
            .await
    }

    async fn issuers(&self) -> StoreResult<Vec<Issuer>> {
        self.reader.read(issuers::all).await
    }

    async fn forget_key(&self, key: KeyId) -> StoreResult<Option<usize>> {
        let step = || self.write(move |db| registrations::forget_step(db, key));
        let forgotten = in_steps(step).await?;
        // Last, so that a half-done work still stops the daemon from starting without the secret.
        let known = self.write(move |db| issuers::forget(db, key)).await?;
        Ok(known.then_some(usize::try_from(forgotten).unwrap_or(usize::MAX)))
    }

    async fn enqueue(
        &self,
        message: NewMessage,
        caps: Caps,
        now: Timestamp,
    ) -> StoreResult<Enqueued> {
        let asked = Asked::of(&message, caps, now);
        let decide = async {
            let enqueue = move |db: &Connection| enqueue::enqueue(db, &message, caps, now);
            let (enqueued, swept) = self.write(enqueue).await?;
            self.swept.fetch_add(swept, Relaxed);
            Ok(enqueued)
        };
        self.refusals.spare(asked, decide).await
    }

    async fn claim(
        &self,
        done: Option<MessageKey>,
        owner: &Jid,
        now: Timestamp,
        lease: Timestamp,
    ) -> StoreResult<(bool, Claim)> {
        let (owner, same) = (owner.clone(), owner.clone());
        self.deliver(
            move |db| {
                let was_there = done.map(|key| queue::acknowledge(db, key)).transpose()?;
                let claim = queue::claim(db, &owner, now, lease)?;
                Ok((was_there.unwrap_or(false), claim))
            },
            move |db, meanwhile| {
                let was_there = done.map(|key| meanwhile.acknowledge(db, key)).transpose()?;
                let claim = meanwhile.claim(db, &same, now, lease)?;
                Ok((was_there.unwrap_or(false), claim))
            },
        )
        .await
    }

    async fn acknowledge(&self, key: MessageKey) -> StoreResult<bool> {
        self.deliver(
            move |db| queue::acknowledge(db, key),
            move |db, meanwhile| meanwhile.acknowledge(db, key),
        )
        .await
    }

    async fn put_back(
        &self,
        key: MessageKey,
        attempt: u16,
        owner: &Jid,
        hold: Hold,
    ) -> StoreResult<Option<Jid>> {
        let (owner, same) = (owner.clone(), owner.clone());
        self.deliver(
            move |db| queue::put_back(db, key, attempt, &owner, hold),
            move |db, meanwhile| meanwhile.put_back(db, key, attempt, &same, hold),
        )
        .await
    }

    async fn asked(&self, key: MessageKey, attempt: u16) -> StoreResult<Option<Registration>> {
        self.look(
            move |db| queue::asked(db, key, attempt),
            move |db, meanwhile| meanwhile.asked(db, key, attempt),
        )
        .await
    }

    async fn release(&self, owner: &Jid, since: Timestamp) -> StoreResult<()> {
        let (owner, same) = (owner.clone(), owner.clone());
        self.deliver(
            move |db| queue::release(db, &owner, since),
            move |db, meanwhile| meanwhile.release(db, &same, since),
        )
        .await
    }

    async fn overtake(&self, overtaken: &Overtaken) -> StoreResult<u64> {
        let overtaken = overtaken.clone();
        self.write(move |db| queue::overtake(db, &overtaken)).await
    }

    async fn redirect(&self, registration: &Registration) -> StoreResult<u64> {
        let registration = registration.clone();
        self.write(move |db| queue::redirect(db, &registration))
            .await
    }

    async fn owners_waiting(&self, after: Option<&Jid>, limit: u32) -> StoreResult<Vec<Jid>> {
        let after = after.cloned();
        self.reader
            .read(move |db| queue::owners_waiting(db, after.as_ref(), limit))
            .await
    }

    async fn is_waiting(&self, id: MessageId, now: Timestamp) -> StoreResult<bool> {
        self.look(
            move |db| queue::is_waiting(db, id, now),
            move |db, meanwhile| meanwhile.is_waiting(db, id, now),
        )
        .await
    }

    async fn cancel(&self, id: MessageId) -> StoreResult<bool> {
        self.write(move |db| queue::cancel(db, id)).await
    }

    async fn waiting(&self, now: Timestamp) -> StoreResult<Vec<Waiting>> {
        self.reader.read(move |db| queue::waiting(db, now)).await
    }

    async fn drop_waiting(&self, owner: &BareJid) -> StoreResult<u64> {
        in_steps(|| {
            let owner = owner.clone();
            self.write(move |db| queue::drop_step(db, &owner))
        })
        .await
    }

    /// There are no other replicas.
    async fn news(&self) -> News {
        std::future::pending().await
    }

    async fn pass_on(&self, _: &Jid, _: &str, _: Answer) -> StoreResult<()> {
        Ok(())
    }

    async fn purge(&self, now: Timestamp) -> StoreResult<u64> {
        let messages = || self.write(move |db| upkeep::purge_messages(db, now));
        let expired = in_steps(messages).await?;
        in_steps(|| self.write(move |db| upkeep::purge_step(db, now))).await?;
        in_steps(|| self.write(upkeep::shrink_step)).await?;
        self.refusals.forget_before(now);
        Ok(expired + self.swept.swap(0, Relaxed))
    }

    async fn sizes(&self) -> StoreResult<Sizes> {
        let path = self.path.clone();
        self.reader.read(move |db| upkeep::sizes(db, &path)).await
    }

    async fn ping(&self) -> StoreResult<()> {
        self.reader.read(issuers::all).await?;
        if self.meanwhile.read().await.is_some() {
            self.catch_up().await?;
        }
        self.write(|_| Ok(())).await
    }
}
