//! Copies all that a store holds into another one, of whichever engine.
//!
//! The rows stay as they are, with their numbers and their times: tokens carry times too, and cannot be
//! changed. What the target dates them by goes on as the source's time does, so nothing expires early
//! or late, and what comes in later is later.
//!
//! A copy that was interrupted goes on after the last row that it brought. At the end both stores are
//! read and compared, by counts and digests. The target is noted as incomplete until then, and no
//! daemon starts on it.

use std::{fmt, path::PathBuf, sync::Arc};

use futures::TryStreamExt;

use super::{
    error::{OpenError, StoreError, StoreResult},
    postgres::{PostgresTables, PostgresUrl},
    sqlite::SqliteTables,
    tables::{TABLES, Table, Tables, Tally},
};
use crate::model::time::TimeSource;

/// Where a store is.
#[derive(Clone)]
pub enum Place {
    /// The daemon's `state_dir`.
    Sqlite(PathBuf),
    Postgres(PostgresUrl),
}

/// What is going on, for whoever waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    Begins {
        doing: Doing,
        /// What the rows are.
        rows: &'static str,
        /// How many there are, and how many of them are done already.
        of: u64,
        done: u64,
    },
    /// So many more rows are done.
    Rows(u64),
    /// What an earlier copy brought is deleted: the source has changed since.
    StartsOver,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    Copying,
    /// Making the indexes.
    Indexing,
    Comparing,
}

/// Why nothing was copied, or not all. It names the option.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    #[error("--from: {0}")]
    From(#[source] OpenError),
    #[error("--to: {0}")]
    To(#[source] OpenError),
    #[error("--from and --to are the same store")]
    Same,
    #[error(
        "--from: {place} holds part of a copy of {copied_from} itself. Complete that copy first"
    )]
    Incomplete { place: String, copied_from: String },
    #[error(
        "--to: {place} is not empty, it holds {rows} {holds}. Nothing has changed. Name a new database or \
         directory"
    )]
    NotEmpty {
        place: String,
        rows: u64,
        holds: &'static str,
    },
    #[error(
        "--to: {place} holds part of a copy of {copied_from}. Nothing has changed. Complete that copy, or \
         name a new database or directory"
    )]
    Another { place: String, copied_from: String },
    #[error(
        "the system's clock is wrong, so nobody knows when what is in {0} expires. Set the clock"
    )]
    ClockWrong(String),
    #[error(
        "the {0} differ after they were copied: something else writes to one of the two stores. See to it \
         that nothing does, and repeat the command"
    )]
    Differ(&'static str),
    #[error(
        "{option}: {place}: {source}. See to that, and repeat the command: it goes on where it ended"
    )]
    Store {
        option: &'static str,
        place: String,
        source: StoreError,
    },
}

/// Copies, and tells of it. Returns what was copied: the number of rows, and what they are.
pub async fn copy(
    from: &Place,
    to: &Place,
    time: Arc<dyn TimeSource>,
    mut progress: impl FnMut(Progress),
) -> Result<Vec<(u64, &'static str)>, CopyError> {
    if from.is(to) {
        return Err(CopyError::Same);
    }
    let source = from.source(time.clone()).await.map_err(CopyError::From)?;
    let place = source.place();
    let read = |error| failed("--from", &*source, error);
    if let Some(copied_from) = source.copied_from().await.map_err(read)? {
        return Err(CopyError::Incomplete { place, copied_from });
    }
    if source.time().await.map_err(read)?.is_none() {
        return Err(CopyError::ClockWrong(place));
    }
    let target = to.target(time).await.map_err(CopyError::To)?;
    let (source, target) = (&*source, &*target);
    let written = |error| failed("--to", target, error);
    let resumed = is_resumed(&place, target).await?;
    if !resumed {
        target.begin(&place).await.map_err(CopyError::To)?;
    }
    let compared = match transfer(source, target, &mut progress).await? {
        Err(_) if resumed => {
            progress(Progress::StartsOver);
            target.clear().await.map_err(written)?;
            transfer(source, target, &mut progress).await?
        }
        compared => compared,
    };
    let copied = compared.map_err(|table| CopyError::Differ(table.holds))?;
    match source.time().await.map_err(read)? {
        Some((now, leads)) => target.finish(now, leads).await.map_err(written)?,
        None => return Err(CopyError::ClockWrong(place)),
    }
    Ok(copied)
}

