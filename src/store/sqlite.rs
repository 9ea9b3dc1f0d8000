//! The store of a single daemon: SQLite in `state_dir`, shared with the command line's process
//! while the daemon runs.
//!
//! A write is answered when it is on the disk; those that wait at the same time share one commit.

mod columns;
mod open;
mod queue;
mod statements;
#[cfg(test)]
mod tests;
mod worker;

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicI64, Ordering},
};

use jid::{BareJid, Jid};
use rusqlite::Connection;

pub use self::open::OpenError;
use self::worker::{Reader, Writer};
use super::{
    Caps, Claim, Enqueued, Found, Generation, Issuer, NewMessage, NewRegistration, News, Owned,
    Registered, Revoked, Sizes, StoreError, TokenHash, Waiting,
};
use crate::{
    link::Answer,
    model::{
        message::{MessageId, MessageKey},
        registration::Registration,
        revocation::{Revocation, Scope},
        secret::KeyId,
        time::Timestamp,
    },
};

/// The files are closed when it is dropped.
pub struct Sqlite {
    reader: Reader,
    writer: Writer,
    pub(super) path: PathBuf,
    data_version: AtomicI64,
    /// The last write that failed has not been followed by one that succeeded.
    failing: AtomicBool,
    /// The daemon's claim to the directory, held until the last handle is gone.
    _lock: Option<File>,
}

impl Sqlite {
    /// The daemon's: makes what is missing, and keeps other daemons out.
    pub fn open(state_dir: &Path) -> Result<Self, OpenError> {
        let path = open::make(state_dir)?;
        Self::start(path, Some(open::lock(state_dir)?))
    }

    /// For the command line, which must not leave a database that belongs to another user.
    pub fn open_existing(state_dir: &Path) -> Result<Self, OpenError> {
        Self::start(open::find(state_dir)?, None)
    }

    fn start(path: PathBuf, lock: Option<File>) -> Result<Self, OpenError> {
        let mut writing = open::connect(&path)?;
        open::migrate(&path, &mut writing)?;
        if lock.is_some() {
            // If the disk is full, say, they end by themselves: no reason not to start.
            let _ = queue::void_claims(&writing);
        }
        let data_version = statements::data_version(&writing);
        let data_version = data_version.map_err(|source| OpenError::Sqlite {
            path: path.clone(),
            source,
        })?;
        let reading = open::connect(&path)?;
        Ok(Self {
            reader: Reader::start(reading).map_err(OpenError::Thread)?,
            writer: Writer::start(writing).map_err(OpenError::Thread)?,
            path,
            data_version: AtomicI64::new(data_version),
            failing: AtomicBool::new(false),
            _lock: lock,
        })
    }

    pub async fn register(&self, new: NewRegistration) -> Result<Registered, StoreError> {
        self.write(move |db| statements::register(db, &new)).await
    }

    pub async fn longest_unrenewed(
        &self,
        owner: BareJid,
        now: Timestamp,
    ) -> Result<Option<Registration>, StoreError> {
        self.read(move |db| statements::longest_unrenewed(db, &owner, now))
            .await
    }

    pub async fn find(&self, id: TokenHash) -> Result<Option<Found>, StoreError> {
        self.read(move |db| statements::find(db, &id)).await
    }

    pub async fn revoke(
        &self,
        scope: Scope,
        at: Timestamp,
        min_until: Timestamp,
    ) -> Result<Revoked, StoreError> {
        self.write(move |db| statements::revoke(db, scope, at, min_until))
            .await
    }

    pub async fn revocations(&self) -> Result<Vec<Revocation>, StoreError> {
        self.read(statements::revocations).await
    }

    pub async fn revocations_if_changed(&self) -> Result<Option<Vec<Revocation>>, StoreError> {
        let known = self.data_version.load(Ordering::Relaxed);
        let (present, revocations) = self
            // Asked of the connection that writes: what it writes itself does not count.
            .write(move |db| {
                let present = statements::data_version(db)?;
                let changed = present != known;
                let revocations = changed.then(|| statements::revocations(db)).transpose()?;
                Ok((present, revocations))
            })
            .await?;
        self.data_version.store(present, Ordering::Relaxed);
        Ok(revocations)
    }

    pub async fn note_issuer(&self, key: KeyId, live_until: Timestamp) -> Result<(), StoreError> {
        self.write(move |db| statements::note_issuer(db, key, live_until))
            .await
    }

    pub async fn issuers(&self) -> Result<Vec<Issuer>, StoreError> {
        self.read(statements::issuers).await
    }

    pub async fn forget_key(&self, key: KeyId) -> Result<Option<usize>, StoreError> {
        let forgotten = self
            .in_steps(move |db| statements::forget_step(db, key))
            .await?;
        // Last, so that a half-done work still stops the daemon from starting without the secret.
        let known = self
            .write(move |db| statements::forget_issuer(db, key))
            .await?;
        Ok(known.then_some(forgotten))
    }

