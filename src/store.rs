//! What is durable: the registrations of the back end `storage`, the revocations of every back
//! end, and which secrets have issued tokens.
//!
//! SQLite in `state_dir`, shared with the command line's process while the daemon runs. A write is
//! answered when it is on the disk; those that wait at the same time share one commit. No token is
//! kept, only what it takes to recompute one with the secret.

mod open;
mod sqlite;
#[cfg(test)]
mod tests;
mod worker;

use std::{
    fmt,
    fs::File,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

use jid::BareJid;
use rusqlite::Connection;

pub use self::open::OpenError;
use self::worker::{Reader, Writer};
use crate::{
    clock::Timestamp,
    registration::Registration,
    revocation::{Revocation, Scope},
    secret::KeyId,
};

/// Random; makes the URL of a new registration differ from any before it.
pub type Generation = [u8; 16];

/// What a registration is looked up by: a digest of its token's first half.
pub type TokenHash = [u8; 32];

/// A handle. Cheap to clone; the files are closed with the last one.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    reader: Reader,
    writer: Writer,
    path: PathBuf,
    data_version: AtomicI64,
    /// The last write that failed has not been followed by one that succeeded.
    failing: AtomicBool,
    /// The daemon's claim to the directory, held until the last handle is gone.
    _lock: Option<File>,
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    #[error("too much waits for the store; try again later")]
    Busy,
    #[error("the store failed: {0}")]
    Failed(String),
    /// A thread of the store has ended, which only a defect can cause.
    #[error("the store has stopped working")]
    Stopped,
}

/// A registration as it is asked for.
pub struct NewRegistration {
    /// `issued` is the present time.
    pub registration: Registration,
    /// The current secret.
    pub key: KeyId,
    /// For when a new row has to be made.
    pub generation: Generation,
    pub id: TokenHash,
    /// How many different registrations the account may hold.
    pub limit: u32,
    /// See [`Store::note_issuer`].
    pub live_until: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registered {
    /// Under the generation of the row that lives already, or under the one offered.
    Stored {
        generation: Generation,
        expires: Timestamp,
    },
    TooMany,
}

/// A row. It is there until it is purged, so it may have expired.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    pub registration: Registration,
    pub revoked: bool,
}

/// A secret that has issued tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Issuer {
    pub key: KeyId,
    /// No token of it lives longer; may be a day too late.
    pub live_until: Timestamp,
}

/// What one account holds.
#[derive(Debug, PartialEq, Eq)]
pub struct Owned {
    pub owner: BareJid,
    pub registrations: u32,
    pub last_registered: Timestamp,
    pub latest_expiry: Timestamp,
}

/// For the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// With those that have expired but are not yet purged.
    pub registrations: i64,
    pub bytes: u64,
}

impl Store {
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
        let data_version = sqlite::data_version(&writing);
        let data_version = data_version.map_err(|source| OpenError::Sqlite {
            path: path.clone(),
            source,
        })?;
        let reading = open::connect(&path)?;
        Ok(Self(Arc::new(Inner {
            reader: Reader::start(reading).map_err(OpenError::Thread)?,
            writer: Writer::start(writing).map_err(OpenError::Thread)?,
            path,
            data_version: AtomicI64::new(data_version),
            failing: AtomicBool::new(false),
            _lock: lock,
        })))
    }

    /// Keeps the row, with a later expiry and the present full JID, while the newest one of this
    /// owner, application and instance lives under the current secret. Otherwise makes one, within
    /// the account's limit.
    pub async fn register(&self, new: NewRegistration) -> Result<Registered, StoreError> {
        self.write(move |db| sqlite::register(db, &new)).await
    }

    pub async fn find(&self, id: TokenHash) -> Result<Option<Found>, StoreError> {
        self.read(move |db| sqlite::find(db, &id)).await
    }

    /// Kills what was issued up to `at`. Kept until `min_until` at least, and until no secret has
    /// a living token any more.
    pub async fn revoke(
        &self,
        scope: Scope,
        at: Timestamp,
        min_until: Timestamp,
    ) -> Result<Revocation, StoreError> {
        self.write(move |db| sqlite::revoke(db, scope, at, min_until))
            .await
    }

    pub async fn revocations(&self) -> Result<Vec<Revocation>, StoreError> {
        self.read(sqlite::revocations).await
    }

    /// All revocations, if another process has changed something since this was last asked; cheap
    /// enough to be asked each second.
    pub async fn revocations_if_changed(&self) -> Result<Option<Vec<Revocation>>, StoreError> {
        let known = self.0.data_version.load(Ordering::Relaxed);
        let (present, revocations) = self
            // Asked of the connection that writes: what it writes itself does not count.
            .write(move |db| {
                let present = sqlite::data_version(db)?;
                let changed = present != known;
                let revocations = changed.then(|| sqlite::revocations(db)).transpose()?;
                Ok((present, revocations))
            })
            .await?;
        self.0.data_version.store(present, Ordering::Relaxed);
        Ok(revocations)
    }

    /// Records that tokens of this secret may live until then.
    pub async fn note_issuer(&self, key: KeyId, live_until: Timestamp) -> Result<(), StoreError> {
        self.write(move |db| sqlite::note_issuer(db, key, live_until))
            .await
    }

    pub async fn issuers(&self) -> Result<Vec<Issuer>, StoreError> {
        self.read(sqlite::issuers).await
    }

    /// Gives a secret up with all its registrations, and says how many of these the store held.
    /// None when it is no issuer.
    pub async fn forget_key(&self, key: KeyId) -> Result<Option<usize>, StoreError> {
        let mut forgotten = 0;
        loop {
            match self.write(move |db| sqlite::forget_step(db, key)).await? {
                0 => break,
                some => forgotten += some,
            }
        }
        // Last, so that a half-done work still stops the daemon from starting without the secret.
        let known = self.write(move |db| sqlite::forget_issuer(db, key)).await?;
        Ok(known.then_some(forgotten))
    }

    /// Who holds registrations that live.
    pub async fn owners(&self, now: Timestamp) -> Result<Vec<Owned>, StoreError> {
        self.read(move |db| sqlite::owners(db, now)).await
    }

    /// Deletes what has expired, in steps between which others get their turn.
    pub async fn purge(&self, now: Timestamp) -> Result<(), StoreError> {
        while self.write(move |db| sqlite::purge_step(db, now)).await? > 0 {}
        while self.write(sqlite::shrink_step).await? > 0 {}
        Ok(())
    }

    pub async fn sizes(&self) -> Result<Sizes, StoreError> {
        let path = self.0.path.clone();
        self.read(move |db| {
            Ok(Sizes {
                registrations: sqlite::count(db)?,
                bytes: open::file_bytes(&path),
            })
        })
        .await
    }

    /// Whether the store answers, for reading and for writing. After a write that failed, only one
    /// that reaches the disk proves it.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.read(sqlite::issuers).await?;
        if self.0.failing.load(Ordering::Relaxed) {
            self.write(sqlite::touch).await?;
            self.0.failing.store(false, Ordering::Relaxed);
        }
        self.write(|_| Ok(())).await
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.0.reader.read(work).await
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let written = self.0.writer.write(work).await;
        if matches!(written, Err(StoreError::Failed(_))) {
            self.0.failing.store(true, Ordering::Relaxed);
        }
        written
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Store").field(&self.0.path).finish()
    }
}

impl StoreError {
    fn failed(error: impl fmt::Display) -> Self {
        Self::Failed(error.to_string())
    }
}
