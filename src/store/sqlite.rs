//! The store of a single daemon: SQLite in `state_dir`, shared with the command line's process
//! while the daemon runs.
//!
//! A write is answered when it is on the disk; those that wait at the same time share one commit.

mod claim;
mod columns;
mod engine;
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
        atomic::{AtomicI64, AtomicU64},
    },
};

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
    error::{StoreError, StoreResult},
    refusals::Refusals,
};
use crate::model::timekeeper::Kept;

/// The files are closed when it is dropped.
pub struct Sqlite {
    reader: Reader,
    writer: Writer,
    pub(super) path: PathBuf,
    /// The last change by another process that this one knows.
    changes: AtomicI64,
    refusals: Refusals,
    /// How many messages had expired and were deleted since the last [`purge`](super::engine::Engine::purge).
    swept: AtomicU64,
    /// There is one from a write that failed until [`ping`](super::engine::Engine::ping) finds that the disk takes
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
            let _ = claim::void_claims(&writing);
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