/// Whether the target holds a part of this copy; else it is empty.
async fn is_resumed(from: &str, target: &dyn Tables) -> Result<bool, CopyError> {
    let place = target.place();
    let failed = |error| failed("--to", target, error);
    match target.copied_from().await.map_err(failed)? {
        Some(copied_from) if copied_from == from => return Ok(true),
        Some(copied_from) => return Err(CopyError::Another { place, copied_from }),
        None => {}
    }
    for table in TABLES {
        let (rows, holds) = (target.count(table).await.map_err(failed)?, table.holds);
        if rows > 0 {
            return Err(CopyError::NotEmpty { place, rows, holds });
        }
    }
    Ok(false)
}

/// Copies what is missing and compares it all; returns what there is, or the table that differs.
async fn transfer(
    source: &dyn Tables,
    target: &dyn Tables,
    progress: &mut impl FnMut(Progress),
) -> Result<Result<Vec<(u64, &'static str)>, &'static Table>, CopyError> {
    let read = |error| failed("--from", source, error);
    let written = |error| failed("--to", target, error);
    let begins = |doing, rows, of, done| Progress::Begins {
        doing,
        rows,
        of,
        done,
    };
    for table in TABLES {
        let of = source.count(table).await.map_err(read)?;
        let done = target.count(table).await.map_err(written)?;
        progress(begins(Doing::Copying, table.holds, of, done));
        let mut pages = source.rows(table, target.last(table).await.map_err(written)?);
        while let Some(rows) = pages.try_next().await.map_err(read)? {
            target.add(table, &rows).await.map_err(written)?;
            progress(Progress::Rows(rows.len() as u64));
        }
    }
    let indexes = target.indexes();
    progress(begins(Doing::Indexing, "columns", indexes.len() as u64, 0));
    for index in indexes {
        target.make(index).await.map_err(written)?;
        progress(Progress::Rows(1));
    }
    let mut copied = Vec::new();
    for table in TABLES {
        let of = source.count(table).await.map_err(read)?;
        progress(begins(Doing::Comparing, table.holds, of, 0));
        let theirs = sum(source, table, progress).await.map_err(read)?;
        let ours = sum(target, table, &mut |_| {}).await.map_err(written)?;
        if theirs != ours {
            return Ok(Err(table));
        }
        copied.push((theirs.0, table.holds));
    }
    Ok(Ok(copied))
}

fn failed(option: &'static str, store: &dyn Tables, source: StoreError) -> CopyError {
    CopyError::Store {
        option,
        place: store.place(),
        source,
    }
}

/// The number of rows and the digest of all.
async fn sum(
    store: &dyn Tables,
    table: &'static Table,
    progress: &mut impl FnMut(Progress),
) -> StoreResult<(u64, Vec<u8>)> {
    let mut tally = Tally::new();
    let mut pages = store.rows(table, None);
    while let Some(rows) = pages.try_next().await? {
        rows.iter().for_each(|row| tally.add(row));
        progress(Progress::Rows(rows.len() as u64));
    }
    Ok(tally.sum())
}

impl Place {
    /// As far as the names tell.
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Sqlite(one), Self::Sqlite(other)) => {
                let real = |path: &PathBuf| path.canonicalize().unwrap_or_else(|_| path.clone());
                real(one) == real(other)
            }
            (Self::Postgres(one), Self::Postgres(other)) => one.is_same_database(other),
            (Self::Sqlite(_), Self::Postgres(_)) | (Self::Postgres(_), Self::Sqlite(_)) => false,
        }
    }

    async fn source(&self, time: Arc<dyn TimeSource>) -> Result<Box<dyn Tables>, OpenError> {
        Ok(match self {
            Self::Sqlite(state_dir) => Box::new(SqliteTables::source(state_dir, time)?),
            Self::Postgres(url) => Box::new(PostgresTables::source(url).await?),
        })
    }

    async fn target(&self, time: Arc<dyn TimeSource>) -> Result<Box<dyn Tables>, OpenError> {
        Ok(match self {
            Self::Sqlite(state_dir) => Box::new(SqliteTables::target(state_dir, time)?),
            Self::Postgres(url) => Box::new(PostgresTables::target(url).await?),
        })
    }
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Copying => "copying",
            Self::Indexing => "indexing",
            Self::Comparing => "comparing",
        })
    }
}
