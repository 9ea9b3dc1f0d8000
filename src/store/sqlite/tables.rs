//! The tables in SQLite, for `store copy`.

use std::{
    fs::{self, File},
    os::unix::fs::{MetadataExt, chown, fchown},
    path::{Path, PathBuf},
    sync::Arc,
};

use futures::{FutureExt, StreamExt, future::LocalBoxFuture, stream};
use rusqlite::{
    Connection, Result, ToSql, params_from_iter,
    types::{FromSql, FromSqlResult, ToSqlOutput, ValueRef},
};

use super::{
    columns::count,
    open,
    open_error::{self, SqliteOpenError},
    schema, state_dir,
    statements::Statements,
    upkeep,
};
use crate::{
    model::{
        leads::Leads,
        time::{TimeSource, Timestamp},
        timekeeper::{Kept, Origin, Timekeeper},
    },
    store::{
        error::{OpenError, StoreError},
        tables::{Answer, Index, PAGE, Pages, Row, TABLES, Table, Tables, Value, indexes},
    },
};

pub struct SqliteTables {
    db: Connection,
    path: PathBuf,
    time: Arc<dyn TimeSource>,
    /// No daemon starts meanwhile.
    lock: File,
}

impl SqliteTables {
    /// To copy from: what is there, brought to the present schema. No command writes meanwhile.
    pub fn source(state_dir: &Path, time: Arc<dyn TimeSource>) -> Result<Self, SqliteOpenError> {
        let this = Self::open(state_dir::find(state_dir)?, state_dir, time)?;
        let failed = |source| open_error::failed(&this.path, source);
        if schema::version(&this.db).map_err(failed)? == 0 {
            // To migrate would make an empty store, of which a copy is no use.
            let path = this.path;
            return Err(SqliteOpenError::NoStore { path });
        }
        schema::migrate(&this.path, &this.db)?;
        this.db.execute_batch("BEGIN IMMEDIATE").map_err(failed)?;
        Ok(this)
    }

    /// To copy to: makes the file where it is missing, and changes nothing in one that is there.
    pub fn target(state_dir: &Path, time: Arc<dyn TimeSource>) -> Result<Self, SqliteOpenError> {
        let this = Self::open(state_dir::make(state_dir)?, state_dir, time)?;
        // What root has made is for the daemon to write. If root may not give it, the daemon will say so.
        if let (Ok(directory), Ok(file)) = (fs::metadata(state_dir), fs::metadata(&this.path))
            && directory.uid() != file.uid()
        {
            let _ = chown(&this.path, Some(directory.uid()), Some(directory.gid()));
            let _ = fchown(&this.lock, Some(directory.uid()), Some(directory.gid()));
        }
        Ok(this)
    }

    fn open(
        path: PathBuf,
        state_dir: &Path,
        time: Arc<dyn TimeSource>,
    ) -> Result<Self, SqliteOpenError> {
        let lock = state_dir::lock(state_dir)?;
        let db = open::connect(&path)?;
        // 128 MiB: rows come in an order that is none to most indexes.
        let cache = db.pragma_update(None, "cache_size", -131_072);
        cache.map_err(|source| open_error::failed(&path, source))?;
        Ok(Self {
            path: path.canonicalize().unwrap_or(path),
            db,
            time,
            lock,
        })
    }

    fn has(&self, table_or_index: &str) -> Result<bool> {
        let sql = "SELECT count(*) FROM sqlite_schema WHERE name = ?";
        self.db
            .one(sql, [table_or_index], |row| Ok(count(row, 0)? > 0))
    }

    fn begin(&self, from: &str) -> std::result::Result<(), SqliteOpenError> {
        schema::migrate(&self.path, &self.db)?;
        let noted = self.db.run("INSERT INTO copy (source) VALUES (?)", [from]);
        let noted = noted.and_then(|_| self.take_indexes_away());
        noted.map_err(|source| open_error::failed(&self.path, source))
    }

    fn take_indexes_away(&self) -> Result<()> {
        for Index { name, .. } in indexes(schema::MIGRATIONS) {
            self.db
                .execute_batch(&format!("DROP INDEX IF EXISTS {name}"))?;
        }
        Ok(())
    }

    fn make_index(&self, index: Index) -> Result<()> {
        match self.has(index.name)? {
            true => Ok(()),
            false => self.db.execute_batch(index.sql),
        }
    }

    fn rows(
        &self,
        table: &Table,
        after: Option<&Row>,
        order: &str,
        limit: usize,
    ) -> Result<Vec<Row>> {
        let place = after.map_or(&[][..], |row| table.place(row));
        let sql = format!(
            "SELECT {} FROM {} {} ORDER BY {} LIMIT {limit}",
            columns(table.columns.iter().map(|(name, _)| *name)),
            table.name,
            match after {
                Some(_) => format!(
                    "WHERE ({}) > ({})",
                    columns(table.order()),
                    marks(table.order)
                ),
                None => String::new(),
            },
            table
                .order()
                .map(|name| format!("{} {order}", column(name)))
                .collect::<Vec<_>>()
                .join(", "),
        );
        let width = table.columns.len();
        self.db.list(&sql, params_from_iter(place), |row| {
            (0..width).map(|index| row.get(index)).collect()
        })
    }

    fn add(&self, table: &Table, rows: &[Row]) -> Result<()> {
        let names = columns(table.columns.iter().map(|(name, _)| *name));
        let sql = format!(
            "INSERT INTO {} ({names}) VALUES ({})",
            table.name,
            marks(table.columns.len())
        );
        let commit = self.db.unchecked_transaction()?;
        let mut insert = commit.prepared(&sql)?;
        for row in rows {
            insert.execute(params_from_iter(row))?;
        }
        drop(insert);
        commit.commit()
    }

