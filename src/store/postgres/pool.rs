//! Connections: made, set up, shared, and thrown away when they did not end in order.

use std::sync::atomic::{AtomicI64, Ordering};

use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Object, RecyclingMethod, Runtime,
};
use tokio_postgres::{
    Row, SimpleQueryMessage,
    types::{FromSql, ToSql},
};

use super::{
    failure::Result,
    source::{CONNECT, Source},
};

/// Connections of one daemon, beside the one that listens. PostgreSQL takes 100 in all by default.
const CONNECTIONS: usize = 16;

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
pub struct Pool(deadpool_postgres::Pool);

impl Pool {
    pub fn new(source: &Source) -> Self {
        let recycling = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let manager = Manager::from_connect(source.config(), source.clone(), recycling);
        let set_up = Hook::async_fn(|client: &mut deadpool_postgres::ClientWrapper, _| {
            Box::pin(async {
                client
                    .batch_execute(SESSION)
                    .await
                    .map_err(HookError::Backend)
            })
        });
        let pool = deadpool_postgres::Pool::builder(manager)
            .max_size(CONNECTIONS)
            .wait_timeout(Some(CONNECT))
            .create_timeout(Some(CONNECT))
            .recycle_timeout(Some(CONNECT))
            .post_create(set_up)
            .runtime(Runtime::Tokio1)
            .build();
        Self(pool.expect("the timeouts have the runtime that they need"))
    }

    /// One that works, as far as is known.
    pub async fn get(&self) -> Result<Connection> {
        Ok(Connection {
            object: Some(self.0.get().await?),
            queued: AtomicI64::new(0),
        })
    }
}

/// One of the pool's. It goes back only by [`give_back`](Self::give_back): after an error, a timeout
/// or a caller that went away, nobody knows what state it is in, so it is closed, and PostgreSQL
/// rolls its transaction back.
pub struct Connection {
    object: Option<Object>,
    /// How many bytes more wait, as [`Caps::bytes`](crate::store::Caps::bytes) counts, through what
    /// was done with it.
    queued: AtomicI64,
}

impl Connection {
    /// For those who lend it alone; returns how many bytes more wait now.
    pub fn give_back(mut self) -> i64 {
        self.object = None;
        self.queued.load(Ordering::Relaxed)
    }

    /// So many bytes more wait, or fewer.
    pub fn count(&self, bytes: i64) {
        self.queued.fetch_add(bytes, Ordering::Relaxed);
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
        self.object
            .as_ref()
            .expect("taken when it is given up only")
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(object) = self.object.take() {
            drop(Object::take(object));
        }
    }
}
