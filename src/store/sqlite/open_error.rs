//! Why the store cannot be opened, and what to do.

use std::{
    fs::{self, OpenOptions},
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
};

use rusqlite::ErrorCode;
use rustix::io::Errno;

/// Why the store cannot be opened, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum SqliteOpenError {
    #[error(
        "the state directory {path} cannot be created: {source}. Create it as the user who runs \
         unified-push, or set `state_dir`"
    )]
    Directory { path: PathBuf, source: io::Error },
    #[error(
        "{path} is not a directory. Name the daemon's `state_dir`, in which unified-push.db lies"
    )]
    NoDirectory { path: PathBuf },
    #[error(
        "{path} cannot be opened for writing: {source}. Let the user who runs unified-push write \
         to the state directory, or set `state_dir`"
    )]
    File { path: PathBuf, source: io::Error },
    /// Somebody else may have put it there, so that another file of ours is written to.
    #[error(
        "{path} is a symbolic link, which the daemon did not make and does not follow. Remove it, and \
         see that only the user who runs unified-push can write to the state directory"
    )]
    Link { path: PathBuf },
    #[error(
        "{path} is held by another daemon. Stop that daemon, or give each one its own `state_dir`"
    )]
    InUse { path: PathBuf },
    #[error(
        "{path} does not exist. Either `state_dir` is not the daemon's, or the daemon has never run"
    )]
    Missing { path: PathBuf },
    #[error("{path} holds no store of unified-push. Name the daemon's `state_dir`")]
    NoStore { path: PathBuf },
    #[error("{path} is locked by another program, such as a backup. Try again when that has ended")]
    Locked { path: PathBuf },
    #[error(
        "{path} was written by a newer version of unified-push (schema {found}; this version knows \
         {known}). Run that version, or restore a backup made by this one"
    )]
    Newer {
        path: PathBuf,
        found: u32,
        known: u32,
    },
    #[error(
        "the disk of {path} is full. Make room there, or set `state_dir` to a directory with more room"
    )]
    Full { path: PathBuf },
    #[error(
        "the disk of {path} is read-only. Mount it for writing (the kernel's log says if it did this \
         by itself because of an error), or set `state_dir`"
    )]
    ReadOnly { path: PathBuf },
    #[error(
        "{path} cannot be used as the store: {source}. Restore a backup, or move the file away"
    )]
    Sqlite {
        path: PathBuf,
        source: rusqlite::Error,
    },
    #[error(
        "{path} holds part of a copy of {copied_from}. Repeat `unified-push store copy`, which goes on \
         where it ended, or move the file away"
    )]
    Unfinished { path: PathBuf, copied_from: String },
    #[error("cannot start the store's thread: {0}")]
    Thread(#[source] io::Error),
}

/// When the directory cannot be made.
pub fn no_directory(state_dir: &Path, source: io::Error) -> SqliteOpenError {
    let path = state_dir.to_owned();
    match of_the_disk(&path, &source) {
        Some(error) => error,
        None => SqliteOpenError::Directory { path, source },
    }
}

/// When a file in it cannot be opened.
pub fn no_file(path: PathBuf, source: io::Error) -> SqliteOpenError {
    if source.raw_os_error() == Some(Errno::LOOP.raw_os_error()) {
        return SqliteOpenError::Link { path };
    }
    if source.kind() == ErrorKind::NotADirectory
        && let Some(state_dir) = path.parent()
    {
        let path = state_dir.to_owned();
        return SqliteOpenError::NoDirectory { path };
    }
    of_the_disk(&path, &source).unwrap_or(SqliteOpenError::File { path, source })
}

/// If the disk, not the file, is to blame.
fn of_the_disk(path: &Path, source: &io::Error) -> Option<SqliteOpenError> {
    let path = path.to_owned();
    match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Some(SqliteOpenError::Full { path }),
        ErrorKind::ReadOnlyFilesystem => Some(SqliteOpenError::ReadOnly { path }),
        _ => None,
    }
}

/// When SQLite fails.
pub fn failed(path: &Path, source: rusqlite::Error) -> SqliteOpenError {
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => SqliteOpenError::Full { path },
        Some(ErrorCode::ReadOnly) => SqliteOpenError::ReadOnly { path },
        Some(ErrorCode::DatabaseBusy) => SqliteOpenError::Locked { path },
        // Which may be anything: a write of our own tells whether it is the disk.
        Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen) => {
            let found = write_beside(&path).err();
            let found = found.and_then(|found| of_the_disk(&path, &found));
            found.unwrap_or(SqliteOpenError::Sqlite { path, source })
        }
        _ => SqliteOpenError::Sqlite { path, source },
    }
}

/// Writes a file beside this one and removes it.
pub fn write_beside(path: &Path) -> io::Result<()> {
    let file = path.with_extension("probe");
    // One that a crash has left, or a link that somebody has put there.
    let _ = fs::remove_file(&file);
    let made = OpenOptions::new().write(true).create_new(true).open(&file);
    let written = made?.write_all(&[0; 65536]);
    let _ = fs::remove_file(&file);
    written
}
