//! The schema, brought to the present version by the first who comes. Several daemons may start at
//! once: each takes a lock of the session, which goes with its connection.
//!
//! The tables lie where the connection's `search_path` puts them, not in a schema of their own: an
//! administrator who has granted one schema only has done enough, and one who wants them elsewhere
//! says so in the URL (`options=-csearch_path%3D...`). Their names cannot be mistaken.

use std::time::Duration;

use deadpool_postgres::{HookError, PoolError};
use tokio::time::timeout;
use tokio_postgres::error::SqlState;

use super::{
    connect::{Connection, NO_CONNECTION, Pool, words},
    url::PostgresUrl,
};

/// Each brings the schema from its position in this list to the next.
const MIGRATIONS: &[&str] = &[include_str!("schema/1.sql")];

/// Whoever migrates holds this one; spells "UPmigrat".
const LOCK: &str = "SELECT pg_advisory_lock(x'55506d6967726174'::bigint)";

/// For all of it, another daemon's migration before it included.
const LIMIT: Duration = Duration::from_secs(60);

/// Why the database cannot be used, and what to do. Never with the password.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("no connection to {url}: {why}. Start PostgreSQL there, or correct `store.url`")]
    Connect { url: PostgresUrl, why: String },
    #[error(
        "{url} does not let unified-push in: {why}. Correct user and password in `store.url`, or \
         the server's pg_hba.conf"
    )]
    Authentication { url: PostgresUrl, why: String },
    #[error(
        "there is no database {url}: {why}. Make it, as with `createdb --owner=USER DATABASE`, or \
         correct `store.url`"
    )]
    NoDatabase { url: PostgresUrl, why: String },
    #[error(
        "{url} allows too little: {why}. Let the user own the database, or grant it CREATE on the \
         schema and all on the tables there"
    )]
    Denied { url: PostgresUrl, why: String },
    #[error(
        "{url} was written by a newer version of unified-push (schema {found}; this version knows \
         {known}). Run that version, or restore a backup made by this one"
    )]
    Newer {
        url: PostgresUrl,
        found: u32,
        known: u32,
    },
    #[error("{url} cannot be used as the store: {why}. Restore a backup, or name another database")]
    Failed { url: PostgresUrl, why: String },
}

pub async fn migrate(pool: &Pool, url: &PostgresUrl) -> Result<(), OpenError> {
    let db = pool.get().await.map_err(|error| refused(error, url))?;
    let done = timeout(LIMIT, locked(&db)).await;
    let (found, known) = done
        .map_err(|_| OpenError::Failed {
            url: url.clone(),
            why: format!("its schema was not ready within {} s", LIMIT.as_secs()),
        })?
        .map_err(|error| failed(&error, url))?;
    if found > known {
        let url = url.clone();
        return Err(OpenError::Newer { url, found, known });
    }
    // Not given back: the lock ends with it.
    Ok(())
}

/// The version that was found and the one that is known; changes nothing when that is lower.
async fn locked(db: &Connection) -> Result<(u32, u32), tokio_postgres::Error> {
    db.batch("SET statement_timeout = '60s'").await?;
    db.batch(LOCK).await?;
    let known = u32::try_from(MIGRATIONS.len()).expect("a handful");
    let found = version(db).await?;
    let missing = MIGRATIONS.get(found as usize..).unwrap_or_default();
    for (number, migration) in (found + 1..).zip(missing) {
        db.batch(&format!(
            "BEGIN;
             {migration}
             CREATE TABLE IF NOT EXISTS unified_push_schema (version integer NOT NULL);
             DELETE FROM unified_push_schema;
             INSERT INTO unified_push_schema VALUES ({number});
             COMMIT"
        ))
        .await?;
    }
    Ok((found, known))
}

/// 0 for a database that is not ours yet.
async fn version(db: &Connection) -> Result<u32, tokio_postgres::Error> {
    let read = db.text("SELECT version FROM unified_push_schema").await;
    match read {
        Ok(version) => Ok(version.and_then(|text| text.parse().ok()).unwrap_or(0)),
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => Ok(0),
        Err(error) => Err(error),
    }
}

fn refused(error: PoolError, url: &PostgresUrl) -> OpenError {
    match error {
        PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => {
            failed(&error, url)
        }
        PoolError::Timeout(_)
        | PoolError::Closed
        | PoolError::NoRuntimeSpecified
        | PoolError::PostCreateHook(HookError::Message(_)) => OpenError::Connect {
            url: url.clone(),
            why: NO_CONNECTION.to_owned(),
        },
    }
}

fn failed(error: &tokio_postgres::Error, url: &PostgresUrl) -> OpenError {
    let (url, why) = (url.clone(), words(error));
    match error.code() {
        None => OpenError::Connect { url, why },
        Some(code)
            if [
                SqlState::INVALID_PASSWORD,
                SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
            ]
            .contains(code) =>
        {
            OpenError::Authentication { url, why }
        }
        Some(&SqlState::INVALID_CATALOG_NAME) => OpenError::NoDatabase { url, why },
        Some(&SqlState::INSUFFICIENT_PRIVILEGE) => OpenError::Denied { url, why },
        Some(_) => OpenError::Failed { url, why },
    }
}
