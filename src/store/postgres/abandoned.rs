//! Work that nobody waits for any more: the server is to end it.

use std::{pin::pin, time::Duration};

use deadpool_postgres::ClientWrapper;
use tokio::{sync::Mutex, time::timeout};
use tokio_util::task::AbortOnDropHandle;

use super::source::{CONNECT, SESSION, Source};

/// How long abandoned work may take to end by itself, or after it was cancelled.
const WIND_UP: Duration = Duration::from_millis(500);

/// How often a write that was tried is cancelled before its connection is closed nevertheless.
const MOST_CANCELS: u32 = 20;

/// Returns when the server has ended abandoned work, and has it do so: a commit that waits for a
/// standby goes on even when its client has left. Does not wait for a server that was left.
pub async fn wind_up(client: ClientWrapper, source: &Source, probing: &Mutex<()>) {
    let work = client.cancel_token();
    let mut ended = pin!(client.batch_execute("ROLLBACK"));
    while timeout(WIND_UP, &mut ended).await.is_err() {
        let cancelled = timeout(CONNECT, source.cancel(work.clone())).await;
        if !matches!(cancelled, Ok(Ok(()))) {
            // The server cannot be reached: it will notice that the connection is closed.
            return;
        }
        // One that hangs as a whole takes in whatever is sent to it, too.
        if timeout(WIND_UP, &mut ended).await.is_ok() || was_left(source, probing).await {
            return;
        }
    }
}

/// Whether another connection would not hang in the same way: either there is none to be had, or it
/// writes. One at a time sees to that.
async fn was_left(source: &Source, probing: &Mutex<()>) -> bool {
    let _one = probing.lock().await;
    let (client, connection) = match timeout(CONNECT, source.connect()).await {
        Ok(Ok(connected)) => connected,
        // It has answered, as when there are too many connections.
        Ok(Err(error)) if error.code().is_some() => return false,
        Ok(Err(_)) | Err(_) => return true,
    };
    let _driver = AbortOnDropHandle::new(tokio::spawn(connection));
    let write = format!("{SESSION}; UPDATE unified_push_changes SET changes = changes");
    let mut written = pin!(client.batch_execute(&write));
    if timeout(2 * WIND_UP, &mut written).await.is_ok() {
        return true;
    }
    for _ in 0..MOST_CANCELS {
        let _ = timeout(CONNECT, source.cancel(client.cancel_token())).await;
        if timeout(WIND_UP, &mut written).await.is_ok() {
            break;
        }
    }
    false
}
