//! The tables in PostgreSQL, for `store copy`.

use std::time::Duration;

use bytes::BytesMut;
use futures::{
    FutureExt, Stream, StreamExt, TryFutureExt, TryStreamExt, future::LocalBoxFuture,
    stream::TryChunksError,
};
use tokio::time::{Instant, sleep};
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

use super::{
    clock,
    columns::{count, owner_key},
    failure::{PostgresFailure, Result},
    open,
    open_error::{self, PostgresOpenError},
    pool::{Connection, Pool, Purpose},
    pooler, schema,
    source::Source,
    url::PostgresUrl,
};
use crate::{
    model::{leads::Leads, time::Timestamp},
    store::{
        error::{OpenError, StoreError},
        tables::{Answer, Index, Kind, PAGE, Pages, Row, TABLES, Table, Tables, Value, indexes},
    },
};

/// How long a daemon's connections may take to close after it has ended, or those of a copy that was
/// killed.
const CLOSING: Duration = Duration::from_secs(3);

/// Between two looks whether they are closed: who waits for a lock keeps others from it, and a daemon
/// that runs is not to be disturbed.
const LOOK: Duration = Duration::from_millis(100);

pub struct PostgresTables {
    /// Holds the lock that keeps daemons and commands away.
    db: Connection,
    url: PostgresUrl,
}

impl PostgresTables {
    /// To copy from: what is there, brought to the present schema.
    pub async fn source(url: &PostgresUrl) -> std::result::Result<Self, PostgresOpenError> {
        let this = Self::connect(url).await?;
        let failed = |failure| open_error::failed(failure, url);
        if schema::version(&this.db).await.map_err(failed)? == 0 {
            // To migrate would make an empty store, of which a copy is no use.
            return Err(PostgresOpenError::Missing { url: url.clone() });
        }
        schema::migrate(&this.db).await.map_err(failed)?;
        Ok(this)
    }

    /// To copy to: changes nothing yet.
    pub async fn target(url: &PostgresUrl) -> std::result::Result<Self, PostgresOpenError> {
        let this = Self::connect(url).await?;
        let encoding = open::check_encoding(&this.db).await;
        encoding.map_err(|failure| open_error::failed(failure, url))?;
        Ok(this)
    }

    async fn connect(url: &PostgresUrl) -> std::result::Result<Self, PostgresOpenError> {
        let failed = |failure| open_error::failed(failure, url);
        let source = Source::new(url).map_err(failed)?;
        pooler::check(&source).await.map_err(failed)?;
        let pool = Pool::new(&source, 1, Purpose::Copy);
        let asked = Instant::now();
        let db = loop {
            match pool.get().await {
                Err(PostgresFailure::Copying) if asked.elapsed() < CLOSING => sleep(LOOK).await,
                Err(PostgresFailure::Copying) => {
                    return Err(PostgresOpenError::InUse { url: url.clone() });
                }
                other => break other.map_err(failed)?,
            }
        };
        let (found, known) = (schema::version(&db).await.map_err(failed)?, schema::known());
        if found > known {
            let url = url.clone();
            return Err(PostgresOpenError::Newer { url, found, known });
        }
        let url = url.clone();
        Ok(Self { db, url })
    }

    async fn has(&self, table_or_index: &str) -> Result<bool> {
        let sql = "SELECT to_regclass($1) IS NOT NULL";
        self.db.value(sql, &[&table_or_index]).await
    }

    /// All rows in order, from the first after this one: to ask for a page at a time would take a look
    /// at the whole table for each, where no index has that order.
    async fn rows_after(
        &self,
        table: &'static Table,
        after: Option<&Row>,
    ) -> Result<impl Stream<Item = Result<Row>> + use<>> {
        let beyond = match after {
            Some(_) => {
                let names: Vec<_> = table.order().collect();
                let marks: Vec<_> = (1..=table.order)
                    .map(|number| format!("${number}"))
                    .collect();
                format!("WHERE ({}) > ({})", names.join(", "), marks.join(", "))
            }
            None => String::new(),
        };
        let sql = format!(
            "{} {beyond} ORDER BY {}",
            select(table),
            order(table, "ASC")
        );
        let place = after.map_or(&[][..], |row| table.place(row));
        let rows = self.db.stream(&sql, place).await?;
        Ok(rows.map(|row| read(table, &row?)))
    }

    async fn last_row(&self, table: &'static Table) -> Result<Option<Row>> {
        let sql = format!(
            "{} ORDER BY {} LIMIT 1",
            select(table),
            order(table, "DESC")
        );
        self.db.find(&sql, &[], |row| read(table, row)).await
    }

