//! What application servers are told. The bodies are for people who debug a sender: they say what
//! happened, and nothing about tokens, phones' addresses or the inside of the daemon.

use axum::{
    http::{
        HeaderName, HeaderValue, StatusCode,
        header::{ALLOW, CONNECTION, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE},
    },
    response::{IntoResponse, Response},
};

use crate::{
    delivery::Outcome,
    http::headers::HeaderError,
    metrics::PushResult,
    model::{
        endpoint::PublicUrl,
        message::{MessageId, Ttl},
        vapid::Unauthorized,
    },
};

/// Why a push is refused before its token is looked at.
#[derive(Debug)]
pub enum Refusal {
    Header(HeaderError),
    Empty,
    TooLarge,
    /// The body did not arrive in time.
    Slow,
    /// The body ended early, or its chunks are malformed.
    Broken,
}

impl Refusal {
    pub fn answer(&self) -> (PushResult, Response) {
        match self {
            Self::Header(error) => {
                let body = format!("{error}\n");
                let response = (StatusCode::BAD_REQUEST, body).into_response();
                (PushResult::BadRequest, response)
            }
            Self::Empty => (
                PushResult::BadRequest,
                plain(StatusCode::BAD_REQUEST, "The body is empty.\n"),
            ),
            Self::TooLarge => (PushResult::TooLarge, too_large()),
            // A network's fault passes: no 4xx, which makes senders forget the endpoint.
            Self::Slow => (
                PushResult::Abandoned,
                closing(unavailable("10", "The body did not arrive in time.\n")),
            ),
            Self::Broken => (
                PushResult::Abandoned,
                closing(unavailable("10", "The body is incomplete or malformed.\n")),
            ),
        }
    }
}

/// The one place that gives outcomes their statuses. `public_url` is what message resources start
/// with.
pub fn outcome(outcome: &Outcome, public_url: &PublicUrl) -> (PushResult, Response) {
    match outcome {
        Outcome::Acknowledged { ttl, message } => (
            PushResult::Acknowledged,
            created(*ttl, *message, public_url),
        ),
        Outcome::Stored { ttl, message } => {
            (PushResult::Stored, created(*ttl, *message, public_url))
        }
        Outcome::SentUnanswered { message } => (
            PushResult::SentUnanswered,
            created(Ttl::ZERO, *message, public_url),
        ),
        Outcome::Unanswered => (
            PushResult::Unanswered,
            unavailable("60", "The phone did not answer in time.\n"),
        ),
        Outcome::PhoneError => (
            PushResult::PhoneError,
            unavailable("60", "The phone cannot be reached at the moment.\n"),
        ),
        Outcome::LinkDown => (
            PushResult::LinkDown,
            unavailable("30", "The XMPP server cannot be reached at the moment.\n"),
        ),
        Outcome::Revoked => (PushResult::Revoked, not_found()),
        Outcome::BadToken => (PushResult::BadToken, not_found()),
        Outcome::Gone => (PushResult::Gone, not_found()),
        Outcome::Unauthorized(reason) => (PushResult::Unauthorized, unauthorized(*reason)),
        Outcome::RateLimited => (
            PushResult::RateLimited,
            unavailable("10", "Too many messages for this endpoint.\n"),
        ),
        Outcome::MemoryFull => (
            PushResult::MemoryFull,
            unavailable("10", "Too many pushes are in progress.\n"),
        ),
        Outcome::LinkBusy => (
            PushResult::LinkBusy,
            unavailable("10", "The XMPP server accepts messages too slowly.\n"),
        ),
        Outcome::StoreFailed => (PushResult::StoreFailed, store_failed()),
        Outcome::ClockWrong => (
            PushResult::ClockWrong,
            unavailable("60", "The server's clock is wrong at the moment.\n"),
        ),
        Outcome::AccountFull => (
            PushResult::AccountFull,
            unavailable(
                "60",
                "Too many messages are waiting for this account's phones.\n",
            ),
        ),
        Outcome::QueueFull => (
            PushResult::QueueFull,
            unavailable(
                "60",
                "There is no room for this message: too many messages are waiting, or all that are waiting for this endpoint are more urgent.\n",
            ),
        ),
    }
}

