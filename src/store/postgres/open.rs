//! The schema, brought to the present version by the first who comes. Several daemons may start at
//! once: each takes a lock, which goes with its transaction.
//!
//! The tables lie where the connection's `search_path` puts them, not in a schema of their own: an
//! administrator who has granted one schema only has done enough, and one who wants them elsewhere
//! says so in the URL (`options=-csearch_path%3D...`). Their names cannot be mistaken.

use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tracing::info;

use super::{
    failure::{PostgresFailure, Result},
    pool::{Connection, Pool},
    pooler, remedy, revocations,
    source::Source,
    upkeep,
    url::PostgresUrl,
};

/// Each brings the schema from its position in this list to the next.
pub const MIGRATIONS: &[&str] = &[
    include_str!("schema/1.sql"),
    include_str!("schema/2.sql"),
    include_str!("schema/3.sql"),
    include_str!("schema/4.sql"),
    include_str!("schema/5.sql"),
    include_str!("schema/6.sql"),
];

/// Whoever migrates holds this one, until its transaction ends; spells "UPmigrat".
const LOCK: &str = "SELECT pg_advisory_xact_lock(x'55506d6967726174'::bigint)";

/// For all of it, another daemon's migration before it included. Some of them write every row anew.
const LIMIT: Duration = Duration::from_secs(3600);

/// For what is read afterwards, what is dead already included.
const START: Duration = Duration::from_secs(60);

/// For what is seen before.
const CHECK: Duration = Duration::from_secs(4);

/// Why the database cannot be used, and what to do. Never with the password.
#[derive(Debug, thiserror::Error)]
pub enum PostgresOpenError {
    #[error("no connection to {url}: {source}. Start PostgreSQL there, or correct `store.url`")]
    Connect {
        url: PostgresUrl,
        source: PostgresFailure,
    },
    #[error("no encrypted connection to {url}: {source}. {remedy}")]
    Tls {
        url: PostgresUrl,
        source: PostgresFailure,
        remedy: String,
    },
    #[error(
        "{url} does not let unified-push in: {source}. Correct user and password (with certificates, \
         sslcert and sslkey) in `store.url`, or the server's pg_hba.conf"
    )]
    Authentication {
        url: PostgresUrl,
        source: PostgresFailure,
    },
    #[error(
        "there is no database {url}: {source}. Make it, as with `createdb --owner=USER DATABASE`, or \
         correct `store.url`"
    )]
    NoDatabase {
        url: PostgresUrl,
        source: PostgresFailure,
    },
    #[error(
        "{url} allows too little: {source}. Let the user own the database, or grant it CREATE on the \
         schema and all on the tables there"
    )]
    Denied {
        url: PostgresUrl,
        source: PostgresFailure,
    },
    #[error(
        "{url} takes no writes. Name the primary in `store.url`, not a standby, and see that \
         default_transaction_read_only is off there"
    )]
    ReadOnly { url: PostgresUrl },
    #[error(
        "{url} is no use: {source}. Have the pooler lend connections for a session (PgBouncer: \
         pool_mode = session for this database), or let `store.url` name PostgreSQL itself"
    )]
    Pooled {
        url: PostgresUrl,
        source: PostgresFailure,
    },
    #[error(
        "{url} may lose what was accepted: {source}, and `store.require_synchronous` is set. Name \
         standbys there, or remove the option"
    )]
    NotSynchronous {
        url: PostgresUrl,
        source: PostgresFailure,
    },
    #[error(
        "{url} was written by a newer version of unified-push (schema {found}; this version knows \
         {known}). Run that version, or restore a backup made by this one"
    )]
    Newer {
        url: PostgresUrl,
        found: u32,
        known: u32,
    },
    #[error("{url} is being copied: {source}. Wait until that is done")]
    Copying {
        url: PostgresUrl,
        source: PostgresFailure,
    },
    #[error("{url} is in use. Stop all daemons and commands that use it, and try again")]
    InUse { url: PostgresUrl },
    #[error(
        "{url} holds part of a copy of {copied_from}. Repeat `unified-push store copy`, which goes on \
         where it ended, or make a new database"
    )]
    Unfinished {
        url: PostgresUrl,
        copied_from: String,
    },
    #[error("{url} cannot be used as the store: {source}. PostgreSQL's log may say more")]
    Failed {
        url: PostgresUrl,
        source: PostgresFailure,
    },
}

/// What the administrator says beside the URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PostgresSettings {
    /// How many connections there may be, the one that listens among them; two at least.
    pub connections: usize,
    /// A server without synchronous standbys is refused.
    pub require_synchronous: bool,
}

impl Default for PostgresSettings {
    fn default() -> Self {
        Self {
            connections: 6,
            require_synchronous: false,
        }
    }
}

/// What a replica starts with.
pub struct Start {
    /// A name of its own, random.
    pub replica: String,
    /// How often revocations have changed.
    pub changes: i64,
    /// What waits, as [`Caps::bytes`](crate::store::Caps::bytes) counts.
    pub queued_bytes: u64,
}