    fn clear(&self) -> Result<()> {
        let commit = self.db.unchecked_transaction()?;
        for table in TABLES {
            commit.run(&format!("DELETE FROM {}", table.name), [])?;
        }
        self.take_indexes_away()?;
        commit.commit()
    }

    fn finish(&self, now: Timestamp, leads: Leads) -> Result<()> {
        let kept = Kept::taken_over(&*self.time, now, leads);
        let commit = self.db.unchecked_transaction()?;
        upkeep::keep_time(&commit, &kept)?;
        commit.run("DELETE FROM copy", [])?;
        commit.commit()
    }
}

/// What is done at once, as an answer.
fn done<'a, T: 'a>(result: Result<T>) -> Answer<'a, T> {
    std::future::ready(result.map_err(StoreError::from)).boxed_local()
}

impl Tables for SqliteTables {
    fn place(&self) -> String {
        format!("sqlite:{}", self.path.with_file_name("").display())
    }

    fn copied_from(&self) -> Answer<'_, Option<String>> {
        done(self.has("copy").and_then(|has| match has {
            true => open::copied_from(&self.db),
            false => Ok(None),
        }))
    }

    fn count(&self, table: &'static Table) -> Answer<'_, u64> {
        let sql = format!("SELECT count(*) FROM {}", table.name);
        done(self.has(table.name).and_then(|has| match has {
            true => self.db.one(&sql, [], |row| count(row, 0)),
            false => Ok(0),
        }))
    }

    fn begin<'a>(
        &'a self,
        from: &'a str,
    ) -> LocalBoxFuture<'a, std::result::Result<(), OpenError>> {
        std::future::ready(self.begin(from).map_err(OpenError::from)).boxed_local()
    }

    fn rows(&self, table: &'static Table, after: Option<Row>) -> Pages<'_> {
        let page = async move |after: Option<Row>| {
            let rows = self.rows(table, after.as_ref(), "ASC", PAGE)?;
            let last = rows.last().cloned();
            Ok(last.map(|last| (rows, Some(last))))
        };
        stream::try_unfold(after, page).boxed_local()
    }

    fn last(&self, table: &'static Table) -> Answer<'_, Option<Row>> {
        done(
            self.rows(table, None, "DESC", 1)
                .map(|rows| rows.into_iter().next()),
        )
    }

    fn add<'a>(&'a self, table: &'static Table, rows: &'a [Row]) -> Answer<'a, ()> {
        done(self.add(table, rows))
    }

    fn clear(&self) -> Answer<'_, ()> {
        done(self.clear())
    }

    fn indexes(&self) -> Vec<Index> {
        indexes(schema::MIGRATIONS)
    }

    fn make(&self, index: Index) -> Answer<'_, ()> {
        done(self.make_index(index))
    }

    fn time(&self) -> Answer<'_, Option<(Timestamp, Leads)>> {
        let time = upkeep::kept_time(&self.db).map(|kept| {
            let keeper = Timekeeper::new(self.time.clone(), Origin::Own(kept));
            keeper.kept().map(Kept::into_time)
        });
        done(time)
    }

    fn finish(&self, now: Timestamp, leads: Leads) -> Answer<'_, ()> {
        done(self.finish(now, leads))
    }
}

fn column(name: &'static str) -> &'static str {
    match name {
        "number" => "rowid",
        name => name,
    }
}

fn columns(names: impl Iterator<Item = &'static str>) -> String {
    names.map(column).collect::<Vec<_>>().join(", ")
}

fn marks(number: usize) -> String {
    vec!["?"; number].join(", ")
}

impl FromSql for Value {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Ok(match value {
            ValueRef::Null => Self::Nothing,
            ValueRef::Text(_) => Self::Text(value.as_str()?.to_owned()),
            ValueRef::Blob(bytes) => Self::Bytes(bytes.to_owned()),
            value => Self::Number(value.as_i64()?),
        })
    }
}

impl ToSql for Value {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        match self {
            Self::Nothing => None::<i64>
                .to_sql()
                .map(|_| ToSqlOutput::Borrowed(ValueRef::Null)),
            Self::Number(number) => Ok((*number).into()),
            Self::Text(text) => text.to_sql(),
            Self::Bytes(bytes) => bytes.to_sql(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::time::SystemClock;

    /// What a store makes anew, by table; an empty name stands for all of it.
    const NOT_COPIED: &[(&str, &str)] = &[
        ("clock", ""),
        ("copy", ""),
        ("queue", "claimed_until"),
        ("queue_totals", ""),
    ];

    #[test]
    fn each_column_of_the_schema_is_copied() {
        let dir = tempfile::tempdir().unwrap();
        let target = SqliteTables::target(dir.path(), Arc::new(SystemClock)).unwrap();
        schema::migrate(&target.path, &target.db).unwrap();
        let sql = "SELECT t.name, c.name FROM sqlite_schema t, pragma_table_info(t.name) c
             WHERE t.type = 'table'";
        let of_schema = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let mut schema: Vec<(String, String)> = target.db.list(sql, [], of_schema).unwrap();
        schema.retain(|(table, column)| {
            let left_out =
                |(of, name): &(&str, &str)| of == table && (name.is_empty() || name == column);
            !NOT_COPIED.iter().any(left_out)
        });
        let mut copied: Vec<(String, String)> = Vec::new();
        for table in TABLES {
            for (name, _) in table.columns {
                // SQLite counts the registrations by itself.
                let name = match (table.name, *name) {
                    ("queue", "number") => "seq",
                    ("registrations", "number") => continue,
                    (_, name) => name,
                };
                copied.push((table.name.to_owned(), name.to_owned()));
            }
        }
        schema.sort();
        copied.sort();
        assert_eq!(schema, copied, "a column (left) is not copied");
    }
}
