//! What a listener serves, and how every request of it is answered.

use std::{convert::Infallible, panic::AssertUnwindSafe, sync::Arc};

use axum::{
    Router,
    body::Body,
    http::{
        HeaderMap, Version,
        header::{CONTENT_LENGTH, HOST},
    },
    response::Response,
};
use futures::{
    FutureExt,
    future::{BoxFuture, Either, ready},
};
use hyper::{Method, Request};
use tower::{Layer, Service};
use tower_http::cors::CorsLayer;
use tracing::{debug, error};

use crate::{
    http::{answer, client::Peer},
    metrics::Metrics,
};

/// What a listener serves.
#[derive(Clone)]
pub struct Site {
    pub(super) router: Router,
    pub(super) pushes: Option<Pushes>,
    /// None: web pages of other origins may not read it.
    pub(super) cors: Option<Cors>,
    pub(super) metrics: Arc<Metrics>,
}

/// Takes pushes past the router, which needs longer to find a route and to box what serves it than
/// everything else in here.
#[derive(Clone)]
pub(super) struct Pushes {
    /// What their paths begin with. The router has nothing else there.
    pub path: Arc<str>,
    pub take: Arc<Take>,
}

type Take = dyn Fn(Request<Body>, Peer) -> BoxFuture<'static, Response> + Send + Sync;

impl Pushes {
    fn are_meant(&self, request: &Request<Body>) -> bool {
        request.method() == Method::POST && request.uri().path().starts_with(&*self.path)
    }
}

/// Lets web pages of every origin push and read the answers.
#[derive(Clone)]
pub(super) struct Cors {
    layer: CorsLayer,
    /// What every answer carries that is not to OPTIONS. The layer would make it anew for each.
    headers: HeaderMap,
}

impl Cors {
    /// `layer` treats all origins alike.
    pub fn new(layer: CorsLayer) -> Self {
        let mut cors = Self {
            layer,
            headers: HeaderMap::new(),
        };
        cors.headers = cors.answer(Request::default()).into_parts().0.headers;
        cors
    }

    /// Adds the headers to an answer, to whatever but OPTIONS.
    fn open(&self, response: &mut Response) {
        for (name, value) in &self.headers {
            response.headers_mut().insert(name, value.clone());
        }
    }

    /// What the layer makes of an empty answer. To what browsers ask beforehand (OPTIONS) it has one of
    /// its own.
    fn answer(&self, request: Request<Body>) -> Response {
        let empty = tower::service_fn(|_| ready(Ok::<_, Infallible>(Response::default())));
        let answer = self.layer.layer(empty).call(request).now_or_never();
        let answer = answer.expect("nothing in it waits");
        answer.unwrap_or_else(|never| match never {})
    }
}

impl Site {
    /// Answers a request, and logs how that ended. A panic ends in a 500 that tells nothing. Public for
    /// fuzzing, which does without a socket.
    pub fn answer(
        self: &Arc<Self>,
        mut request: Request<Body>,
        peer: Peer,
    ) -> impl Future<Output = Response> + Send + use<> {
        let method = request.method().clone();
        let now = |response| Either::Left(ready(response).boxed());
        let (resource, response) = match (&self.cors, &self.pushes) {
            (Some(cors), _) if method == Method::OPTIONS => ("other", now(cors.answer(request))),
            _ if !names_host(&request) => ("other", now(answer::no_host())),
            (_, Some(pushes)) if pushes.are_meant(&request) => {
                ("push", Either::Left((pushes.take)(request, peer)))
            }
            _ => {
                request.extensions_mut().insert(peer);
                let resource = resource(request.uri().path());
                (resource, Either::Right(self.route(request)))
            }
        };
        let site = self.clone();
        // An async fn would hold the request as well.
        async move {
            let response = AssertUnwindSafe(response).catch_unwind().await;
            let mut response = response.unwrap_or_else(|_| {
                site.metrics.http_panics.inc();
                error!(%method, resource, "a request caused a panic; please report this defect");
                answer::internal_error()
            });
            if let Some(cors) = site.cors.as_ref().filter(|_| method != Method::OPTIONS) {
                cors.open(&mut response);
            }
            debug!(%method, resource, status = response.status().as_u16(), "request");
            response
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
