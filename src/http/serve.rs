//! The accept loop: HTTP/1 only, every wait bounded, so that no client can hold the daemon.

use std::{
    io::{self, ErrorKind},
    sync::Arc,
    time::Duration,
};

use axum::Router;
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::IntGauge;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::Service;
use tracing::{debug, warn};

use crate::http::{
    client::Peer,
    listener::{Accepted, Listener},
};

/// Bytes of request line and headers; more gets 431.
const MAX_HEADER: usize = 16 * 1024;
/// How long to wait when the system is short of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub struct ServeSettings {
    /// How many may be open at once; the others wait in the kernel's queue.
    pub connections: usize,
    /// How long a header may take to arrive, a connection may idle between requests, and an answer
    /// may stay unread.
    pub patience: Duration,
    /// How long requests in flight may go on after the shutdown began.
    pub drain: Duration,
    pub open: IntGauge,
}

impl ServeSettings {
    pub fn new(connections: usize, open: IntGauge) -> Self {
        Self {
            connections,
            patience: Duration::from_secs(30),
            drain: Duration::from_secs(10),
            open,
        }
    }
}

/// Serves until `shutdown`; then closes the listener and idle connections, and returns when the
/// requests in flight are answered or `drain` is over.
pub async fn serve(
    listener: Listener,
    router: Router,
    settings: ServeSettings,
    shutdown: CancellationToken,
) {
    let tasks = TaskTracker::new();
    let slots = Arc::new(Semaphore::new(
        settings.connections.min(Semaphore::MAX_PERMITS),
    ));
    let connection = Connection {
        router,
        settings,
        shutdown: shutdown.clone(),
    };
    let accept = async {
        loop {
            let slot = slots.clone().acquire_owned().await;
            let slot = slot.expect("the semaphore is never closed");
            let accepted = accept(&listener).await;
            let connection = connection.clone();
            tasks.spawn(async move {
                connection.run(accepted).await;
                drop(slot);
            });
        }
    };
    tokio::select! {
        () = accept => {}
        () = shutdown.cancelled() => {}
    }
    drop(listener);
    tasks.close();
    tasks.wait().await;
}

/// Waits for a connection; an error of one client, or of the system's at the moment, is no reason
/// to stop.
async fn accept(listener: &Listener) -> Accepted {
    let mut warned = false;
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if is_clients_own(&error) => {}
            Err(error) => {
                if !warned {
                    warn!(%error, "cannot accept HTTP connections, trying again each second");
                    warned = true;
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_clients_own(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused
    )
}

/// What every connection gets a copy of.
#[derive(Clone)]
struct Connection {
    router: Router,
    settings: ServeSettings,
    shutdown: CancellationToken,
}

impl Connection {
    async fn run(self, accepted: Accepted) {
        self.settings.open.inc();
        let _closed = OnDrop(&self.settings.open);
        match accepted {
            Accepted::Tcp(stream, ip) => {
                if let Err(error) = self.tune(&stream) {
                    debug!(%error, "the connection is gone already");
                    return;
                }
                self.talk(stream, Peer::Ip(ip)).await;
            }
            Accepted::Unix(stream) => self.talk(stream, Peer::Local).await,
        }
    }

    fn tune(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        // hyper has no timer for writing: a client that reads no answers would stay for ever.
        SockRef::from(stream).set_tcp_user_timeout(Some(self.settings.patience))
    }

    async fn talk(&self, stream: impl AsyncRead + AsyncWrite + Unpin, peer: Peer) {
        let service = service_fn(|mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            // A router is always ready.
            self.router.clone().call(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.settings.patience)
            .max_buf_size(MAX_HEADER)
            // Who sends a request and closes its side still wants the answer.
            .half_close(true)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => Some(ended),
            () = self.shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                timeout(self.settings.drain, connection).await.ok()
            }
        };
        match ended {
            Some(Ok(())) => {}
            Some(Err(error)) => debug!(%error, "connection ended"),
            None => debug!("connection dropped at shutdown"),
        }
    }
}

struct OnDrop<'a>(&'a IntGauge);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_of_descriptors_is_waited_for_and_a_clients_abort_is_not() {
        const EMFILE: i32 = 24;
        const ECONNABORTED: i32 = 103;
        assert!(!is_clients_own(&io::Error::from_raw_os_error(EMFILE)));
        assert!(is_clients_own(&io::Error::from_raw_os_error(ECONNABORTED)));
    }
}
