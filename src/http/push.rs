//! The push resource: `POST /push/{token}` takes a message, `GET` tells that this is UnifiedPush. It
//! gets all requests that are for no other resource: `locate` finds the token.
//!
//! `PUT` is what Telegram sends to whom it calls a simple push server. It names no time to live.

use std::sync::Arc;

use axum::{
    BoxError,
    body::Body,
    extract::{Request, State},
    http::{
        HeaderMap, Method, Uri,
        header::{CONTENT_TYPE, EXPECT, HOST},
        request::Parts,
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
    model::{
        endpoint::without_port,
        payload::{MAX_PAYLOAD, Payload, PayloadError},
        vapid::Signature,
    },
};

/// Bytes of a body that is refused: more than proxies let through in general.
const MAX_SKIPPED: u64 = 64 * 1024;

/// The same for every token, so that it tells nothing about one. A probe is none: it asks which daemon
/// this is.
pub async fn discover<D: Deliver>(State(public): State<Arc<Public<D>>>, uri: Uri) -> Response {
    let path = locate::decoded(uri.path());
    let body = if let Some(challenge) = locate::probe(&path) {
        let proof = public.delivery.prove(challenge);
        format!(r#"{{"unifiedpush":{{"version":1}},"proof":"{proof}"}}"#)
    } else if locate::is_endpoint(&path) {
        r#"{"unifiedpush":{"version":1}}"#.to_owned()
    } else if let Some(gateway) = locate::gateway(&path) {
        format!(r#"{{"unifiedpush":{{"gateway":"{gateway}"}}}}"#)
    } else {
        return answer::not_found();
    };
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}

/// What the router has: its path has the token somewhere else.
pub fn post<D: Deliver>(
    State(public): State<Arc<Public<D>>>,
    request: Request,
) -> impl Future<Output = Response> + Send {
    let peer = Peer::of(request.extensions());
    take(public, request, peer)
}

/// Takes a message to its endpoint.
pub fn take<D: Deliver>(
    public: Arc<Public<D>>,
    request: Request,
    peer: Peer,
) -> impl Future<Output = Response> + Send {
    let (mut parts, mut body) = request.into_parts();
    // An async fn would hold the request twice while the push is in flight.
    async move {
        let uri = std::mem::take(&mut parts.uri);
        let name = locate::name(&uri).filter(|name| public.is_own(name, &parts.headers));
        let Some(name) = name else {
            return answer::not_found();
        };
        let mut count = CountOnDrop::new(&public.metrics);
        let (result, response) = match read(&public, &parts, &mut body).await {
            Err(refusal) => {
                if matches!(refusal, Refusal::TooLarge | Refusal::Header(_)) {
                    let rest = skip(&parts.headers, &mut body);
                    // Whoever takes longer is refused all the same.
                    let _ = timeout(public.body_timeout, rest).await;
                }
                refusal.answer()
            }
            Ok(mut message) => {
                let client = public.client(peer, &parts.headers);
                message.signature = public.signature(&name, &parts.headers);
                // Their memory is for the next requests while this one waits for the phone.
                drop((parts, body));
                deliver(&public, &client, &name, message).await
            }
        };
        count.result = result;
        public.slow_down(&[result]).await;
        response
    }
}

/// Sends a message to the endpoint in a path without escapes, unless its client guesses tokens. To be
/// followed by [`slow_down`](Public::slow_down).
pub async fn deliver<D: Deliver>(
    public: &Public<D>,
    client: &ClientKey,
    path: &str,
    message: Message,
) -> (PushResult, Response) {
    let is_authentic = |token: &str| public.delivery.is_authentic(token);
    let outcome = match locate::token(path, is_authentic) {
        Some(token) => public.delivery.push(token, message).await,
        None => Outcome::BadToken,
    };
    if outcome == Outcome::BadToken
        && let Some(refused) = public.guesses.refuse(client)
    {
        return refused;
    }
    answer::outcome(&outcome, &public.public_url)
}

/// Any other method.
pub async fn other(uri: Uri) -> Response {
    let path = locate::decoded(uri.path());
    if locate::is_endpoint(&path) || locate::gateway(&path).is_some() {
        answer::method_not_allowed("GET, HEAD, OPTIONS, POST, PUT")
    } else {
        answer::not_found()
    }
}

impl<D> Public<D> {
    /// Waits before an answer to who takes more than a share. For who holds nothing any more but the answer
    /// and the connection.
    pub async fn slow_down(&self, results: &[PushResult]) {
        if results.contains(&PushResult::Guessing) {
            self.guesses.wait().await;
        } else if results.contains(&PushResult::AccountFull) {
            self.full.wait().await;
        }
    }

    /// Whether what names an endpoint is a path, or a URL of this server.
    fn is_own(&self, name: &str, headers: &HeaderMap) -> bool {
        name.starts_with('/') || self.path_of_own(name, headers).is_some()
    }

    /// The path of a URL of this server. Its host is that of `public_url` or, after a move, the one that
    /// this very request came to; only an authentic token makes an endpoint of either.
    pub fn path_of_own<'a>(&self, url: &'a str, headers: &HeaderMap) -> Option<&'a str> {
        let asked = headers.get(HOST).and_then(|host| host.to_str().ok());
        let ours = [
            self.public_url.host(),
            without_port(asked.unwrap_or_default()),
        ];
        locate::path_of_own(url, |host| {
            ours.iter().any(|ours| ours.eq_ignore_ascii_case(host))
        })
    }

    pub fn client(&self, peer: Peer, headers: &HeaderMap) -> ClientKey {
        client_key(peer, headers, &self.rules.read().trusted_proxies)
    }
}

impl<D: Deliver> Public<D> {
    fn signature(&self, name: &str, headers: &HeaderMap) -> Signature {
        if !self.rules.read().read_signatures {
            return Signature::Unread;
        }
        self.signatures.read(headers, || {
            let is_authentic = |token: &str| self.delivery.is_authentic(token);
            locate::token(name, is_authentic).is_some_and(is_authentic)
        })
    }
}

/// Counts a push even when its request is dropped before its answer.
pub struct CountOnDrop<'a> {
    metrics: &'a Metrics,
    pub result: PushResult,
}

