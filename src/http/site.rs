//! What a listener serves, and how every request of it is answered.

use std::{convert::Infallible, panic::AssertUnwindSafe, sync::Arc};

use axum::{
    Router,
    body::Body,
    http::{
        Version,
        header::{CONTENT_LENGTH, HOST},
    },
    response::Response,
};
use futures::{
    FutureExt,
    future::{BoxFuture, Either, ready},
};
use hyper::{Method, Request};
use tower::{Layer, Service, util::option_layer};
use tower_http::cors::CorsLayer;
use tracing::{debug, error};

use crate::{http::answer, metrics::Metrics};

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
    /// Answers requests, and logs how that ended. A panic ends in a 500 that tells nothing. Public for
    /// fuzzing, which does without a socket.
    pub fn service(
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
            _ if !names_host(&request) => ("other", Either::Left(ready(answer::no_host()).boxed())),
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

/// RFC 9112 §3.2: a request of HTTP/1.1 with none or several is refused, since proxies and servers would
/// not agree whom it is for.
fn names_host(request: &Request<Body>) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    let first = hosts.next();
    hosts.next().is_none() && (first.is_some() || request.version() < Version::HTTP_11)
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
