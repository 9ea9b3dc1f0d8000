//! What an administrator wants to know of a database before a daemon uses it, or while one does.
//! Nothing is changed: no table is made, and no setting is kept.

use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow};
use tokio_util::task::AbortOnDropHandle;

use super::{
    failure::{PostgresFailure, Result},
    open::admit_encoding,
    open_error::{self, PostgresOpenError},
    pooler,
    source::Source,
    url::PostgresUrl,
};
use crate::model::time::Timestamp;

const LIMIT: Duration = Duration::from_secs(10);

/// What is asked of the server, by the columns of one row.
const QUESTIONS: &str = "SELECT current_setting('server_version'),
    current_setting('server_version_num'),
    current_setting('fsync'),
    current_setting('full_page_writes'),
    has_schema_privilege(current_schema(), 'CREATE'),
    (extract(epoch FROM clock_timestamp()) * 1000)::bigint,
    (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
    current_setting('max_connections'),
    EXISTS (SELECT FROM pg_stat_activity
     WHERE application_name = 'unified-push' AND datname = current_database()
         AND backend_start < clock_timestamp() - interval '15 s'),
    current_setting('server_encoding')";

/// A server that lets us in.
#[derive(Debug)]
pub struct PostgresExamined {
    /// As the server writes it.
    pub version: String,
    /// As a number: 150018 for 15.18.
    pub version_number: u32,
    pub fsync: bool,
    pub full_page_writes: bool,
    /// Tables can be made.
    pub may_create: bool,
    /// What the server's clock said.
    pub now: Option<Timestamp>,
    /// Connections of all users, and how many there may be.
    pub connections: (u32, u32),
    /// Whether daemons are connected, which stay for longer than this.
    pub in_use: bool,
}

/// Asks the server. One that takes no writes, a pooler that gives no sessions, and a database that cannot
/// hold every address are refused, as a daemon refuses them.
pub async fn examine(
    url: &PostgresUrl,
) -> std::result::Result<PostgresExamined, PostgresOpenError> {
    let asked = timeout(LIMIT, ask(url)).await;
    asked
        .unwrap_or(Err(PostgresFailure::TooSlow))
        .map_err(|failure| open_error::failed(failure, url))
}

async fn ask(url: &PostgresUrl) -> Result<PostgresExamined> {
    let source = Source::new(url)?;
    pooler::check(&source).await?;
    let (client, connection) = source.connect().await?;
    let _driver = AbortOnDropHandle::new(tokio::spawn(connection));
    let row = row(&client, QUESTIONS).await?;
    let text = |index| row.get(index).unwrap_or_default();
    let number = |index| text(index).parse().unwrap_or(0);
    admit_encoding(Some(text(9).to_owned()))?;
    Ok(PostgresExamined {
        version: text(0).to_owned(),
        version_number: number(1),
        fsync: text(2) == "on",
        full_page_writes: text(3) == "on",
        // Null where the search path leads nowhere.
        may_create: text(4) == "t",
        now: text(5).parse().ok().map(Timestamp::from_millis),
        connections: (number(6), number(7)),
        in_use: text(8) == "t",
    })
}

/// Asked without a prepared statement.
async fn row(client: &Client, sql: &str) -> Result<SimpleQueryRow> {
    let answers = client.simple_query(sql).await?;
    let mut rows = answers.into_iter().filter_map(|answer| match answer {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    rows.next().ok_or(PostgresFailure::TooSlow)
}
