//! The push resource: `POST /push/{token}` takes a message, `GET` tells that this is UnifiedPush. It
//! gets all requests that are for no other resource: `locate` finds the token.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Request, State},
    http::{
        HeaderMap, Uri,
        header::{CONTENT_TYPE, EXPECT},
    },
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Body as _;
use tokio::time::timeout;

use crate::{
    delivery::{Message, Outcome},
    http::{
        Deliver, Public,
        answer::{self, Refusal},
        client::{ClientKey, Peer, client_key},
        headers::PushHeaders,
        locate,
    },
    metrics::{Metrics, PushResult},
    model::payload::{MAX_PAYLOAD, Payload, PayloadError},
};

/// Bytes of a body that is refused: more than proxies let through in general.
const MAX_SKIPPED: u64 = 64 * 1024;

/// The same for every token, so that it tells nothing about one.
pub async fn discover(uri: Uri) -> Response {
    if !locate::is_endpoint(uri.path()) {
        return answer::not_found();
    }
    let body = r#"{"unifiedpush":{"version":1}}"#;
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}

pub fn post<D: Deliver>(
    State(public): State<Arc<Public<D>>>,
    request: Request,
) -> impl Future<Output = Response> + Send {
    // Requests that came over no socket of ours share one bucket.
    let peer = request.extensions().get().copied().unwrap_or(Peer::Local);
    take(public, request, peer)
}

pub fn take<D: Deliver>(
    public: Arc<Public<D>>,
    request: Request,
    peer: Peer,
) -> impl Future<Output = Response> + Send {
    let (parts, mut body) = request.into_parts();
    // An async fn would hold the request twice while the push is in flight.
    async move {
        let uri = parts.uri;
        let path = locate::decoded(uri.path());
        let is_authentic = |token: &str| public.delivery.is_authentic(token);
        let Some(token) = locate::token(&path, is_authentic) else {
            return answer::not_found();
        };
        let mut count = CountOnDrop {
            metrics: &public.metrics,
            result: PushResult::Abandoned,
        };
        let (result, response) = match read(&public, &parts.headers, &mut body).await {
            Err(refusal) => {
                if matches!(refusal, Refusal::TooLarge | Refusal::Header(_)) {
                    let rest = skip(&parts.headers, &mut body);
                    // Whoever takes longer is refused all the same.
                    let _ = timeout(public.body_timeout, rest).await;
                }
                refusal.answer()
            }
            Ok(message) => {
                let client = public.client(peer, &parts.headers);
                // Their memory is for the next requests while this one waits for the phone.
                drop((parts.headers, parts.extensions, body));
                let outcome = public.delivery.push(token, message).await;
                if outcome == Outcome::BadToken && !public.guesses.admit(&client) {
                    answer::guessing()
                } else {
                    answer::outcome(&outcome, &public.public_url)
                }
            }
        };
        count.result = result;
        response
    }
}

/// Any other method.
pub async fn other(uri: Uri) -> Response {
    if locate::is_endpoint(uri.path()) {
        answer::method_not_allowed("GET, HEAD, OPTIONS, POST")
    } else {
        answer::not_found()
    }
}

impl<D> Public<D> {
    fn client(&self, peer: Peer, headers: &HeaderMap) -> ClientKey {
        client_key(peer, headers, &self.rules.read().trusted_proxies)
    }
}

/// Counts a request even when it is dropped before its answer.
struct CountOnDrop<'a> {
    metrics: &'a Metrics,
    result: PushResult,
}

impl Drop for CountOnDrop<'_> {
    fn drop(&mut self) {
        self.metrics.pushes.inc(self.result);
    }
}

async fn read<D>(
    public: &Public<D>,
    headers: &HeaderMap,
    body: &mut Body,
) -> Result<Message, Refusal> {
    // Before anything is read: who waits for `100 Continue` need not send the body at all.
    if body.size_hint().lower() > MAX_PAYLOAD as u64 {
        return Err(Refusal::TooLarge);
    }
    let PushHeaders {
        ttl,
        urgency,
        topic,
    } = PushHeaders::parse(headers, public.rules.read().require_ttl).map_err(Refusal::Header)?;
    let body = timeout(public.body_timeout, collect(body))
        .await
        .map_err(|_| Refusal::Slow)??;
    let payload = Payload::new(body).map_err(|error| match error {
        PayloadError::Empty => Refusal::Empty,
        PayloadError::TooLarge => Refusal::TooLarge,
    })?;
    Ok(Message {
        ttl,
        topic,
        urgency,
        payload,
    })
}

/// Never holds more than the largest payload, whatever length was announced.
async fn collect(body: &mut Body) -> Result<Bytes, Refusal> {
    match Limited::new(body, MAX_PAYLOAD).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Refusal::TooLarge),
        Err(_) => Err(Refusal::Broken),
    }
}

/// Reads what is left of a body that is refused, if it is not much: a connection that is closed on
/// unread bytes is reset, and proxies that are still sending then make a 502 of the answer.
async fn skip(headers: &HeaderMap, body: &mut Body) {
    // Who waits for `100 Continue` has not sent it.
    if headers.contains_key(EXPECT) || body.size_hint().lower() > MAX_SKIPPED {
        return;
    }
    let mut rest = Limited::new(body, MAX_SKIPPED as usize);
    while let Some(Ok(_)) = rest.frame().await {}
}
