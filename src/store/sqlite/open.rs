//! The database's file: made, checked and brought to the present schema.
//!
//! `PRAGMA user_version` counts the migrations that a file has seen. A file of a newer version is
//! refused before SQLite touches it.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, ErrorKind, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{
    Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior, config::DbConfig,
};
use rustix::{fs::OFlags, io::Errno};
use tracing::info;

use super::statements::Statements;

const FILE: &str = "unified-push.db";
const LOCK: &str = "lock";
const NO_FOLLOW: i32 = OFlags::NOFOLLOW.bits().cast_signed();

/// Each brings the schema from its position in this list to the next.
pub(super) const MIGRATIONS: &[&str] = &[
    include_str!("schema/1.sql"),
    include_str!("schema/2.sql"),
    include_str!("schema/3.sql"),
    include_str!("schema/4.sql"),
    include_str!("schema/5.sql"),
    include_str!("schema/6.sql"),
    include_str!("schema/7.sql"),
];

/// As `PRAGMA auto_vacuum` shows it.
const INCREMENTAL: u32 = 2;

/// More than there are statements, so that each is prepared once.
const CACHED_STATEMENTS: usize = 64;

/// How long to wait for another process, such as the command line's.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the store cannot be opened, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum SqliteOpenError {
    #[error(
        "the state directory {path} cannot be created: {source}. Create it as the user who runs \
         unified-push, or set `state_dir`"
    )]
    Directory { path: PathBuf, source: io::Error },
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

/// Makes the directory (its last component only) and the file where they are missing.
pub(super) fn make(state_dir: &Path) -> Result<PathBuf, SqliteOpenError> {
    if !state_dir.exists() {
        let made = DirBuilder::new().mode(0o700).create(state_dir);
        made.map_err(|source| no_directory(state_dir, source))?;
    }
    check(state_dir, true)
}

/// For a database that must be there already.
pub(super) fn find(state_dir: &Path) -> Result<PathBuf, SqliteOpenError> {
    check(state_dir, false)
}

/// Two daemons would not know what the other one has in memory. The lock goes with the process, so
/// that one that was killed leaves none behind.
pub(super) fn lock(state_dir: &Path) -> Result<File, SqliteOpenError> {
    let path = state_dir.join(LOCK);
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(0o600);
    let opened = options.custom_flags(NO_FOLLOW).open(&path);
    let locked = opened.map_err(TryLockError::Error).and_then(|file| {
        file.try_lock()?;
        Ok(file)
    });
    locked.map_err(|error| match error {
        TryLockError::WouldBlock => SqliteOpenError::InUse { path },
        TryLockError::Error(source) => no_file(path, source),
    })
}

/// Before SQLite opens the file: it would take a file that it may not write for a read-only
/// database, and complain at the first write only.
fn check(state_dir: &Path, create: bool) -> Result<PathBuf, SqliteOpenError> {
    let path = state_dir.join(FILE);
    let open = |make| {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(make).mode(0o600);
        options.open(&path)
    };
    let mut opened = open(false);
    // A link that leads to a database is an administrator's; none is made through a link.
    if create
        && opened
            .as_ref()
            .is_err_and(|e| e.kind() == ErrorKind::NotFound)
    {
        opened = open(true);
        // Unless another process has just made it.
        if opened
            .as_ref()
            .is_err_and(|e| e.kind() == ErrorKind::AlreadyExists)
            && path.exists()
        {
            opened = open(false);
        }
    }
    let version = match opened.and_then(header_version) {
        Ok(version) => version,
        Err(e) if e.kind() == ErrorKind::NotFound && !create => {
            return Err(SqliteOpenError::Missing { path });
        }
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {
            return Err(SqliteOpenError::Link { path });
        }
        Err(source) => return Err(no_file(path, source)),
    };
    refuse_newer(&path, version)?;
    Ok(path)
}

/// `user_version` as SQLite's file format keeps it (its section 1.3); 0 for an empty file.
fn header_version(mut file: File) -> io::Result<u32> {
    let mut header = [0; 64];
    match file.read_exact(&mut header) {
        Ok(()) => {
            let [.., a, b, c, d] = header;
            Ok(u32::from_be_bytes([a, b, c, d]))
        }
        Err(e) if e.kind() == ErrorKind::UnexpectedEof => Ok(0),
        Err(e) => Err(e),
    }
}

fn refuse_newer(path: &Path, found: u32) -> Result<(), SqliteOpenError> {
    let known = u32::try_from(MIGRATIONS.len()).expect("a handful");
    if found <= known {
        return Ok(());
    }
    Err(SqliteOpenError::Newer {
        path: path.to_owned(),
        found,
        known,
    })
}

