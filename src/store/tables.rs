//! The tables as `store copy` sees them: rows of plain values, which are the same in every engine.

use std::fmt;

use futures::{future::LocalBoxFuture, stream::LocalBoxStream};
use ring::digest::{Context, SHA256};

use super::error::{OpenError, StoreResult};
use crate::model::{leads::Leads, time::Timestamp};

/// What a column holds, by whichever type an engine keeps it. Not to be shown: it may be a payload.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    Nothing,
    Number(i64),
    Text(String),
    Bytes(Vec<u8>),
}

/// The values of the table's columns, in their order.
pub type Row = Vec<Value>;

/// What values a column has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Number,
    /// Numbers for which PostgreSQL has smaller types.
    Int,
    Small,
    Flag,
    Text,
    Bytes,
}

pub struct Table {
    /// SQLite's name. PostgreSQL's begins with `unified_push_`.
    pub name: &'static str,
    /// What its rows are to people.
    pub holds: &'static str,
    /// `number` is SQLite's `rowid`, in the order of insertion.
    pub columns: &'static [(&'static str, Kind)],
    /// By the first so many columns, each row has its place, which is the same in every engine.
    pub order: usize,
}

/// All that is copied. What a store can make anew is not: sums, the keys of an index, and the leases of
/// daemons, none of which runs meanwhile.
pub const TABLES: &[Table] = &[
    Table {
        name: "issuers",
        holds: "keys",
        columns: &[("key", Kind::Bytes), ("live_until", Kind::Number)],
        order: 1,
    },
    Table {
        name: "revocations",
        holds: "revocations",
        columns: &[
            ("owner", Kind::Text),
            ("application", Kind::Bytes),
            ("instance", Kind::Bytes),
            ("at", Kind::Number),
            ("until", Kind::Number),
        ],
        order: 3,
    },
    Table {
        name: "registrations",
        holds: "registrations",
        columns: &[
            ("number", Kind::Number),
            ("id", Kind::Bytes),
            ("key", Kind::Bytes),
            ("generation", Kind::Bytes),
            ("owner", Kind::Text),
            ("jid", Kind::Text),
            ("application", Kind::Bytes),
            ("instance", Kind::Bytes),
            ("issued", Kind::Number),
            ("expires", Kind::Number),
            ("revoked", Kind::Flag),
            ("signer", Kind::Bytes),
        ],
        order: 1,
    },
    Table {
        name: "queue",
        holds: "waiting messages",
        columns: &[
            ("number", Kind::Number),
            ("key", Kind::Bytes),
            ("id", Kind::Bytes),
            ("account", Kind::Text),
            ("owner", Kind::Text),
            ("application", Kind::Bytes),
            ("instance", Kind::Bytes),
            ("issued", Kind::Number),
            ("registration_expires", Kind::Number),
            ("topic", Kind::Text),
            ("urgency", Kind::Small),
            ("payload", Kind::Bytes),
            ("arrived", Kind::Number),
            ("expires", Kind::Number),
            ("attempts", Kind::Int),
            ("sent", Kind::Number),
            ("held_until", Kind::Number),
        ],
        order: 1,
    },
];

/// Rows that are read, or written in one commit, at once: some 30 MB of the largest messages.
pub const PAGE: usize = 5000;

pub type Answer<'a, T> = LocalBoxFuture<'a, StoreResult<T>>;

/// Rows in order, a [`PAGE`] at a time.
pub type Pages<'a> = LocalBoxStream<'a, StoreResult<Vec<Row>>>;

/// An index that a table has beside its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Index {
    pub name: &'static str,
    /// What makes it.
    pub sql: &'static str,
}