    async fn take_indexes_away(&self) -> Result<()> {
        let names: Vec<_> = indexes(schema::MIGRATIONS)
            .iter()
            .map(|index| index.name)
            .collect();
        let sql = format!("DROP INDEX IF EXISTS {}", names.join(", "));
        self.db.batch(&sql).await
    }

    async fn make_index(&self, index: Index) -> Result<()> {
        match self.has(index.name).await? {
            true => Ok(()),
            false => self.db.batch(index.sql).await,
        }
    }

    async fn add_rows(&self, table: &Table, rows: &[Row]) -> Result<()> {
        let mut names: Vec<&str> = table.columns.iter().map(|(name, _)| *name).collect();
        let mut types: Vec<Type> = table
            .columns
            .iter()
            .map(|(_, kind)| kind.of_column())
            .collect();
        let owner = names
            .iter()
            .position(|name| table.name == "queue" && *name == "owner");
        let mut owner_keys = Vec::new();
        if let Some(owner) = owner {
            names.push("owner_key");
            types.push(Type::BYTEA);
            owner_keys = rows
                .iter()
                .map(|row| owner_key(row[owner].text()))
                .collect();
        }
        let mut values: Vec<Vec<&(dyn ToSql + Sync)>> = rows
            .iter()
            .map(|row| row.iter().map(|value| value as _).collect())
            .collect();
        for (row, key) in values.iter_mut().zip(&owner_keys) {
            row.push(key);
        }
        let names = names.join(", ");
        let sql = format!(
            "COPY unified_push_{} ({names}) FROM STDIN (FORMAT binary)",
            table.name
        );
        self.db.load(&sql, &types, &values).await
    }

    async fn end(&self, now: Timestamp, mut leads: Leads) -> Result<()> {
        let theirs = clock::database_time(&self.db).await?;
        let theirs = Timestamp::from_millis(theirs.unsigned_abs());
        let lead = now.millis_since(theirs);
        if lead != leads.last() {
            leads.change(now, lead);
        }
        let leads = serde_json::to_string(&leads).map_err(PostgresFailure::Clock)?;
        for table in TABLES {
            // Or plans would be made for empty tables for a while. It takes a moment, and whoever is
            // interrupted meanwhile is to find a copy that goes on.
            self.db
                .batch(&format!("ANALYZE unified_push_{}", table.name))
                .await?;
        }
        self.db.batch("BEGIN").await?;
        for table in TABLES.iter().filter(|table| table.columns[0].0 == "number") {
            // New rows come after those that were copied.
            let sql = format!(
                "SELECT setval(pg_get_serial_sequence('unified_push_{0}', 'number'), max(number))
                 FROM unified_push_{0}",
                table.name
            );
            self.db.batch(&sql).await?;
        }
        self.db
            .batch("DELETE FROM unified_push_clock; DELETE FROM unified_push_copy")
            .await?;
        let sql = "INSERT INTO unified_push_clock (leads) VALUES ($1)";
        self.db.run(sql, &[&leads]).await?;
        self.db.batch("COMMIT").await?;
        // A daemon may be started before the server has noticed that we are gone.
        self.db.batch("SELECT pg_advisory_unlock_all()").await
    }
}

impl Tables for PostgresTables {
    fn place(&self) -> String {
        self.url.to_string()
    }