pub(super) fn no_directory(state_dir: &Path, source: io::Error) -> SqliteOpenError {
    let path = state_dir.to_owned();
    match of_the_disk(&path, &source) {
        Some(error) => error,
        None => SqliteOpenError::Directory { path, source },
    }
}

/// Writes a file beside the database and removes it.
pub(super) fn check_writing(state_dir: &Path) -> Result<(), SqliteOpenError> {
    let path = state_dir.join(FILE);
    write_beside(&path).map_err(|source| no_file(path, source))
}

fn no_file(path: PathBuf, source: io::Error) -> SqliteOpenError {
    if source.raw_os_error() == Some(Errno::LOOP.raw_os_error()) {
        return SqliteOpenError::Link { path };
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

pub(super) fn failed(path: &Path, source: rusqlite::Error) -> SqliteOpenError {
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => SqliteOpenError::Full { path },
        Some(ErrorCode::ReadOnly) => SqliteOpenError::ReadOnly { path },
        // Which may be anything: a write of our own tells whether it is the disk.
        Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen) => {
            let found = write_beside(&path).err();
            let found = found.and_then(|found| of_the_disk(&path, &found));
            found.unwrap_or(SqliteOpenError::Sqlite { path, source })
        }
        _ => SqliteOpenError::Sqlite { path, source },
    }
}

fn write_beside(path: &Path) -> io::Result<()> {
    let file = path.with_extension("probe");
    // One that a crash has left, or a link that somebody has put there.
    let _ = fs::remove_file(&file);
    let made = OpenOptions::new().write(true).create_new(true).open(&file);
    let written = made?.write_all(&[0; 65536]);
    let _ = fs::remove_file(&file);
    written
}