/// All indexes that the migrations of an engine make, but for those that a later one drops.
pub fn indexes(migrations: &[&'static str]) -> Vec<Index> {
    let statements = || migrations.iter().flat_map(|migration| migration.split(';'));
    let is_dropped = |index: &Index| {
        let drop = format!("DROP INDEX {}", index.name);
        statements().any(|statement| statement.ends_with(&drop))
    };
    let made = statements().filter_map(index);
    made.filter(|index| !is_dropped(index)).collect()
}

/// What makes an index, behind the comment about it.
fn index(statement: &'static str) -> Option<Index> {
    let begins = ["CREATE INDEX ", "CREATE UNIQUE INDEX "];
    let begins = begins.iter().find_map(|begins| statement.find(begins))?;
    let sql = &statement[begins..];
    let (_, named) = sql.split_once(" INDEX ")?;
    let name = named.split_whitespace().next()?;
    Some(Index { name, sql })
}

/// The tables of one store, with nobody else about.
pub trait Tables {
    /// What the store is called: to people, and to recognise it again when a copy is resumed.
    fn place(&self) -> String;

    /// From where the copy comes that is not complete, if there is one.
    fn copied_from(&self) -> Answer<'_, Option<String>>;

    /// How many rows there are; none in a table that the schema does not have yet.
    fn count(&self, table: &'static Table) -> Answer<'_, u64>;

    /// Brings the schema to the present version, takes the indexes away, and notes from where a copy
    /// comes.
    fn begin<'a>(&'a self, from: &'a str) -> LocalBoxFuture<'a, Result<(), OpenError>>;

    /// The rows in order, from the first after this one. Nothing else is asked meanwhile.
    fn rows(&self, table: &'static Table, after: Option<Row>) -> Pages<'_>;

    /// The last row in order.
    fn last(&self, table: &'static Table) -> Answer<'_, Option<Row>>;

    /// Adds rows, in one commit.
    fn add<'a>(&'a self, table: &'static Table, rows: &'a [Row]) -> Answer<'a, ()>;

    /// Deletes all rows, and takes the indexes away.
    fn clear(&self) -> Answer<'_, ()>;

    /// Those that are to be made when all rows are there: row by row it takes several times as long.
    fn indexes(&self) -> Vec<Index>;

    /// Makes one, if it is not there.
    fn make(&self, index: Index) -> Answer<'_, ()>;

    /// The present time by which the rows are dated, with what it takes to understand the times that
    /// others were told. None while nobody knows it, because the system's clock is wrong.
    fn time(&self) -> Answer<'_, Option<(Timestamp, Leads)>>;

    /// Has the rows dated by this time from now on: the copy is complete.
    fn finish(&self, now: Timestamp, leads: Leads) -> Answer<'_, ()>;
}

/// What rows hold is nobody's business.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Value(redacted)")
    }
}

impl Value {
    /// Nothing of a value that is no text.
    pub fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Nothing | Self::Number(_) | Self::Bytes(_) => "",
        }
    }
}

impl Table {
    /// The values by which a row has its place.
    pub fn place<'a>(&self, row: &'a Row) -> &'a [Value] {
        row.get(..self.order).unwrap_or_default()
    }

    /// The names of the columns by which rows have their places.
    pub fn order(&self) -> impl Iterator<Item = &'static str> {
        self.columns.iter().take(self.order).map(|(name, _)| *name)
    }
}

/// How many rows there are, and what they hold.
pub struct Tally {
    rows: u64,
    digest: Context,
}

impl Tally {
    pub fn new() -> Self {
        Self {
            rows: 0,
            digest: Context::new(&SHA256),
        }
    }

    /// Counts the next row. Each value is written so that no two rows read alike.
    pub fn add(&mut self, row: &Row) {
        self.rows += 1;
        for value in row {
            let mut write = |kind: u8, bytes: &[u8]| {
                self.digest.update(&[kind]);
                self.digest.update(&(bytes.len() as u64).to_be_bytes());
                self.digest.update(bytes);
            };
            match value {
                Value::Nothing => write(0, &[]),
                Value::Number(number) => write(1, &number.to_be_bytes()),
                Value::Text(text) => write(2, text.as_bytes()),
                Value::Bytes(bytes) => write(3, bytes),
            }
        }
    }

    /// The number of rows and the digest of all.
    pub fn sum(self) -> (u64, Vec<u8>) {
        (self.rows, self.digest.finish().as_ref().to_vec())
    }
}
