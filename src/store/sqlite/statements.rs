//! The ways to run a statement, each of which prepares it once.

use rusqlite::{
    CachedStatement, Connection, OptionalExtension, Params, Result, Row, types::FromSql,
};

pub trait Statements {
    fn prepared(&self, sql: &str) -> Result<CachedStatement<'_>>;

    /// How many rows were written.
    fn run(&self, sql: &str, values: impl Params) -> Result<u64> {
        Ok(self.prepared(sql)?.execute(values)? as u64)
    }

    /// The one row, or none.
    fn find<T>(
        &self,
        sql: &str,
        values: impl Params,
        read: impl FnOnce(&Row<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        self.one(sql, values, read).optional()
    }

    /// Every row.
    fn list<T>(
        &self,
        sql: &str,
        values: impl Params,
        read: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<Vec<T>> {
        self.prepared(sql)?.query_map(values, read)?.collect()
    }

    /// The one row that a statement such as a count answers with.
    fn one<T>(
        &self,
        sql: &str,
        values: impl Params,
        read: impl FnOnce(&Row<'_>) -> Result<T>,
    ) -> Result<T> {
        self.prepared(sql)?.query_row(values, read)
    }

    /// The one value of this row.
    fn value<T: FromSql>(&self, sql: &str, values: impl Params) -> Result<T> {
        self.one(sql, values, |row| row.get(0))
    }
}

impl Statements for Connection {
    fn prepared(&self, sql: &str) -> Result<CachedStatement<'_>> {
        self.prepare_cached(sql)
    }
}
