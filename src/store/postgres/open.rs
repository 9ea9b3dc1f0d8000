//! What a daemon finds out, and has done, before it uses the database.

use std::time::Duration;

use tokio::time::timeout;

use super::{
    failure::{PostgresFailure, Result},
    open_error::{PostgresOpenError, failed},
    pool::{Connection, Pool},
    pooler, revocations,
    schema::migrate,
    source::Source,
    upkeep,
    url::PostgresUrl,
};

/// For all migrations, those of another daemon before them included. Some of them write every row anew.
const LIMIT: Duration = Duration::from_secs(3600);

/// For what is read afterwards, what is dead already included.
const START: Duration = Duration::from_secs(60);

/// For what is seen before.
const CHECK: Duration = Duration::from_secs(4);

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
    let encoding = check_encoding(&db).await;
    encoding.map_err(|failure| failed(failure, url))?;
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

/// Whether every address can be written to the database.
pub async fn check_encoding(db: &Connection) -> Result<()> {
    admit_encoding(db.text("SHOW server_encoding").await?)
}

/// The other encodings lack characters, but for the one that takes bytes as they come.
pub fn admit_encoding(encoding: Option<String>) -> Result<()> {
    match encoding {
        Some(encoding) if !["UTF8", "SQL_ASCII"].contains(&&*encoding) => {
            Err(PostgresFailure::Encoding(encoding))
        }
        _ => Ok(()),
    }
}

/// From where the copy comes that is not complete, if there is one.
pub async fn copied_from(db: &Connection) -> Result<Option<String>> {
    let sql = "SELECT source FROM unified_push_copy";
    db.find(sql, &[], |row| Ok(row.try_get(0)?)).await
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
