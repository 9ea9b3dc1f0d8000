//! The files in the state directory: the database, and the lock of the daemon that has it.
//!
//! A database of a newer version is refused before SQLite touches it.

use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io::{self, ErrorKind, Read},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;

use super::{
    open_error::{SqliteOpenError, no_directory, no_file, write_beside},
    schema::refuse_newer,
};

const FILE: &str = "unified-push.db";
const LOCK: &str = "lock";
const NO_FOLLOW: i32 = OFlags::NOFOLLOW.bits().cast_signed();

/// Makes the directory (its last component only) and the file where they are missing.
pub fn make(state_dir: &Path) -> Result<PathBuf, SqliteOpenError> {
    if !state_dir.exists() {
        let made = DirBuilder::new().mode(0o700).create(state_dir);
        made.map_err(|source| no_directory(state_dir, source))?;
    }
    check(state_dir, true)
}

/// For a database that must be there already.
pub fn find(state_dir: &Path) -> Result<PathBuf, SqliteOpenError> {
    check(state_dir, false)
}

/// Two daemons would not know what the other one has in memory. The lock goes with the process, so
/// that one that was killed leaves none behind.
pub fn lock(state_dir: &Path) -> Result<File, SqliteOpenError> {
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

/// `user_version` as SQLite's file format keeps it (its section 1.3); 0 for an empty file, and for one
/// that is no database, of which SQLite says so.
fn header_version(mut file: File) -> io::Result<u32> {
    let mut header = [0; 64];
    match file.read_exact(&mut header) {
        Ok(()) if header.starts_with(b"SQLite format 3\0") => {
            let [.., a, b, c, d] = header;
            Ok(u32::from_be_bytes([a, b, c, d]))
        }
        Ok(()) => Ok(0),
        Err(e) if e.kind() == ErrorKind::UnexpectedEof => Ok(0),
        Err(e) => Err(e),
    }
}

/// Writes a file beside the database and removes it.
pub fn check_writing(state_dir: &Path) -> Result<(), SqliteOpenError> {
    let path = state_dir.join(FILE);
    write_beside(&path).map_err(|source| no_file(path, source))
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt, symlink},
    };

    use super::*;
    use crate::store::sqlite::tests::connected;

    #[test]
    fn the_directory_and_the_file_are_for_the_daemon_alone() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("state");
        let _db = connected(&dir).unwrap();
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
        drop(connected(&elsewhere).unwrap());
        fs::create_dir(&state).unwrap();
        symlink(elsewhere.join(FILE), state.join(FILE)).unwrap();
        connected(&state).unwrap();
    }

    #[test]
    fn a_newer_database_is_refused_and_untouched() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        let db = connected(dir.path()).unwrap();
        db.pragma_update(None, "user_version", 99).unwrap();
        // Were it opened as ours, this would be changed.
        db.execute_batch("PRAGMA journal_mode = DELETE").unwrap();
        drop(db);
        let before = fs::read(&path).unwrap();
        let error = connected(dir.path()).unwrap_err();
        assert!(matches!(error, SqliteOpenError::Newer { found: 99, .. }));
        let text = error.to_string();
        assert!(text.contains("unified-push.db was written by a newer version"));
        assert_eq!(fs::read(&path).unwrap(), before);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_cannot_be_made_is_named_with_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        for bad in [&file, &file.join("below"), &dir.path().join("a/b")] {
            let text = connected(bad).unwrap_err().to_string();
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
        let text = connected(dir.path()).unwrap_err().to_string();
        assert!(text.contains("file is not a database"), "{text}");
    }
}
