//! What has to be done now and then: delete what has expired, count, see that it works.

use std::{fs, path::Path};

use rusqlite::{Connection, Result};

use super::{
    columns::{count, unreadable},
    queue,
    statements::Statements,
};
use crate::{
    model::{time::Timestamp, timekeeper::Kept},
    store::{registrations::Sizes, rules::STEP},
};

/// Deletes some of what has expired, but for messages; zero when nothing is left.
pub fn purge_step(db: &Connection, now: Timestamp) -> Result<u64> {
    let mut deleted = 0;
    for (table, end) in [
        ("registrations", "expires"),
        ("revocations", "until"),
        ("issuers", "live_until"),
    ] {
        let sql = format!(
            "DELETE FROM {table}
             WHERE rowid IN (SELECT rowid FROM {table} WHERE {end} <= ? LIMIT ?)"
        );
        deleted += db.run(&sql, (now, STEP))?;
    }
    Ok(deleted)
}

/// The same of messages.
pub fn purge_messages(db: &Connection, now: Timestamp) -> Result<u64> {
    db.run(
        "DELETE FROM queue WHERE seq IN (SELECT seq FROM queue WHERE expires <= ? LIMIT ?)",
        (now, STEP),
    )
}

/// Gives some free pages back to the file system; zero when there are none.
pub fn shrink_step(db: &Connection) -> Result<u64> {
    let sql = format!("PRAGMA incremental_vacuum({STEP})");
    let pages = db.list(&sql, [], |_| Ok(()))?;
    Ok(pages.len() as u64)
}

pub fn sizes(db: &Connection, path: &Path) -> Result<Sizes> {
    let (queued, queued_bytes) = queue::totals(db)?;
    Ok(Sizes {
        registrations: db.one("SELECT count(*) FROM registrations", [], |row| {
            count(row, 0)
        })?,
        queued,
        queued_bytes,
        oldest: queue::oldest(db)?,
        bytes: file_bytes(path),
    })
}

/// Bytes on the disk, with the log.
fn file_bytes(path: &Path) -> u64 {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    [path, Path::new(&log)]
        .iter()
        .filter_map(|file| fs::metadata(file).ok())
        .map(|metadata| metadata.len())
        .sum()
}

/// What the daemon knew of the time when it last ran.
pub fn kept_time(db: &Connection) -> Result<Option<Kept>> {
    db.find("SELECT kept FROM clock", [], |row| {
        let text: String = row.get(0)?;
        serde_json::from_str(&text).map_err(|e| unreadable(0, e))
    })
}

pub fn keep_time(db: &Connection, kept: &Kept) -> Result<()> {
    let text = serde_json::to_string(kept).expect("numbers and strings serialize");
    db.run("DELETE FROM clock", [])?;
    db.run("INSERT INTO clock (kept) VALUES (?)", [text])?;
    Ok(())
}

/// Writes the first page as it is, which shows that the disk takes it.
pub fn touch(db: &Connection) -> Result<()> {
    let version: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    db.pragma_update(None, "user_version", version)
}
