//! The ways to run a statement, each of which prepares it once.

use rusqlite::{Connection, OptionalExtension, Params, Result, Row, types::FromSql};

pub trait Statements {
    /// How many rows were written.
    fn run(&self, sql: &str, values: impl Params) -> Result<u64>;

    /// The one row, or none.
    fn find<T>(
        &self,
        sql: &str,
        values: impl Params,
        read: impl FnOnce(&Row<'_>) -> Result<T>,
    ) -> Result<Option<T>>;

    /// Every row.
    fn list<T>(
        &self,
        sql: &str,
        values: impl Params,
        read: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<Vec<T>>;

    /// The one row that a statement such as a count answers with.
    fn one<T>(
        &self,
        sql: &str,
        values: impl Params,
        read: impl FnOnce(&Row<'_>) -> Result<T>,
    ) -> Result<T>;

    /// The one value of this row.
    fn value<T: FromSql>(&self, sql: &str, values: impl Params) -> Result<T> {
        self.one(sql, values, |row| row.get(0))
    }
}

impl Statements for Connection {
    fn run(&self, sql: &str, values: impl Params) -> Result<u64> {
        Ok(self.prepare_cached(sql)?.execute(values)? as u64)
    }

    fn find<T>(
        &self,
        sql: &str,
        values: impl Params,
        read: impl FnOnce(&Row<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        self.one(sql, values, read).optional()
    }

    fn list<T>(
        &self,
        sql: &str,
        values: impl Params,
        read: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<Vec<T>> {
        self.prepare_cached(sql)?.query_map(values, read)?.collect()
    }

    fn one<T>(
        &self,
        sql: &str,
        values: impl Params,
        read: impl FnOnce(&Row<'_>) -> Result<T>,
    ) -> Result<T> {
        self.prepare_cached(sql)?.query_row(values, read)
    }
}