    pub async fn owners(&self, now: Timestamp) -> Result<Vec<Owned>, StoreError> {
        self.read(move |db| statements::owners(db, now)).await
    }

    pub async fn enqueue(
        &self,
        message: NewMessage,
        caps: Caps,
        now: Timestamp,
    ) -> Result<Enqueued, StoreError> {
        self.write(move |db| queue::enqueue(db, &message, caps, now))
            .await
    }

    pub async fn claim(
        &self,
        done: Option<MessageKey>,
        owner: &Jid,
        now: Timestamp,
        lease: Timestamp,
    ) -> Result<(bool, Claim), StoreError> {
        let owner = owner.clone();
        self.write(move |db| {
            let deleted = done.map(|key| queue::acknowledge(db, &key)).transpose()?;
            let claim = queue::claim(db, &owner, now, lease)?;
            Ok((deleted.unwrap_or(false), claim))
        })
        .await
    }

    pub async fn acknowledge(&self, key: MessageKey) -> Result<bool, StoreError> {
        self.write(move |db| queue::acknowledge(db, &key)).await
    }

    pub async fn put_back(
        &self,
        key: MessageKey,
        attempt: u16,
        held_until: Timestamp,
    ) -> Result<Option<Jid>, StoreError> {
        self.write(move |db| queue::put_back(db, &key, attempt, held_until))
            .await
    }

    pub async fn asked(
        &self,
        key: MessageKey,
        attempt: u16,
    ) -> Result<Option<Registration>, StoreError> {
        self.read(move |db| queue::asked(db, &key, attempt)).await
    }

    pub async fn release(&self, owner: &Jid, since: Timestamp) -> Result<(), StoreError> {
        let owner = owner.clone();
        self.write(move |db| queue::release(db, &owner, since))
            .await
    }

    pub async fn redirect(&self, registration: &Registration) -> Result<u64, StoreError> {
        let registration = registration.clone();
        self.write(move |db| queue::redirect(db, &registration))
            .await
    }

    pub async fn owners_waiting(
        &self,
        after: Option<&Jid>,
        limit: u32,
    ) -> Result<Vec<Jid>, StoreError> {
        let after = after.cloned();
        self.read(move |db| queue::owners_waiting(db, after.as_ref(), limit))
            .await
    }

    pub async fn is_waiting(&self, id: MessageId, now: Timestamp) -> Result<bool, StoreError> {
        self.read(move |db| queue::is_waiting(db, &id, now)).await
    }

    pub async fn cancel(&self, id: MessageId) -> Result<bool, StoreError> {
        self.write(move |db| queue::cancel(db, &id)).await
    }

    pub async fn waiting(&self, now: Timestamp) -> Result<Vec<Waiting>, StoreError> {
        self.read(move |db| queue::waiting(db, now)).await
    }

    pub async fn drop_waiting(&self, owner: &BareJid) -> Result<u64, StoreError> {
        let owner = owner.clone();
        let dropped = self
            .in_steps(move |db| queue::drop_step(db, &owner))
            .await?;
        Ok(dropped as u64)
    }

    /// There are no others.
    pub async fn news(&self) -> News {
        std::future::pending().await
    }

    pub async fn pass_on(&self, _: &Jid, _: &str, _: Answer) -> Result<(), StoreError> {
        Ok(())
    }

    pub async fn purge(&self, now: Timestamp) -> Result<u64, StoreError> {
        let expired = self.in_steps(move |db| queue::purge_step(db, now)).await?;
        self.in_steps(move |db| statements::purge_step(db, now))
            .await?;
        self.in_steps(statements::shrink_step).await?;
        Ok(expired as u64)
    }

    pub async fn sizes(&self) -> Result<Sizes, StoreError> {
        let path = self.path.clone();
        self.read(move |db| {
            let (queued, queued_bytes) = queue::totals(db)?;
            Ok(Sizes {
                registrations: statements::count(db)?,
                queued,
                queued_bytes,
                oldest: queue::oldest(db)?,
                bytes: open::file_bytes(&path),
            })
        })
        .await
    }

    pub async fn ping(&self) -> Result<(), StoreError> {
        self.read(statements::issuers).await?;
        if self.failing.load(Ordering::Relaxed) {
            self.write(statements::touch).await?;
            self.failing.store(false, Ordering::Relaxed);
        }
        self.write(|_| Ok(())).await
    }

    /// Repeats a step that others get their turn after, until it has done nothing; returns the sum.
    async fn in_steps(
        &self,
        step: impl Fn(&Connection) -> rusqlite::Result<usize> + Clone + Send + 'static,
    ) -> Result<usize, StoreError> {
        let mut sum = 0;
        loop {
            match self.write(step.clone()).await? {
                0 => return Ok(sum),
                some => sum += some,
            }
        }
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.reader.read(work).await
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let written = self.writer.write(work).await;
        if matches!(written, Err(StoreError::Failed(_))) {
            self.failing.store(true, Ordering::Relaxed);
        }
        written
    }
}
