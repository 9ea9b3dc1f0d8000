//! A connection to the database.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags, config::DbConfig};

use super::{
    open_error::{SqliteOpenError, failed},
    statements::Statements,
};

/// As `PRAGMA auto_vacuum` shows it.
const INCREMENTAL: u32 = 2;

/// More than there are statements, so that each is prepared once.
const CACHED_STATEMENTS: usize = 64;

/// How long to wait for another process, such as the command line's.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection to a database whose file [`state_dir`](super::state_dir) has found good.
pub fn connect(path: &Path) -> Result<Connection, SqliteOpenError> {
    let failed = |source| failed(path, source);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags).map_err(failed)?;
    configure(&db).map_err(failed)?;
    Ok(db)
}

fn configure(db: &Connection) -> rusqlite::Result<()> {
    db.busy_timeout(BUSY_TIMEOUT)?;
    db.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
    // Or a statement that a partial index could serve is prepared anew for each value.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // Only for a new file, and before its first page. To set it again writes to the file, which
    // another process would take for news.
    let auto_vacuum: u32 = db.query_row("PRAGMA auto_vacuum", [], |row| row.get(0))?;
    if auto_vacuum != INCREMENTAL {
        db.execute_batch("PRAGMA auto_vacuum = INCREMENTAL")?;
    }
    // FULL: a commit is on the disk when it is answered.
    db.execute_batch(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA journal_size_limit = 16777216;",
    )
}

/// From where the copy comes that is not complete, if there is one.
pub fn copied_from(db: &Connection) -> rusqlite::Result<Option<String>> {
    db.find("SELECT source FROM copy", [], |row| row.get(0))
}