/// A connection to a database that [`make`] or [`find`] has found good.
pub(super) fn connect(path: &Path) -> Result<Connection, SqliteOpenError> {
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

pub(super) fn migrate(path: &Path, db: &Connection) -> Result<(), SqliteOpenError> {
    let failed = |source| failed(path, source);
    loop {
        let step =
            Transaction::new_unchecked(db, TransactionBehavior::Immediate).map_err(failed)?;
        // Asked anew inside the transaction: another process may have migrated meanwhile, and the
        // newest number may lie in the log, not in the file's header.
        let version: u32 = step
            .query_row("PRAGMA user_version", [], |row| row.get(0))
            .map_err(failed)?;
        refuse_newer(path, version)?;
        let Some(migration) = MIGRATIONS.get(version as usize) else {
            return Ok(());
        };
        if version > 0 {
            let (next, of) = (version + 1, MIGRATIONS.len());
            info!("bringing the database from schema {version} to {next} of {of}");
        }
        step.execute_batch(migration)
            .and_then(|()| step.pragma_update(None, "user_version", version + 1))
            .and_then(|()| step.commit())
            .map_err(failed)?;
    }
}

/// From where the copy comes that is not complete, if there is one.
pub(super) fn copied_from(db: &Connection) -> rusqlite::Result<Option<String>> {
    db.find("SELECT source FROM copy", [], |row| row.get(0))
}

/// Bytes on the disk, with the log.
pub(super) fn file_bytes(path: &Path) -> u64 {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    [path, Path::new(&log)]
        .iter()
        .filter_map(|file| fs::metadata(file).ok())
        .map(|metadata| metadata.len())
        .sum()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn open(state_dir: &Path) -> Result<Connection, SqliteOpenError> {
        let path = make(state_dir)?;
        let db = connect(&path)?;
        migrate(&path, &db)?;
        Ok(db)
    }

    #[test]
    fn the_directory_and_the_file_are_for_the_daemon_alone() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("state");
        let _db = open(&dir).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&dir), 0o700);
        for file in fs::read_dir(&dir).unwrap() {
            let file = file.unwrap().path();
            assert_eq!(mode(&file), 0o600, "{file:?}");
        }
    }

    #[test]
    fn no_file_is_made_or_changed_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (state, other) = (dir.path().join("state"), dir.path().join("other"));
        fs::create_dir(&state).unwrap();
        for name in [FILE, LOCK] {
            symlink(&other, state.join(name)).unwrap();
        }
        let refused = |error: SqliteOpenError| {
            assert!(matches!(error, SqliteOpenError::Link { .. }), "{error:?}");
        };
        refused(make(&state).unwrap_err());
        refused(lock(&state).unwrap_err());
        assert!(!other.exists());

        fs::write(&other, "precious").unwrap();
        refused(lock(&state).unwrap_err());
        symlink(&other, state.join("unified-push.probe")).unwrap();
        check_writing(&state).unwrap();
        assert_eq!(fs::read(&other).unwrap(), b"precious");
    }

    #[test]
    fn a_database_may_lie_elsewhere() {
        let dir = tempfile::tempdir().unwrap();
        let (state, elsewhere) = (dir.path().join("state"), dir.path().join("elsewhere"));
        drop(open(&elsewhere).unwrap());
        fs::create_dir(&state).unwrap();
        symlink(elsewhere.join(FILE), state.join(FILE)).unwrap();
        open(&state).unwrap();
    }

    #[test]
    fn a_newer_database_is_refused_and_untouched() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        let db = open(dir.path()).unwrap();
        db.pragma_update(None, "user_version", 99).unwrap();
        // Were it opened as ours, this would be changed.
        db.execute_batch("PRAGMA journal_mode = DELETE").unwrap();
        drop(db);
        let before = fs::read(&path).unwrap();
        let error = open(dir.path()).unwrap_err();
        assert!(matches!(error, SqliteOpenError::Newer { found: 99, .. }));
        let text = error.to_string();
        assert!(text.contains("unified-push.db was written by a newer version"));
        assert_eq!(fs::read(&path).unwrap(), before);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_newer_version_that_is_still_in_the_log_is_refused_too() {
        let dir = tempfile::tempdir().unwrap();
        let writer = open(dir.path()).unwrap();
        writer.pragma_update(None, "user_version", 99).unwrap();
        let error = open(dir.path()).unwrap_err();
        assert!(matches!(error, SqliteOpenError::Newer { found: 99, .. }));
    }

    #[test]
    fn a_database_of_an_older_schema_keeps_all_it_holds() {
        const FILLED: &[&str] = &[
            include_str!("schema/1.filled.sql"),
            include_str!("schema/2.filled.sql"),
            include_str!("schema/3.filled.sql"),
            include_str!("schema/4.filled.sql"),
            include_str!("schema/5.filled.sql"),
            include_str!("schema/6.filled.sql"),
        ];
        assert_eq!(FILLED.len() + 1, MIGRATIONS.len(), "one of each");
        let fresh = tempfile::tempdir().unwrap();
        let present = schema(&open(fresh.path()).unwrap());
        for (dump, version) in FILLED.iter().zip(1..) {
            let dir = tempfile::tempdir().unwrap();
            let old = Connection::open(dir.path().join(FILE)).unwrap();
            old.execute_batch(dump).unwrap();
            let tables = all_rows(&old);
            let before: Vec<_> = tables.iter().map(|query| texts(&old, query)).collect();
            drop(old);

            let db = open(dir.path()).unwrap();
            assert_eq!(schema(&db), present);
            assert!(!tables.is_empty());
            for (query, rows) in tables.iter().zip(before) {
                assert!(!rows.is_empty(), "{query}");
                let query = match version {
                    ..3 => without_grace(query),
                    _ => query.clone(),
                };
                assert_eq!(texts(&db, &query), rows);
            }
        }
    }

    /// A query of each table's present columns.
    fn all_rows(db: &Connection) -> Vec<String> {
        texts(
            db,
            "SELECT 'SELECT concat_ws(char(10), ' || group_concat('quote(' || c.name || ')') ||
                    ') FROM ' || t.name || ' ORDER BY 1'
             FROM sqlite_schema t, pragma_table_info(t.name) c
             WHERE t.type = 'table' GROUP BY t.name",
        )
    }

    /// Schema 3 added the default grace to these.
    fn without_grace(query: &str) -> String {
        let (table, column) = match query {
            query if query.contains("FROM registrations ") => ("registrations", "expires"),
            query if query.contains("FROM revocations ") => ("revocations", "until"),
            query if query.contains("FROM issuers ") => ("issuers", "live_until"),
            _ => return query.to_owned(),
        };
        let shifted = format!("quote({column} - 28 * 86400000)");
        let query = query.replace(&format!("quote({column})"), &shifted);
        assert!(query.contains(&shifted), "{table}: {query}");
        query
    }

    fn schema(db: &Connection) -> Vec<String> {
        texts(
            db,
            "SELECT coalesce(sql, name) FROM sqlite_schema ORDER BY name",
        )
    }

    fn texts(db: &Connection, query: &str) -> Vec<String> {
        let mut statement = db.prepare(query).unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    }

    #[test]
    fn what_cannot_be_made_is_named_with_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        for bad in [&file, &file.join("below"), &dir.path().join("a/b")] {
            let text = open(bad).unwrap_err().to_string();
            assert!(text.contains(bad.to_str().unwrap()), "{text}");
            assert!(text.contains("state_dir"), "{text}");
        }
        let text = find(dir.path()).unwrap_err().to_string();
        assert!(text.contains("does not exist"), "{text}");
    }

    #[test]
    fn a_file_that_is_no_database_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), [b' '; 4096]).unwrap();
        let error = open(dir.path()).unwrap_err();
        assert!(matches!(
            error,
            SqliteOpenError::Newer { .. } | SqliteOpenError::Sqlite { .. }
        ));
    }
}
