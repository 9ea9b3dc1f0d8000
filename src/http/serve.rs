//! The accept loop: HTTP/1 only, every wait bounded, so that no client can hold the daemon.

use std::{
    convert::Infallible,
    io::{self, ErrorKind},
    panic::AssertUnwindSafe,
    sync::Arc,
    time::Duration,
};

use axum::{Router, body::Body, http::header::CONTENT_LENGTH, response::Response};
use futures::{
    FutureExt,
    future::{BoxFuture, Either},
};
use hyper::{Method, Request, body::Incoming, server::conn::http1, service::service_fn};
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
use tower::{Layer, Service, util::option_layer};
use tower_http::cors::CorsLayer;
use tracing::{debug, error, warn};

use crate::{
    http::{
        answer,
        client::Peer,
        listener::{Accepted, Listener},
    },
    metrics::Metrics,
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
    pub metrics: Arc<Metrics>,
}

impl ServeSettings {
    pub fn new(connections: usize, metrics: Arc<Metrics>) -> Self {
        Self {
            connections,
            patience: Duration::from_secs(30),
            drain: Duration::from_secs(10),
            metrics,
        }
    }
}

/// What a listener serves.
#[derive(Clone)]
pub struct Site {
    pub(super) router: Router,
    pub(super) pushes: Option<Pushes>,
    /// None: web pages of other origins may not read it.
    pub(super) cors: Option<CorsLayer>,
}

/// Takes pushes past the router, which needs longer to find a route and to box what serves it than
/// everything else in here.
#[derive(Clone)]
pub(super) struct Pushes {
    /// What their paths begin with. The router has nothing else there.
    pub path: Arc<str>,
    pub take: Arc<Take>,
}

type Take = dyn Fn(Request<Body>) -> BoxFuture<'static, Response> + Send + Sync;

impl Pushes {
    fn are_meant(&self, request: &Request<Body>) -> bool {
        request.method() == Method::POST && request.uri().path().starts_with(&*self.path)
    }
}

impl Site {
    /// Answers requests, and logs how that ended. A panic ends in a 500 that tells nothing.
    pub(super) fn service(
        mut self,
        metrics: Arc<Metrics>,
    ) -> impl Service<Request<Body>, Response = Response, Error = Infallible, Future: Send> + Clone
    {
        let cors = self.cors.take();
        let respond = tower::service_fn(move |request| self.respond(request, metrics.clone()));
        // Around the rest: a web page may read how a panic was answered, too. It answers what browsers
        // ask beforehand (OPTIONS) by itself.
        option_layer(cors).layer(respond)
    }

    fn respond(
        &self,
        request: Request<Body>,
        metrics: Arc<Metrics>,
    ) -> impl Future<Output = Result<Response, Infallible>> + Send + use<> {
        let method = request.method().clone();
        let (resource, response) = match &self.pushes {
            Some(pushes) if pushes.are_meant(&request) => {
                ("push", Either::Left((pushes.take)(request)))
            }
            _ => (
                resource(request.uri().path()),
                Either::Right(self.route(request)),
            ),
        };
        // An async fn would hold the request as well.
        async move {
            let response = AssertUnwindSafe(response).catch_unwind().await;
            let response = response.unwrap_or_else(|_| {
                metrics.http_panics.inc();
                error!(%method, resource, "a request caused a panic; please report this defect");
                answer::internal_error()
            });
            debug!(%method, resource, status = response.status().as_u16(), "request");
            Ok(response)
        }
    }

    fn route(&self, request: Request<Body>) -> impl Future<Output = Response> + Send + use<> {
        let is_head = request.method() == Method::HEAD;
        self.router.clone().call(request).map(move |answered| {
            let mut response = answered.unwrap_or_else(|never| match never {});
            // hyper knows it as well, and writes it where it does for answers past the router.
            if !is_head {
                response.headers_mut().remove(CONTENT_LENGTH);
            }
            response
        })
    }
}

/// Serves until `shutdown`; then closes the listener and idle connections, and returns when the
/// requests in flight are answered or `drain` is over.
pub async fn serve(
    listener: Listener,
    site: Site,
    settings: ServeSettings,
    shutdown: CancellationToken,
) {
    let tasks = TaskTracker::new();
    let slots = Arc::new(Semaphore::new(
        settings.connections.min(Semaphore::MAX_PERMITS),
    ));
    let connection = Connection {
        service: site.service(settings.metrics.clone()),
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
                    warn!(%error, "cannot accept HTTP connections; trying again every second");
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
struct Connection<S> {
    service: S,
    settings: ServeSettings,
    shutdown: CancellationToken,
}

impl<S> Connection<S>
where
    S: Service<Request<Body>, Response = Response, Error = Infallible> + Clone,
{
    async fn run(self, accepted: Accepted) {
        let open = &self.settings.metrics.http_connections;
        open.inc();
        let _closed = OnDrop(open);
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
            // It is always ready.
            self.service.clone().call(request.map(Body::new))
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

/// What a path asks for. The path itself may hold a bearer secret.
fn resource(path: &str) -> &'static str {
    const KNOWN: [&str; 8] = [
        "push", "message", "notify", "aesgcm", "generic", "metrics", "healthz", "readyz",
    ];
    let mut last = path.rsplit('/').take(2);
    last.find_map(|segment| KNOWN.into_iter().find(|known| *known == segment))
        .unwrap_or("other")
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
