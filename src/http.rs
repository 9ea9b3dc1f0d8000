//! The HTTP listeners: Web Push for application servers (RFC 8030 §5) on the public one, metrics
//! and health on the admin one.
//!
//! Nothing here knows tokens, phones or XMPP: a request becomes a [`Message`], its [`Outcome`]
//! becomes a status. Statuses are destructive: senders forget a subscription for ever on most 4xx,
//! so whatever may pass is a 503. No URI is logged: it is a bearer secret.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    http::{HeaderMap, HeaderName, Method, header},
    routing::get,
};
use futures::FutureExt;
use ipnet::IpNet;
use jid::BareJid;
use tokio::sync::Semaphore;
use tower_http::cors::{Any, CorsLayer};

use crate::{
    delivery::{Delivery, Message, Outcome, StoreFailed},
    metrics::Metrics,
    model::{endpoint::PublicUrl, message::MessageId, sync::Current},
    runtime::health::Health,
};

mod admin;
mod answer;
mod client;
mod connection;
mod guesses;
mod guests;
mod headers;
mod late;
mod listener;
mod locate;
mod matrix;
mod message;
mod page;
mod push;
mod serve;
mod site;
mod socket;
#[cfg(test)]
mod tests;
mod vapid;

pub use admin::admin;
pub use answer::NO_ENDPOINT;
pub use client::Peer;
pub use guesses::Guesses;
pub use guests::Room;
pub use late::Late;
pub use listener::{BindError, Listener};
pub use locate::PROBE;
pub use message::questions;
pub use serve::{ServeSettings, serve};
pub use site::Site;
use site::{Cors, Pushes};
pub use vapid::Signatures;

/// How long the body of a push may take to arrive.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Where pushes go.
pub trait Deliver: Clone + Send + Sync + 'static {
    /// Whether a token is authentic, dead or alive. Nothing is looked up.
    fn is_authentic(&self, token: &str) -> bool;

    /// Shows to whoever knows the daemon's secret that it is this one.
    fn prove(&self, challenge: &str) -> String;

    fn push(&self, token: &str, message: Message) -> impl Future<Output = Outcome> + Send;

    /// Whether a message waits for its phone still.
    fn is_pending(&self, id: MessageId) -> impl Future<Output = Result<bool, StoreFailed>> + Send;

    /// Takes a message back. False: it does not wait.
    fn cancel(&self, id: MessageId) -> impl Future<Output = Result<bool, StoreFailed>> + Send;
}

impl Deliver for Arc<Delivery> {
    fn is_authentic(&self, token: &str) -> bool {
        Delivery::is_authentic(self, token)
    }

    fn prove(&self, challenge: &str) -> String {
        Delivery::prove(self, challenge)
    }

    fn push(&self, token: &str, message: Message) -> impl Future<Output = Outcome> + Send {
        Delivery::push(self, token, message)
    }

    fn is_pending(&self, id: MessageId) -> impl Future<Output = Result<bool, StoreFailed>> + Send {
        Delivery::is_pending(self, id)
    }

    fn cancel(&self, id: MessageId) -> impl Future<Output = Result<bool, StoreFailed>> + Send {
        Delivery::cancel(self, id)
    }
}

/// What the public listener works with.
pub struct Public<D> {
    pub delivery: D,
    /// What endpoints start with: http or https, without a trailing slash. Its path is where the
    /// routes begin.
    pub public_url: PublicUrl,
    /// What a person enters in the phone's app.
    pub domain: BareJid,
    pub rules: Arc<Current<Rules>>,
    pub signatures: Signatures,
    /// Tokens that fail authentication and messages that are not there, per client.
    pub guesses: Guesses,
    /// Before the refusals of accounts that hold as many messages as they may.
    pub full: Late,
    /// What the store is asked about messages at the moment.
    pub questions: Semaphore,
    pub body_timeout: Duration,
    pub metrics: Arc<Metrics>,
    /// What the page says of this server.
    pub health: Health,
}

/// How requests are taken.
pub struct Rules {
    /// Whether a push without a TTL header is refused.
    pub require_ttl: bool,
    /// Whether signatures are looked at.
    pub read_signatures: bool,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// How many connections one client may have.
    pub connections_per_client: usize,
}

/// What the public listener serves.
pub fn public<D: Deliver>(public: Public<D>) -> Site {
    // Braces mean something to the router.
    let prefix = public.public_url.path();
    let prefix = prefix.replace('{', "{{").replace('}', "}}");
    let page = Arc::new(page::Page::new(&public.domain, &public.public_url));
    let health = public.health.clone();
    let endpoint = get(push::discover::<D>)
        .post(push::post::<D>)
        .put(push::post::<D>)
        .fallback(push::other);
    let message = get(message::get::<D>)
        .delete(message::delete::<D>)
        .post(message::post::<D>)
        .put(message::post::<D>)
        .fallback(async || message::not_allowed());
    let root = get(move |headers: HeaderMap| async move { page.response(&headers, &health) })
        .fallback(|| async { answer::method_not_allowed("GET, HEAD, OPTIONS") });
    let mut router = Router::new()
        .without_v07_checks()
        .route(&format!("{prefix}/message/{{id}}"), message)
        .route(&format!("{prefix}/push/{{token}}"), endpoint.clone())
        .route(&format!("{prefix}/"), root.clone());
    if !prefix.is_empty() && prefix != matrix::PATH {
        router = router.route(&prefix, root);
    }
    let state = Arc::new(public);
    let matrix = get(matrix::discover)
        .post(matrix::notify::<D>)
        .fallback(async || answer::method_not_allowed("GET, HEAD, OPTIONS, POST"))
        .with_state(Arc::new(matrix::Gateway::new(state.clone())));
    // At the root of the origin, wherever endpoints are.
    router = router.route(matrix::PATH, matrix);
    // Wherever else a token stands.
    let router = router.fallback_service(endpoint.with_state(state.clone()));
    let pushes = Pushes {
        path: format!("{}/push/", state.public_url.path()).into(),
        take: {
            let state = state.clone();
            Arc::new(move |request, peer| push::take(state.clone(), request, peer).boxed())
        },
    };
    Site {
        metrics: state.metrics.clone(),
        router: router.with_state(state),
        pushes: Some(pushes).filter(|pushes| !matrix::PATH.starts_with(&*pushes.path)),
        cors: Some(Cors::new(cors())),
    }
}

/// Web pages may push from any origin: an endpoint is its own permission.
fn cors() -> CorsLayer {
    let request_headers = [
        HeaderName::from_static("ttl"),
        HeaderName::from_static("urgency"),
        HeaderName::from_static("topic"),
        HeaderName::from_static("encryption"),
        HeaderName::from_static("crypto-key"),
        HeaderName::from_static("prefer"),
        header::CONTENT_ENCODING,
        header::CONTENT_TYPE,
        header::AUTHORIZATION,
    ];
    let response_headers = [
        header::LOCATION,
        HeaderName::from_static("ttl"),
        header::RETRY_AFTER,
    ];
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::DELETE,
            Method::OPTIONS,
        ])
        .allow_headers(request_headers)
        .expose_headers(response_headers)
        .max_age(Duration::from_secs(86_400))
        // The answer is the same for every origin.
        .vary([])
}
