//! Where the database is and how to come in, as it stands: password and certificates may change
//! while the daemon runs.

use std::{sync::Arc, time::Duration};

use futures::stream::{FuturesUnordered, StreamExt};
use tokio::{
    task::{JoinHandle, spawn_blocking},
    time::timeout,
};
use tokio_postgres::{
    CancelToken, Client, Config, Connection, Error, SimpleQueryMessage, Socket,
    config::{LoadBalanceHosts, TargetSessionAttrs},
    error::SqlState,
    tls::MakeTlsConnect,
};
use tokio_postgres_rustls::MakeRustlsConnect;
use tracing::{info, warn};

use super::{
    failure::{Result, takes_no_writes},
    tls,
    url::PostgresUrl,
};
use crate::model::sync::Current;

/// How long to wait for a connection to be made.
pub const CONNECT: Duration = Duration::from_secs(2);

/// How long one attempt may take before another one begins beside it.
const HANGS: Duration = Duration::from_millis(700);

/// Without these, a peer that vanished would be noticed after two hours.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// What the library asks is `SHOW`, and pgpool has a standby answer that. It leaves a volatile
/// function to the primary.
const READ_ONLY: &str =
    "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean";

/// On each connection, whatever the server's defaults are: a commit that was answered is on the
/// disk, what waits for a lock waits for no longer than the daemon does, and a transaction that the
/// daemon forgot does not stay open. Where much waits, PostgreSQL would compile the larger statements anew
/// each time they run, which takes many times as long as running them.
pub const SESSION: &str = "SET synchronous_commit = on;
    SET statement_timeout = '2500ms';
    SET idle_in_transaction_session_timeout = '10s';
    SET default_transaction_isolation = 'read committed';
    SET client_min_messages = 'warning';
    SET jit = off";

/// Cheap to clone; clones change together.
#[derive(Clone)]
pub struct Source(Arc<Current<Arc<Target>>>);

/// With what the files of its URL held.
struct Target {
    url: PostgresUrl,
    config: Config,
    tls: MakeRustlsConnect,
}

type Stream = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;
type Connected = (Client, Connection<Socket, Stream>);

impl Source {
    pub fn new(url: &PostgresUrl) -> Result<Self> {
        let target = Target::new(url.clone())?;
        Ok(Self(Arc::new(Current::new(Arc::new(target)))))
    }

    /// For the pool, which has to have one.
    pub fn config(&self) -> Config {
        self.target().config.clone()
    }

    /// A connection that does nothing unless it is polled. When PostgreSQL refuses the password, the
    /// file that holds the URL is read again: whoever changes the one changes the other.
    pub async fn connect(&self) -> std::result::Result<Connected, Error> {
        let tried = self.target();
        let refused = match tried.connect().await {
            Err(error) if is_refused(&error) => error,
            done => return done,
        };
        let Some(changed) = read_again(tried.clone()).await else {
            return Err(refused);
        };
        let connected = changed.connect().await?;
        // Or another connection, or a reload, has come first.
        if Arc::ptr_eq(&tried, &self.target()) {
            info!(
                "PostgreSQL refused the password, and store.url_file holds another one, which it takes"
            );
            self.0.set(Arc::new(changed));
        }
        Ok(connected)
    }

    /// Takes user, password and certificates from a URL of the same database, and says what
    /// PostgreSQL has against them. Connections that are open stay.
    pub async fn renew(&self, url: &PostgresUrl) -> Result<()> {
        let target = Target::new(url.clone())?;
        match target.connect().await {
            Err(error) if is_refused(&error) => return Err(error.into()),
            // If it is away, that is no reason to keep what was before.
            Ok(_) | Err(_) => self.0.set(Arc::new(target)),
        }
        Ok(())
    }

    /// Has the server end what a connection is doing.
    pub async fn cancel(&self, work: CancelToken) -> Result<()> {
        Ok(work.cancel_query(self.target().tls.clone()).await?)
    }

    fn target(&self) -> Arc<Target> {
        self.0.read().clone()
    }
}

impl Target {
    fn new(url: PostgresUrl) -> Result<Self> {
        let mut config = url.config().clone();
        // Of several hosts, each gets its share. The one that takes writes is meant, whatever the
        // others are.
        let hosts = config.get_hosts().len().max(config.get_hostaddrs().len());
        config.connect_timeout(CONNECT / u32::try_from(hosts.max(1)).unwrap_or(u32::MAX));
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        config.keepalives_idle(KEEPALIVE);
        config.tcp_user_timeout(KEEPALIVE);
        if config.get_application_name().is_none() {
            config.application_name("unified-push");
        }
        let tls = match url.tls() {
            Some(tls) => tls.connector(tls.read()?)?,
            None => tls::plain(),
        };
        Ok(Self { url, config, tls })
    }

    /// A proxy, or the first host, may hold an attempt that would succeed if it began now: beside one
    /// that hangs, another one begins. The first that ends tells how things are.
    async fn connect(&self) -> std::result::Result<Connected, Error> {
        let mut attempts = FuturesUnordered::new();
        let mut config = self.config.clone();
        loop {
            attempts.push(self.attempt(config.clone()));
            if let Ok(Some(ended)) = timeout(HANGS, attempts.next()).await {
                return ended;
            }
            // Of several hosts, not the same one first.
            config.load_balance_hosts(LoadBalanceHosts::Random);
        }
    }

    async fn attempt(&self, mut config: Config) -> std::result::Result<Connected, Error> {
        let refused = match config.connect(self.tls.clone()).await {
            Err(error) if takes_no_writes(&error) => error,
            done => return done,
        };
        // Or a standby has answered for the primary.
        config.target_session_attrs(TargetSessionAttrs::Any);
        let (client, mut connection) = config.connect(self.tls.clone()).await?;
        let answer = tokio::select! {
            answer = client.simple_query(READ_ONLY) => answer?,
            ended = &mut connection => return Err(ended.err().unwrap_or(refused)),
        };
        let writes = answer.iter().any(
            |answer| matches!(answer, SimpleQueryMessage::Row(row) if row.get(0) == Some("f")),
        );
        match writes {
            true => Ok((client, connection)),
            false => Err(refused),
        }
    }
}

/// Whether it may be for a password, or a user, that has changed.
fn is_refused(error: &Error) -> bool {
    let refused = [
        &SqlState::INVALID_PASSWORD,
        &SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
    ];
    error.code().is_some_and(|code| refused.contains(&code))
}

/// None when the file says the same as before, or nothing that serves.
async fn read_again(tried: Arc<Target>) -> Option<Target> {
    let read = spawn_blocking(move || {
        let url = tried.url.read_again()?;
        if url == tried.url || !url.is_same_database(&tried.url) {
            return None;
        }
        Target::new(url)
            .inspect_err(|error| warn!("store.url_file {error}"))
            .ok()
    });
    read.await.ok().flatten()
}

impl deadpool_postgres::Connect for Source {
    fn connect(
        &self,
        // What the source began with.
        _: &Config,
    ) -> futures::future::BoxFuture<'_, std::result::Result<(Client, JoinHandle<()>), Error>> {
        Box::pin(async {
            let (client, connection) = Self::connect(self).await?;
            let polled = tokio::spawn(async {
                // Whoever uses the client is told, too.
                let _ = connection.await;
            });
            Ok((client, polled))
        })
    }
}
