//! The schema, brought to the present version.
//!
//! `PRAGMA user_version` counts the migrations that a file has seen.

use std::path::Path;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tracing::info;

use super::open_error::{SqliteOpenError, failed};

/// Each brings the schema from its position in this list to the next.
pub const MIGRATIONS: &[&str] = &[
    include_str!("schema/1.sql"),
    include_str!("schema/2.sql"),
    include_str!("schema/3.sql"),
    include_str!("schema/4.sql"),
    include_str!("schema/5.sql"),
    include_str!("schema/6.sql"),
    include_str!("schema/7.sql"),
];

/// This version may misread what a newer one has written.
pub fn refuse_newer(path: &Path, found: u32) -> Result<(), SqliteOpenError> {
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

/// 0 for a database that is not ours yet.
pub fn version(db: &Connection) -> rusqlite::Result<u32> {
    db.query_row("PRAGMA user_version", [], |row| row.get(0))
}

pub fn migrate(path: &Path, db: &Connection) -> Result<(), SqliteOpenError> {
    let failed = |source| failed(path, source);
    loop {
        let step =
            Transaction::new_unchecked(db, TransactionBehavior::Immediate).map_err(failed)?;
        // Asked anew inside the transaction: another process may have migrated meanwhile, and the
        // newest number may lie in the log, not in the file's header.
        let version = version(&step).map_err(failed)?;
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::sqlite::{open, state_dir, tests::connected};

    #[test]
    fn a_newer_version_that_is_still_in_the_log_is_refused_too() {
        let dir = tempfile::tempdir().unwrap();
        let writer = connected(dir.path()).unwrap();
        writer.pragma_update(None, "user_version", 99).unwrap();
        let error = connected(dir.path()).unwrap_err();
        assert!(matches!(error, SqliteOpenError::Newer { found: 99, .. }));
    }

    #[test]
    fn who_finds_the_database_locked_is_to_wait() {
        let dir = tempfile::tempdir().unwrap();
        let other = connected(dir.path()).unwrap();
        let path = state_dir::find(dir.path()).unwrap();
        let db = open::connect(&path).unwrap();
        db.busy_timeout(Duration::ZERO).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let error = migrate(&path, &db).unwrap_err();
        assert!(matches!(error, SqliteOpenError::Locked { .. }), "{error}");
        assert!(!error.to_string().contains("move the file away"), "{error}");
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
        let present = schema(&connected(fresh.path()).unwrap());
        for (dump, version) in FILLED.iter().zip(1..) {
            let dir = tempfile::tempdir().unwrap();
            let old = Connection::open(dir.path().join("unified-push.db")).unwrap();
            old.execute_batch(dump).unwrap();
            let tables = all_rows(&old);
            let before: Vec<_> = tables.iter().map(|query| texts(&old, query)).collect();
            drop(old);

            let db = connected(dir.path()).unwrap();
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
}
