//! Connections: made, set up, shared, and thrown away when they did not end in order.

use std::{
    collections::HashMap,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use deadpool_postgres::{
    ClientWrapper, Hook, HookError, Manager, ManagerConfig, Object, PoolError, QueueMode,
    RecyclingMethod, Runtime, TimeoutType,
};
use futures::{Stream, TryStreamExt};
use tokio::{
    sync::{Mutex, OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_postgres::{
    Row, SimpleQueryMessage,
    binary_copy::BinaryCopyInWriter,
    types::{FromSql, ToSql, Type},
};

use super::{
    abandoned::wind_up,
    ahead::Ahead,
    failure::{PostgresFailure, Result},
    floors::Floors,
    source::{CONNECT, SESSION, Source},
    tally::Tallies,
};
use crate::model::sync::Current;

/// How long a connection stays when nothing needs it.
const IDLE: Duration = Duration::from_secs(60);

/// Shared by all connections of daemons and commands, so that `store copy` has the tables for itself
/// when it holds it; spells "UPcopyin".
const TABLES_LOCK: &str = "x'5550636f7079696e'::bigint";

/// What connections are for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Serve,
    /// To copy all there is, with nobody else about.
    Copy,
}

impl Purpose {
    /// Says in its only row whether the connection may be used.
    fn session(self) -> String {
        match self {
            Self::Serve => format!("{SESSION}; SELECT pg_try_advisory_lock_shared({TABLES_LOCK})"),
            Self::Copy => format!(
                // All rows of a table, or an index of it, are one statement.
                "{SESSION}; SET statement_timeout = 0;
                 SELECT pg_try_advisory_lock({TABLES_LOCK})"
            ),
        }
    }
}

pub type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

/// It goes to the server with each use, in the one message: a statement that the server keeps by a
/// name would, after a pooler's mode has changed, be another client's of the same name.
pub struct Statement {
    sql: String,
    types: Vec<Type>,
}

impl Statement {
    /// As many values as there are parameters.
    fn typed<V>(&self, values: impl ExactSizeIterator<Item = V>) -> Vec<(V, Type)> {
        debug_assert_eq!(values.len(), self.types.len(), "{}", self.sql);
        values.zip(self.types.iter().cloned()).collect()
    }
}

/// By their SQL, those whose types the server has said.
type Statements = Current<HashMap<String, Arc<Statement>>>;

/// Cheap to clone.
#[derive(Clone)]
pub struct Pool {
    idle: deadpool_postgres::Pool,
    source: Source,
    /// One for each connection that does something at the server, be it abandoned.
    busy: Arc<Semaphore>,
    floors: Arc<Floors>,
    ahead: Arc<Ahead>,
    tallies: Arc<Tallies>,
    statements: Arc<Statements>,
    /// Held by whoever sees whether the server is worth waiting for.
    probing: Arc<Mutex<()>>,
}

impl Pool {
    pub fn new(source: &Source, connections: usize, purpose: Purpose) -> Self {
        let recycling = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let manager = Manager::from_connect(source.config(), source.clone(), recycling);
        let floors = Arc::new(Floors::default());
        let ahead = Arc::new(Ahead::default());
        let tallies = Arc::new(Tallies::default());
        let known = (floors.clone(), ahead.clone(), tallies.clone());
        let set_up = Hook::async_fn(move |client: &mut ClientWrapper, _| {
            // It may lead to another server.
            known.0.forget_all();
            known.1.forget_all();
            known.2.forget_all();
            Box::pin(async move {
                let answers = client.simple_query(&purpose.session()).await;
                match first_text(&answers.map_err(HookError::Backend)?).as_deref() {
                    Some("t") => Ok(()),
                    _ => Err(HookError::message("the tables are locked")),
                }
            })
        });
        let pool = deadpool_postgres::Pool::builder(manager)
            .max_size(connections)
            // What is not needed gets idle.
            .queue_mode(QueueMode::Lifo)
            .post_create(set_up)
            .runtime(Runtime::Tokio1)
            .build();
        Self {
            idle: pool.expect("there are no timeouts that a runtime is missing for"),
            source: source.clone(),
            busy: Arc::new(Semaphore::new(connections)),
            floors,
            ahead,
            tallies,
            statements: Arc::default(),
            probing: Arc::default(),
        }
    }

    /// One that works, as far as is known.
    pub async fn get(&self) -> Result<Connection> {
        let permit = timeout(CONNECT, self.busy.clone().acquire_owned()).await;
        let Ok(Ok(permit)) = permit else {
            return Err(PostgresFailure::Busy);
        };
        let object = timeout(CONNECT, self.idle.get()).await;
        let object = object.unwrap_or(Err(PoolError::Timeout(TimeoutType::Create)))?;
        Ok(Connection {
            held: Some((object, permit)),
            source: self.source.clone(),
            floors: self.floors.clone(),
            ahead: self.ahead.clone(),
            tallies: self.tallies.clone(),
            statements: self.statements.clone(),
            probing: self.probing.clone(),
            queued: AtomicI64::new(0),
        })
    }

    /// Closes what is idle now: the server may be gone, or no longer the one that takes writes.
    pub fn forget_idle(&self) {
        self.idle.retain(|_, _| false);
    }

    /// Closes what has been idle for long; never ends.
    pub async fn give_back_idle(self) {
        loop {
            sleep(IDLE / 2).await;
            self.idle.retain(|_, used| used.last_used() < IDLE);
        }
    }
}

/// One of the pool's. It goes back only by [`give_back`](Self::give_back): after an error, a timeout
/// or a caller that went away, nobody knows what state it is in, so it is closed, and PostgreSQL
/// rolls its transaction back.
pub struct Connection {
    held: Option<(Object, OwnedSemaphorePermit)>,
    source: Source,
    floors: Arc<Floors>,
    ahead: Arc<Ahead>,
    tallies: Arc<Tallies>,
    statements: Arc<Statements>,
    probing: Arc<Mutex<()>>,
    /// How many bytes more wait, as [`Caps::bytes`](crate::store::Caps::bytes) counts, through what
    /// was done with it.
    queued: AtomicI64,
}

impl Connection {
    /// For those who lend it alone; returns how many bytes more wait now.
    pub fn give_back(mut self) -> i64 {
        self.held = None;
        self.queued.load(Ordering::Relaxed)
    }

    /// What is known of where accounts begin.
    pub fn floors(&self) -> &Floors {
        &self.floors
    }

    /// What is known of what comes next.
    pub fn ahead(&self) -> &Ahead {
        &self.ahead
    }

    /// What is known of how many messages there are.
    pub fn tallies(&self) -> &Tallies {
        &self.tallies
    }

    /// So many bytes more wait, or fewer.
    pub fn count(&self, bytes: i64) {
        self.queued.fetch_add(bytes, Ordering::Relaxed);
    }

    /// What [`execute`](Self::execute) and [`query`](Self::query) take. Whoever has prepared all
    /// statements may begin several at once: they reach the server in this order, in one round trip.
    pub async fn prepare(&self, sql: &str) -> Result<Arc<Statement>> {
        if let Some(known) = self.statements.read().get(sql) {
            return Ok(known.clone());
        }
        let described = self.object().prepare(sql).await?;
        let statement = Arc::new(Statement {
            sql: sql.to_owned(),
            types: described.params().to_vec(),
        });
        let mut known = self.statements.read().clone();
        known.insert(sql.to_owned(), statement.clone());
        self.statements.set(known);
        Ok(statement)
    }

    /// How many rows were written.
    pub async fn execute(&self, statement: &Statement, values: Parameters<'_>) -> Result<u64> {
        let values = statement.typed(values.iter().copied());
        Ok(self.object().execute_typed(&statement.sql, &values).await?)
    }

    pub async fn query(&self, statement: &Statement, values: Parameters<'_>) -> Result<Vec<Row>> {
        let values = statement.typed(values.iter().copied());
        Ok(self.object().query_typed(&statement.sql, &values).await?)
    }

    /// How many rows were written.
    pub async fn run(&self, sql: &str, values: Parameters<'_>) -> Result<u64> {
        self.execute(&*self.prepare(sql).await?, values).await
    }

    /// The one row, or none.
    pub async fn find<T>(
        &self,
        sql: &str,
        values: Parameters<'_>,
        read: impl FnOnce(&Row) -> Result<T>,
    ) -> Result<Option<T>> {
        let statement = self.prepare(sql).await?;
        let values = statement.typed(values.iter().copied());
        let row = self.object().query_typed_opt(sql, &values).await?;
        row.as_ref().map(read).transpose()
    }

    /// Every row.
    pub async fn list<T>(
        &self,
        sql: &str,
        values: Parameters<'_>,
        read: impl FnMut(&Row) -> Result<T>,
    ) -> Result<Vec<T>> {
        let rows = self.query(&*self.prepare(sql).await?, values).await?;
        rows.iter().map(read).collect()
    }

    /// Every row as it comes, however many there are.
    pub async fn stream<T: ToSql + Sync>(
        &self,
        sql: &str,
        values: &[T],
    ) -> Result<impl Stream<Item = Result<Row>> + use<T>> {
        let statement = self.prepare(sql).await?;
        let values = statement.typed(values.iter());
        let rows = self.object().query_typed_raw(sql, values).await?;
        Ok(rows.map_err(PostgresFailure::from))
    }

    /// The one row that a statement such as a count answers with.
    pub async fn one<T>(
        &self,
        sql: &str,
        values: Parameters<'_>,
        read: impl FnOnce(&Row) -> Result<T>,
    ) -> Result<T> {
        let statement = self.prepare(sql).await?;
        let values = statement.typed(values.iter().copied());
        read(&self.object().query_typed_one(sql, &values).await?)
    }

    /// The one value of this row.
    pub async fn value<T>(&self, sql: &str, values: Parameters<'_>) -> Result<T>
    where
        T: for<'a> FromSql<'a>,
    {
        self.one(sql, values, |row| Ok(row.try_get(0)?)).await
    }

    /// The text of the first value of a statement without values.
    pub async fn text(&self, sql: &str) -> Result<Option<String>> {
        Ok(first_text(&self.object().simple_query(sql).await?))
    }

    /// Sends rows to a `COPY ... FROM STDIN (FORMAT binary)`.
    pub async fn load(
        &self,
        sql: &str,
        types: &[Type],
        rows: &[Vec<&(dyn ToSql + Sync)>],
    ) -> Result<()> {
        let sink = self.object().copy_in(sql).await?;
        let mut writer = pin!(BinaryCopyInWriter::new(sink, types));
        for row in rows {
            writer.as_mut().write(row).await?;
        }
        writer.finish().await?;
        Ok(())
    }

    /// Statements without values.
    pub async fn batch(&self, sql: &str) -> Result<()> {
        Ok(self.object().batch_execute(sql).await?)
    }

    fn object(&self) -> &Object {
        let held = self.held.as_ref();
        &held.expect("taken when it is given up only").0
    }
}

fn first_text(answers: &[SimpleQueryMessage]) -> Option<String> {
    answers.iter().find_map(|answer| match answer {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    })
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some((object, permit)) = self.held.take() {
            let client = Object::take(object);
            if !client.is_closed() {
                let (source, probing) = (self.source.clone(), self.probing.clone());
                tokio::spawn(async move {
                    wind_up(client, &source, &probing).await;
                    drop(permit);
                });
            }
        }
    }
}