/// For a token that fails authentication from a client that had too many of them. An endpoint that
/// was ever issued with the present secrets never gets this: some senders take it for a 404.
pub fn guessing() -> (PushResult, Response) {
    let retry_after = [(RETRY_AFTER, HeaderValue::from_static("30"))];
    let body = "Too many requests for endpoints that do not exist.\n";
    let response = (StatusCode::TOO_MANY_REQUESTS, retry_after, body);
    (PushResult::Guessing, response.into_response())
}

/// By which a 404 of ours is known.
pub const NO_ENDPOINT: &str = "There is no such endpoint.\n";

/// One and the same for every token that is not good, whatever the reason, and for unknown paths.
pub fn not_found() -> Response {
    plain(StatusCode::NOT_FOUND, NO_ENDPOINT)
}

/// Only for an endpoint that was registered with a key. RFC 8292 §4.2 has a 403 for some reasons, of
/// which application servers die.
fn unauthorized(reason: Unauthorized) -> Response {
    let challenge = [(WWW_AUTHENTICATE, HeaderValue::from_static("vapid"))];
    let body = format!(
        "This endpoint takes only messages signed by the key it was registered with (RFC 8292): {reason}.\n"
    );
    (StatusCode::UNAUTHORIZED, challenge, body).into_response()
}

/// Of a message resource: it waits.
pub fn pending() -> Response {
    plain(StatusCode::OK, "The message is waiting for its phone.\n")
}

/// One and the same for messages that were delivered, have expired or never were.
pub fn not_pending() -> Response {
    plain(StatusCode::NOT_FOUND, "No such message is waiting.\n")
}

pub fn taken_back() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

pub fn store_failed() -> Response {
    unavailable("30", "The server's storage is failing at the moment.\n")
}

pub fn busy() -> Response {
    unavailable("5", "Too many ask for their messages at the moment.\n")
}

pub fn method_not_allowed(allowed: &'static str) -> Response {
    let allow = [(ALLOW, HeaderValue::from_static(allowed))];
    let body = "This method is not allowed here.\n";
    (StatusCode::METHOD_NOT_ALLOWED, allow, body).into_response()
}

pub fn no_host() -> Response {
    let body = "A request names its host once, in the header Host.\n";
    closing(plain(StatusCode::BAD_REQUEST, body))
}

pub fn internal_error() -> Response {
    let body = "The server made a mistake.\n";
    plain(StatusCode::INTERNAL_SERVER_ERROR, body)
}

/// RFC 8030 §5: the message resource is named even when nothing is kept there any more.
fn created(ttl: Ttl, message: MessageId, public_url: &PublicUrl) -> Response {
    let location = HeaderValue::try_from(public_url.message(message))
        .expect("neither a URL nor base64 has control characters");
    let headers = [
        (
            HeaderName::from_static("ttl"),
            HeaderValue::try_from(ttl.as_secs().to_string()).expect("digits"),
        ),
        (LOCATION, location),
    ];
    (StatusCode::CREATED, headers).into_response()
}

fn unavailable(seconds: &'static str, body: &'static str) -> Response {
    let retry_after = [(RETRY_AFTER, HeaderValue::from_static(seconds))];
    (StatusCode::SERVICE_UNAVAILABLE, retry_after, body).into_response()
}

/// RFC 8030 §7.2.
fn too_large() -> Response {
    let body = "The body is larger than 4096 bytes.\n";
    closing(plain(StatusCode::PAYLOAD_TOO_LARGE, body))
}

/// Ends the connection as well: the rest of the body would have to be read to reuse it.
pub fn closing(mut response: Response) -> Response {
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(CONNECTION, close);
    response
}

fn plain(status: StatusCode, body: &'static str) -> Response {
    (status, body).into_response()
}
