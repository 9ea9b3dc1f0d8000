//! Whether a pooler between us and the server gives a connection to its client for as long as that
//! stays, which LISTEN and what is set for a session rest on.

use tokio_postgres::{Client, SimpleQueryMessage};
use tokio_util::task::AbortOnDropHandle;

use super::{
    failure::{PostgresFailure, Result},
    source::Source,
};

/// As often as other clients of a pooler may have come in between.
const TRIES: usize = 3;

/// Refuses a pooler that lends for a transaction or a statement. Leaves nothing behind.
pub async fn check(source: &Source) -> Result<()> {
    let (first, _driver) = connect(source).await?;
    let Ok((second, _driver)) = connect(source).await else {
        // There may be room for one only: whoever needs more will say so.
        return Ok(());
    };
    for _ in 0..TRIES {
        let before = server(&first).await?;
        if second.batch_execute("BEGIN").await.is_err() {
            return Err(PostgresFailure::Pooled("statement"));
        }
        let beside = server(&second).await?;
        let after = server(&first).await?;
        second.batch_execute("ROLLBACK").await?;
        if before == beside || before != after {
            return Err(PostgresFailure::Pooled("transaction"));
        }
    }
    Ok(())
}

async fn connect(source: &Source) -> Result<(Client, AbortOnDropHandle<()>)> {
    let (client, connection) = source.connect().await?;
    let driver = tokio::spawn(async {
        // The client says what went wrong.
        let _ = connection.await;
    });
    Ok((client, AbortOnDropHandle::new(driver)))
}

/// Which of the server's processes answers. Asked without a prepared statement, which would be one
/// process's own.
async fn server(client: &Client) -> Result<Option<String>> {
    let answers = client.simple_query("SELECT pg_backend_pid()").await?;
    Ok(answers.iter().find_map(|answer| match answer {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    }))
}