impl<'a> CountOnDrop<'a> {
    pub fn new(metrics: &'a Metrics) -> Self {
        Self {
            metrics,
            result: PushResult::Abandoned,
        }
    }
}

impl Drop for CountOnDrop<'_> {
    fn drop(&mut self) {
        self.metrics.pushes.inc(self.result);
    }
}

async fn read<D>(public: &Public<D>, request: &Parts, body: &mut Body) -> Result<Message, Refusal> {
    // Before anything is read: who waits for `100 Continue` need not send the body at all.
    if body.size_hint().lower() > MAX_PAYLOAD as u64 {
        return Err(Refusal::TooLarge);
    }
    let require_ttl = request.method == Method::POST && public.rules.read().require_ttl;
    let PushHeaders {
        ttl,
        urgency,
        topic,
        head,
    } = PushHeaders::parse(&request.headers, require_ttl).map_err(Refusal::Header)?;
    let body = timeout(public.body_timeout, collect(body, MAX_PAYLOAD))
        .await
        .map_err(|_| Refusal::Slow)??;
    let payload = Payload::new(body).map_err(|error| match error {
        PayloadError::Empty => Refusal::Empty,
        PayloadError::TooLarge => Refusal::TooLarge,
    })?;
    let payload = match head {
        Some(head) => payload.behind(&head),
        None => payload,
    };
    Ok(Message {
        ttl,
        topic,
        urgency,
        payload,
        // Its token is looked at first.
        signature: Signature::Unread,
    })
}

/// Never holds more than the limit, in bytes, whatever length was announced.
pub async fn collect(body: &mut Body, limit: usize) -> Result<Bytes, Refusal> {
    let refusal = |error: BoxError| match error.is::<LengthLimitError>() {
        true => Refusal::TooLarge,
        false => Refusal::Broken,
    };
    let mut body = Limited::new(body, limit);
    let Some(first) = body.frame().await else {
        return Ok(Bytes::new());
    };
    let first = first.map_err(refusal)?.into_data().unwrap_or_default();
    // Nearly always it is all, and need not be copied.
    if body.is_end_stream() {
        return Ok(first);
    }
    let rest = body.collect().await.map_err(refusal)?.to_bytes();
    Ok([first, rest].concat().into())
}

/// Reads what is left of a body that is refused, if it is not much: a connection that is closed on
/// unread bytes is reset, and proxies that are still sending then make a 502 of the answer.
pub async fn skip(headers: &HeaderMap, body: &mut Body) {
    // Who waits for `100 Continue` has not sent it.
    if headers.contains_key(EXPECT) || body.size_hint().lower() > MAX_SKIPPED {
        return;
    }
    let mut rest = Limited::new(body, MAX_SKIPPED as usize);
    while let Some(Ok(_)) = rest.frame().await {}
}
