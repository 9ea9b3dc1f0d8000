//! Whether a state directory serves, found out without leaving anything in it.

use std::{
    fs::{self, DirBuilder},
    os::unix::fs::DirBuilderExt,
    path::Path,
};

use rustix::fs::statvfs;

use super::{
    open,
    open_error::{self, SqliteOpenError},
    state_dir,
};

/// What was found in a directory that serves.
#[derive(Debug)]
pub struct SqliteExamined {
    /// SQLite's own, of a database that is there already.
    pub version: Option<String>,
    /// Room on its disk, in bytes; None when the system does not say.
    pub free: Option<u64>,
    /// How many files more its disk can hold. Some file systems do not count them.
    pub free_files: Option<u64>,
}

/// Looks at the directory. `in_use`: the daemon runs, and so holds the lock.
pub fn examine(state_dir: &Path, in_use: bool) -> Result<SqliteExamined, SqliteOpenError> {
    if !state_dir.exists() {
        make_and_remove(state_dir)?;
        return Ok(found(state_dir.parent().unwrap_or(state_dir), None));
    }
    state_dir::check_writing(state_dir)?;
    if !in_use {
        // Given back at once.
        drop(state_dir::lock(state_dir)?);
    }
    let version = match state_dir::find(state_dir) {
        Err(SqliteOpenError::Missing { .. }) => None,
        found => Some(version(&found?)?),
    };
    Ok(found(state_dir, version))
}

/// As the daemon would make it.
fn make_and_remove(state_dir: &Path) -> Result<(), SqliteOpenError> {
    let made = DirBuilder::new().mode(0o700).create(state_dir);
    made.map_err(|source| open_error::no_directory(state_dir, source))?;
    // Nothing depends on it.
    let _ = fs::remove_dir(state_dir);
    Ok(())
}

fn version(path: &Path) -> Result<String, SqliteOpenError> {
    let db = open::connect(path)?;
    // Reads the file, too.
    let sql = "SELECT sqlite_version() FROM (SELECT count(*) FROM sqlite_schema)";
    db.query_row(sql, [], |row| row.get(0))
        .map_err(|source| open_error::failed(path, source))
}

fn found(directory: &Path, version: Option<String>) -> SqliteExamined {
    let disk = statvfs(directory).ok();
    let free_files = disk.as_ref().filter(|disk| disk.f_files > 0);
    SqliteExamined {
        version,
        free: disk.as_ref().map(|disk| disk.f_bavail * disk.f_frsize),
        free_files: free_files.map(|disk| disk.f_favail),
    }
}