    fn copied_from(&self) -> Answer<'_, Option<String>> {
        answer(async {
            match self.has("unified_push_copy").await? {
                true => open::copied_from(&self.db).await,
                false => Ok(None),
            }
        })
    }

    fn count(&self, table: &'static Table) -> Answer<'_, u64> {
        answer(async {
            let name = format!("unified_push_{}", table.name);
            let sql = format!("SELECT count(*) FROM {name}");
            match self.has(&name).await? {
                true => self.db.one(&sql, &[], |row| count(row, 0)).await,
                false => Ok(0),
            }
        })
    }

    fn begin<'a>(
        &'a self,
        from: &'a str,
    ) -> LocalBoxFuture<'a, std::result::Result<(), OpenError>> {
        let begun = async move {
            schema::migrate(&self.db).await?;
            let sql = "INSERT INTO unified_push_copy (source) VALUES ($1)";
            self.db.run(sql, &[&from]).await?;
            self.take_indexes_away().await
        };
        async {
            match begun.await {
                Ok(_) => Ok(()),
                Err(failure) => Err(open_error::failed(failure, &self.url).into()),
            }
        }
        .boxed_local()
    }

    fn rows(&self, table: &'static Table, after: Option<Row>) -> Pages<'_> {
        let rows = async move { self.rows_after(table, after.as_ref()).await };
        let pages = rows.try_flatten_stream().try_chunks(PAGE);
        pages
            .map_err(|TryChunksError(_, failure)| failure.into())
            .boxed_local()
    }

    fn last(&self, table: &'static Table) -> Answer<'_, Option<Row>> {
        answer(self.last_row(table))
    }

    fn add<'a>(&'a self, table: &'static Table, rows: &'a [Row]) -> Answer<'a, ()> {
        answer(self.add_rows(table, rows))
    }

    fn clear(&self) -> Answer<'_, ()> {
        let names: Vec<_> = TABLES
            .iter()
            .map(|table| format!("unified_push_{}", table.name))
            .collect();
        answer(async move {
            self.db
                .batch(&format!("TRUNCATE {}", names.join(", ")))
                .await?;
            self.take_indexes_away().await
        })
    }

    fn indexes(&self) -> Vec<Index> {
        indexes(schema::MIGRATIONS)
    }

    fn make(&self, index: Index) -> Answer<'_, ()> {
        answer(self.make_index(index))
    }

    fn time(&self) -> Answer<'_, Option<(Timestamp, Leads)>> {
        answer(async {
            let leads = clock::leads(&self.db).await?;
            let theirs = clock::database_time(&self.db).await?;
            let theirs = Timestamp::from_millis(theirs.unsigned_abs());
            Ok(Some((theirs.shifted(leads.last()), leads)))
        })
    }

    fn finish(&self, now: Timestamp, leads: Leads) -> Answer<'_, ()> {
        answer(self.end(now, leads))
    }
}

fn select(table: &Table) -> String {
    let columns = table.columns.iter();
    let columns: Vec<_> = columns.map(|(name, kind)| kind.read(name)).collect();
    format!(
        "SELECT {} FROM unified_push_{}",
        columns.join(", "),
        table.name
    )
}

fn order(table: &Table, direction: &str) -> String {
    let names = table.order().map(|name| format!("{name} {direction}"));
    names.collect::<Vec<_>>().join(", ")
}

fn read(table: &Table, row: &tokio_postgres::Row) -> Result<Row> {
    let columns = table.columns.iter().enumerate();
    columns
        .map(|(index, (_, kind))| kind.value(row, index))
        .collect()
}

fn answer<'a, T: 'a>(work: impl Future<Output = Result<T>> + 'a) -> Answer<'a, T> {
    async { work.await.map_err(StoreError::from) }.boxed_local()
}

impl Kind {
    /// PostgreSQL's type.
    fn of_column(self) -> Type {
        match self {
            Self::Number => Type::INT8,
            Self::Int => Type::INT4,
            Self::Small => Type::INT2,
            Self::Flag => Type::BOOL,
            Self::Text => Type::TEXT,
            Self::Bytes => Type::BYTEA,
        }
    }

    /// What reads a column as one of the types that values have.
    fn read(self, name: &str) -> String {
        match self {
            Self::Int | Self::Small => format!("{name}::bigint"),
            Self::Flag => format!("{name}::integer::bigint"),
            Self::Number | Self::Text | Self::Bytes => name.to_owned(),
        }
    }

    fn value(self, row: &tokio_postgres::Row, index: usize) -> Result<Value> {
        let value = match self {
            Self::Text => row.try_get::<_, Option<String>>(index)?.map(Value::Text),
            Self::Bytes => row.try_get::<_, Option<Vec<u8>>>(index)?.map(Value::Bytes),
            _ => row.try_get::<_, Option<i64>>(index)?.map(Value::Number),
        };
        Ok(value.unwrap_or(Value::Nothing))
    }
}

type Fault = Box<dyn std::error::Error + Sync + Send>;

impl ToSql for Value {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> std::result::Result<IsNull, Fault> {
        match self {
            Self::Nothing => Ok(IsNull::Yes),
            Self::Text(text) => text.to_sql(ty, out),
            Self::Bytes(bytes) => bytes.to_sql(ty, out),
            Self::Number(number) => match *ty {
                Type::BOOL => (*number != 0).to_sql(ty, out),
                Type::INT2 => i16::try_from(*number)?.to_sql(ty, out),
                Type::INT4 => i32::try_from(*number)?.to_sql(ty, out),
                _ => number.to_sql(ty, out),
            },
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}