/// Brings the schema to the present version.
pub async fn open(
    source: &Source,
    pool: &Pool,
    url: &PostgresUrl,
    settings: PostgresSettings,
) -> std::result::Result<Start, PostgresOpenError> {
    let checked = timeout(CHECK, pooler::check(source)).await;
    let checked = checked.unwrap_or(Err(PostgresFailure::NoConnection));
    checked.map_err(|failure| failed(failure, url))?;
    let db = pool.get().await.map_err(|failure| failed(failure, url))?;
    if settings.require_synchronous {
        let set = async {
            let names = db.text("SHOW synchronous_standby_names").await?;
            match names.is_some_and(|names| !names.is_empty()) {
                true => Ok(()),
                false => Err(PostgresFailure::NotSynchronous),
            }
        };
        set.await.map_err(|failure| failed(failure, url))?;
    }
    let migrated = timeout(LIMIT, migrate(&db)).await;
    let migrated = migrated.unwrap_or(Err(PostgresFailure::SchemaLate));
    let (found, known) = migrated.map_err(|failure| failed(failure, url))?;
    if found > known {
        let url = url.clone();
        return Err(PostgresOpenError::Newer { url, found, known });
    }
    let copied_from = timeout(CHECK, copied_from(&db)).await;
    let copied_from = copied_from.unwrap_or(Err(PostgresFailure::TooSlow));
    if let Some(copied_from) = copied_from.map_err(|failure| failed(failure, url))? {
        let url = url.clone();
        return Err(PostgresOpenError::Unfinished { url, copied_from });
    }
    let started = timeout(START, start(&db)).await;
    // The connection is not given back, and whatever was set goes with it.
    started
        .unwrap_or(Err(PostgresFailure::TooSlow))
        .map_err(|failure| failed(failure, url))
}

/// The version that was found and the one that is known; changes nothing when that is lower.
pub async fn migrate(db: &Connection) -> Result<(u32, u32)> {
    // Whoever waits gives up after LIMIT.
    db.batch("BEGIN; SET LOCAL statement_timeout = 0").await?;
    db.batch(LOCK).await?;
    let (found, known) = (version(db).await?, known());
    let missing = MIGRATIONS.get(found as usize..).unwrap_or_default();
    for (number, migration) in (found + 1..).zip(missing) {
        if found > 0 {
            let before = number - 1;
            info!("bringing the database from schema {before} to {number} of {known}");
        }
        db.batch(&format!(
            "{migration}
             CREATE TABLE IF NOT EXISTS unified_push_schema (version integer NOT NULL);
             DELETE FROM unified_push_schema;
             INSERT INTO unified_push_schema VALUES ({number})"
        ))
        .await?;
    }
    db.batch("COMMIT").await?;
    Ok((found, known))
}

/// The present version.
pub fn known() -> u32 {
    u32::try_from(MIGRATIONS.len()).expect("a handful")
}

/// From where the copy comes that is not complete, if there is one.
pub async fn copied_from(db: &Connection) -> Result<Option<String>> {
    let sql = "SELECT source FROM unified_push_copy";
    db.find(sql, &[], |row| Ok(row.try_get(0)?)).await
}

/// 0 for a database that is not ours yet.
pub async fn version(db: &Connection) -> Result<u32> {
    let ours = "SELECT to_regclass('unified_push_schema')::text";
    if db.text(ours).await?.is_none() {
        return Ok(0);
    }
    let version = db.text("SELECT version FROM unified_push_schema").await?;
    Ok(version.and_then(|text| text.parse().ok()).unwrap_or(0))
}

async fn start(db: &Connection) -> Result<Start> {
    db.batch("BEGIN; SET LOCAL statement_timeout = '60s'")
        .await?;
    Ok(Start {
        replica: db.value("SELECT gen_random_uuid()::text", &[]).await?,
        changes: revocations::changes(db).await?,
        queued_bytes: upkeep::queued(db).await?.bytes,
    })
}

/// With the remedy, as far as the server's answer tells.
pub fn failed(source: PostgresFailure, url: &PostgresUrl) -> PostgresOpenError {
    let url = url.clone();
    if let Some(remedy) = remedy::remedy(&source) {
        return PostgresOpenError::Tls {
            url,
            source,
            remedy,
        };
    }
    match source.code() {
        None => match source {
            PostgresFailure::TooSlow | PostgresFailure::SchemaLate => {
                PostgresOpenError::Failed { url, source }
            }
            PostgresFailure::Pooled(_) => PostgresOpenError::Pooled { url, source },
            PostgresFailure::Copying => PostgresOpenError::Copying { url, source },
            PostgresFailure::NotSynchronous => PostgresOpenError::NotSynchronous { url, source },
            source => PostgresOpenError::Connect { url, source },
        },
        Some(&SqlState::INVALID_PASSWORD | &SqlState::INVALID_AUTHORIZATION_SPECIFICATION) => {
            PostgresOpenError::Authentication { url, source }
        }
        Some(&SqlState::INVALID_CATALOG_NAME) => PostgresOpenError::NoDatabase { url, source },
        Some(&SqlState::INSUFFICIENT_PRIVILEGE) => PostgresOpenError::Denied { url, source },
        Some(&SqlState::READ_ONLY_SQL_TRANSACTION) => PostgresOpenError::ReadOnly { url },
        Some(_) => PostgresOpenError::Failed { url, source },
    }
}
