//! Connections: made, set up, shared, and thrown away when they did not end in order.

use std::{
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
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_postgres::{
    Row, SimpleQueryMessage, Statement,
    types::{FromSql, ToSql},
};

use super::{
    failure::{PostgresFailure, Result},
    floors::Floors,
    source::{CONNECT, Source},
};

/// How long a connection stays when nothing needs it.
const IDLE: Duration = Duration::from_secs(60);

/// How long abandoned work may take to end by itself, or after it was cancelled.
const WIND_UP: Duration = Duration::from_millis(500);

/// On each connection, whatever the server's defaults are: a commit that was answered is on the
/// disk, what waits for a lock waits for no longer than the daemon does, and a transaction that the
/// daemon forgot does not stay open.
const SESSION: &str = "SET synchronous_commit = on;
    SET statement_timeout = '2500ms';
    SET idle_in_transaction_session_timeout = '10s';
    SET default_transaction_isolation = 'read committed';
    SET client_min_messages = 'warning'";

pub type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

/// Cheap to clone.
#[derive(Clone)]
pub struct Pool {
    idle: deadpool_postgres::Pool,
    source: Source,
    /// One for each connection that does something at the server, be it abandoned.
    busy: Arc<Semaphore>,
    floors: Arc<Floors>,
}

impl Pool {
    pub fn new(source: &Source, connections: usize) -> Self {
        let recycling = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let manager = Manager::from_connect(source.config(), source.clone(), recycling);
        let floors = Arc::new(Floors::default());
        let known = floors.clone();
        let set_up = Hook::async_fn(move |client: &mut deadpool_postgres::ClientWrapper, _| {
            // It may lead to another server.
            known.forget_all();
            Box::pin(async {
                client
                    .batch_execute(SESSION)
                    .await
                    .map_err(HookError::Backend)
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

    /// So many bytes more wait, or fewer.
    pub fn count(&self, bytes: i64) {
        self.queued.fetch_add(bytes, Ordering::Relaxed);
    }

    /// What [`execute`](Self::execute) and [`query`](Self::query) take. Whoever has prepared all
    /// statements may begin several at once: they reach the server in this order, in one round trip.
    pub async fn prepare(&self, sql: &str) -> Result<Statement> {
        Ok(self.object().prepare_cached(sql).await?)
    }

    /// How many rows were written.
    pub async fn execute(&self, statement: &Statement, values: Parameters<'_>) -> Result<u64> {
        Ok(self.object().execute(statement, values).await?)
    }

    pub async fn query(&self, statement: &Statement, values: Parameters<'_>) -> Result<Vec<Row>> {
        Ok(self.object().query(statement, values).await?)
    }

    /// How many rows were written.
    pub async fn run(&self, sql: &str, values: Parameters<'_>) -> Result<u64> {
        let statement = self.object().prepare_cached(sql).await?;
        Ok(self.object().execute(&statement, values).await?)
    }

    /// The one row, or none.
    pub async fn find<T>(
        &self,
        sql: &str,
        values: Parameters<'_>,
        read: impl FnOnce(&Row) -> Result<T>,
    ) -> Result<Option<T>> {
        let statement = self.object().prepare_cached(sql).await?;
        let row = self.object().query_opt(&statement, values).await?;
        row.as_ref().map(read).transpose()
    }

    /// Every row.
    pub async fn list<T>(
        &self,
        sql: &str,
        values: Parameters<'_>,
        read: impl FnMut(&Row) -> Result<T>,
    ) -> Result<Vec<T>> {
        let statement = self.object().prepare_cached(sql).await?;
        let rows = self.object().query(&statement, values).await?;
        rows.iter().map(read).collect()
    }

    /// The one row that a statement such as a count answers with.
    pub async fn one<T>(
        &self,
        sql: &str,
        values: Parameters<'_>,
        read: impl FnOnce(&Row) -> Result<T>,
    ) -> Result<T> {
        let statement = self.object().prepare_cached(sql).await?;
        read(&self.object().query_one(&statement, values).await?)
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
        let answers = self.object().simple_query(sql).await?;
        Ok(answers.iter().find_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        }))
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

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some((object, permit)) = self.held.take() {
            let client = Object::take(object);
            if !client.is_closed() {
                tokio::spawn(wind_up(client, self.source.clone(), permit));
            }
        }
    }
}

/// Counts abandoned work as busy until the server has ended it, and has it do so: a commit that
/// waits for a standby goes on even when its client has left.
async fn wind_up(client: ClientWrapper, source: Source, permit: OwnedSemaphorePermit) {
    let work = client.cancel_token();
    let mut ended = pin!(client.batch_execute("ROLLBACK"));
    while timeout(WIND_UP, &mut ended).await.is_err() {
        let cancelled = timeout(CONNECT, source.cancel(work.clone())).await;
        if !matches!(cancelled, Ok(Ok(()))) {
            // The server cannot be reached: it will notice that the connection is closed.
            break;
        }
    }
    drop(permit);
}
