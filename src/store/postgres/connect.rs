//! Connections: made, set up, shared, and thrown away when they did not end in order.

use std::{error::Error, sync::Arc, time::Duration};

use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Object, PoolError, RecyclingMethod, Runtime,
    TimeoutType,
};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use tokio_postgres::{
    Client, Config, Row, SimpleQueryMessage, Socket,
    tls::MakeTlsConnect,
    types::{FromSql, ToSql},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{super::StoreError, OpenError, url::PostgresUrl};

/// Connections of one daemon, beside the one that listens. PostgreSQL takes 100 in all by default.
const CONNECTIONS: usize = 16;

/// How long to wait for one of them to become free, or to be made.
const CONNECT: Duration = Duration::from_secs(2);

/// Without these, a peer that vanished would be noticed after two hours.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// On each connection, whatever the server's defaults are: a commit that was answered is on the
/// disk, what waits for a lock waits for no longer than the daemon does, and a transaction that the
/// daemon forgot does not stay open.
const SESSION: &str = "SET synchronous_commit = on;
    SET statement_timeout = '2500ms';
    SET idle_in_transaction_session_timeout = '10s';
    SET default_transaction_isolation = 'read committed';
    SET client_min_messages = 'warning'";

pub type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

/// Where the database is and how to talk to it.
#[derive(Clone)]
pub struct Source {
    config: Config,
    tls: MakeRustlsConnect,
}

impl Source {
    pub fn new(url: &PostgresUrl) -> Result<Self, OpenError> {
        let mut config = url.config().clone();
        config.connect_timeout(CONNECT);
        config.keepalives_idle(KEEPALIVE);
        config.tcp_user_timeout(KEEPALIVE);
        if config.get_application_name().is_none() {
            config.application_name("unified-push");
        }
        let tls = match url.is_encrypted() {
            true => verifying(url)?,
            false => MakeRustlsConnect::new(client(RootCertStore::empty())),
        };
        Ok(Self { config, tls })
    }

    /// A connection beside the pool's, which does nothing unless it is polled.
    pub async fn connect(
        &self,
    ) -> Result<
        (
            Client,
            tokio_postgres::Connection<
                Socket,
                <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream,
            >,
        ),
        tokio_postgres::Error,
    > {
        self.config.connect(self.tls.clone()).await
    }
}

/// The system's certificate authorities, or those that `SSL_CERT_FILE` names.
fn verifying(url: &PostgresUrl) -> Result<MakeRustlsConnect, OpenError> {
    let (tls, _) = MakeRustlsConnect::with_native_certs().map_err(|_| OpenError::Connect {
        url: url.clone(),
        why: "no certificate authority is known to this system, and sslmode=require needs one"
            .to_owned(),
    })?;
    Ok(tls)
}

fn client(roots: RootCertStore) -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring knows the versions that rustls does")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Pool(deadpool_postgres::Pool);

impl Pool {
    pub fn new(source: &Source) -> Self {
        let recycling = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let manager = Manager::from_config(source.config.clone(), source.tls.clone(), recycling);
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
    pub async fn get(&self) -> Result<Connection, PoolError> {
        Ok(Connection(Some(self.0.get().await?)))
    }

    /// With a transaction begun.
    pub async fn begin(&self) -> Result<Connection, StoreError> {
        let db = self.get().await?;
        db.batch("BEGIN").await?;
        Ok(db)
    }
}

/// One of the pool's. It goes back only by [`done`](Self::done) or [`commit`](Self::commit): after
/// an error, a timeout or a caller that went away, nobody knows what state it is in, so it is
/// closed, and PostgreSQL rolls its transaction back.
pub struct Connection(Option<Object>);

impl Connection {
    pub async fn commit(self) -> Result<(), StoreError> {
        self.batch("COMMIT").await?;
        self.done();
        Ok(())
    }

    /// Gives it back.
    pub fn done(mut self) {
        self.0 = None;
    }

    pub async fn query(&self, sql: &str, values: Parameters<'_>) -> Result<Vec<Row>, StoreError> {
        let statement = self.object().prepare_cached(sql).await?;
        Ok(self.object().query(&statement, values).await?)
    }

    /// The one row, or none.
    pub async fn find(&self, sql: &str, values: Parameters<'_>) -> Result<Option<Row>, StoreError> {
        let statement = self.object().prepare_cached(sql).await?;
        Ok(self.object().query_opt(&statement, values).await?)
    }

    /// The one value that a statement such as a count answers with.
    pub async fn value<T>(&self, sql: &str, values: Parameters<'_>) -> Result<T, StoreError>
    where
        T: for<'a> FromSql<'a>,
    {
        let statement = self.object().prepare_cached(sql).await?;
        let row = self.object().query_one(&statement, values).await?;
        Ok(row.try_get(0)?)
    }

    /// How many rows were written.
    pub async fn execute(&self, sql: &str, values: Parameters<'_>) -> Result<u64, StoreError> {
        let statement = self.object().prepare_cached(sql).await?;
        Ok(self.object().execute(&statement, values).await?)
    }

    /// The text of the first value of a statement without values.
    pub async fn text(&self, sql: &str) -> Result<Option<String>, tokio_postgres::Error> {
        let answers = self.object().simple_query(sql).await?;
        Ok(answers.iter().find_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        }))
    }

    /// Statements without values.
    pub async fn batch(&self, sql: &str) -> Result<(), tokio_postgres::Error> {
        self.object().batch_execute(sql).await
    }

    fn object(&self) -> &Object {
        self.0.as_ref().expect("taken when it is given up only")
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(object) = self.0.take() {
            drop(Object::take(object));
        }
    }
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Failed(words(&error))
    }
}

impl From<PoolError> for StoreError {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Timeout(TimeoutType::Wait) => Self::Busy,
            PoolError::Timeout(TimeoutType::Create | TimeoutType::Recycle) => {
                Self::failed(NO_CONNECTION)
            }
            PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => {
                error.into()
            }
            PoolError::PostCreateHook(HookError::Message(_))
            | PoolError::Closed
            | PoolError::NoRuntimeSpecified => Self::Stopped,
        }
    }
}

pub const NO_CONNECTION: &str = "PostgreSQL lets nobody in within 2 s";

/// The causes, too, which tokio-postgres leaves out. Of the server's answer only its first line:
/// the details quote what a row holds.
pub fn words(error: &tokio_postgres::Error) -> String {
    if let Some(answer) = error.as_db_error() {
        return format!(
            "PostgreSQL: {} ({})",
            answer.message(),
            answer.code().code()
        );
    }
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words.push_str(&format!(": {error}"));
        cause = error.source();
    }
    words
}
