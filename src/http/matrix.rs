//! The push gateway for Matrix (Push Gateway API, `POST /_matrix/push/v1/notify`): a homeserver sends
//! what its users shall be notified of, each with endpoints as pushkeys. An app asks by `GET` whether the
//! origin of its endpoint has a gateway; anything but this answer may make it use another one for good.
//!
//! Pushkeys of other servers are rejected: nothing is ever sent to a URL. A pushkey that is rejected is
//! forgotten for ever, and all else but a 200 makes Synapse send the same event again for a day, while
//! later ones wait behind it.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    body::Body,
    extract::{Request, State},
    http::{
        HeaderMap, StatusCode,
        header::{CONTENT_TYPE, RETRY_AFTER},
    },
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures::{StreamExt, stream};
use hyper::body::Body as _;
use ring::digest::{SHA256, digest};
use serde::Deserialize;
use serde_json::{json, value::RawValue};
use tokio::{sync::Semaphore, time::timeout};

use crate::{
    delivery::Message,
    http::{
        Deliver, Public,
        answer::{self, Refusal},
        client::{ClientKey, Peer},
        locate, push,
    },
    metrics::PushResult,
    model::{
        message::{Topic, Urgency},
        payload::{MAX_PAYLOAD, Payload},
        vapid::Signature,
    },
};

pub const PATH: &str = "/_matrix/push/v1/notify";

/// Bytes of a request. An event has up to 65536, and some servers escape its characters.
const MAX_BODY: usize = 256 * 1024;
/// Bytes of a request that is read at once, as nearly all are: they name an event without its content.
const SMALL_BODY: u64 = 16 * 1024;
/// How many larger requests are read at the same time.
const LARGE_BODIES: usize = 16;
/// Pushkeys of one request. Synapse sends one, others all of one user.
const MAX_DEVICES: usize = 100;
/// How many of them are pushed to at the same time.
const CONCURRENT_PUSHES: usize = 8;

pub struct Gateway<D> {
    public: Arc<Public<D>>,
    large_bodies: Semaphore,
}

/// What a homeserver says, ready to be sent.
struct Notification {
    pushkeys: Vec<String>,
    payload: Payload,
    urgency: Urgency,
    topic: Option<Topic>,
}

type Fields<'a> = BTreeMap<String, &'a RawValue>;

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    notification: Fields<'a>,
}

#[derive(Deserialize)]
struct Device {
    pushkey: String,
}

/// Why a request is refused as a whole.
enum Fault {
    Body(Refusal),
    Json(serde_json::Error),
    TooManyDevices,
}

/// What became of the message for one device.
enum Verdict {
    Accepted,
    Rejected,
    /// It is to be sent again. With what an endpoint would answer.
    Later(PushResult, Response),
}

pub async fn discover() -> Response {
    let body = json!({"unifiedpush": {"gateway": "matrix"}});
    answer_json(StatusCode::OK, &body)
}

pub async fn notify<D: Deliver>(
    State(gateway): State<Arc<Gateway<D>>>,
    request: Request,
) -> Response {
    let (parts, mut body) = request.into_parts();
    let public = &gateway.public;
    let notification = match gateway.read(&mut body).await {
        Ok(notification) => notification,
        Err(fault) => {
            if matches!(fault, Fault::Body(Refusal::TooLarge)) {
                let rest = push::skip(&parts.headers, &mut body);
                // Whoever takes longer is refused all the same.
                let _ = timeout(public.body_timeout, rest).await;
            }
            let (result, response) = fault.answer();
            public.metrics.pushes.inc(result);
            return response;
        }
    };
    let client = public.client(Peer::of(&parts.extensions), &parts.headers);
    let pushes = notification.pushkeys.iter();
    let pushes = pushes.map(|key| gateway.push(key, &notification, &client, &parts.headers));
    let pushes: Vec<_> = pushes.collect();
    let verdicts: Vec<_> = stream::iter(pushes)
        .buffered(CONCURRENT_PUSHES)
        .collect()
        .await;
    let later = verdicts.iter().filter_map(|verdict| match verdict {
        Verdict::Later(result, _) => Some(*result),
        _ => None,
    });
    let later: Vec<_> = later.collect();
    let response = conclude(&notification.pushkeys, verdicts);
    drop((parts, body, notification));
    // Once for all devices.
    public.slow_down(&later).await;
    response
}

impl<D> Gateway<D> {
    pub fn new(public: Arc<Public<D>>) -> Self {
        Self {
            public,
            large_bodies: Semaphore::new(LARGE_BODIES),
        }
    }
}

impl<D: Deliver> Gateway<D> {
    async fn read(&self, body: &mut Body) -> Result<Notification, Fault> {
        if body.size_hint().lower() > MAX_BODY as u64 {
            return Err(Fault::Body(Refusal::TooLarge));
        }
        let is_small = body
            .size_hint()
            .upper()
            .is_some_and(|most| most <= SMALL_BODY);
        let reading = async {
            // Held until the body is not any more.
            let permit = match is_small {
                true => None,
                false => self.large_bodies.acquire().await.ok(),
            };
            let body = push::collect(body, MAX_BODY).await.map_err(Fault::Body)?;
            let notification = Notification::parse(&body);
            drop(permit);
            notification
        };
        let read = timeout(self.public.body_timeout, reading).await;
        read.unwrap_or(Err(Fault::Body(Refusal::Slow)))
    }

    async fn push(
        &self,
        pushkey: &str,
        notification: &Notification,
        client: &ClientKey,
        headers: &HeaderMap,
    ) -> Verdict {
        let mut count = push::CountOnDrop::new(&self.public.metrics);
        let Some(path) = self.public.path_of_own(pushkey, headers) else {
            count.result = PushResult::Foreign;
            return Verdict::Rejected;
        };
        let path = locate::decoded(path);
        let message = notification.message();
        let (result, response) = push::deliver(&self.public, client, &path, message).await;
        count.result = result;
        match response.status() {
            StatusCode::CREATED => Verdict::Accepted,
            StatusCode::NOT_FOUND => Verdict::Rejected,
            // It was registered for another application server, whose signature this one never makes.
            StatusCode::UNAUTHORIZED => Verdict::Rejected,
            _ => Verdict::Later(result, response),
        }
    }
}

/// One answer for all devices. When the message has to be sent again to one of them, it is sent again to
/// all: those that have it already get it twice, which an app can tell by the event, and while it waits
/// for its phone the second replaces the first. With a 200 it would be lost for the one.
fn conclude(pushkeys: &[String], verdicts: Vec<Verdict>) -> Response {
    let mut rejected = Vec::new();
    for (pushkey, verdict) in pushkeys.iter().zip(verdicts) {
        match verdict {
            Verdict::Accepted => {}
            Verdict::Rejected => rejected.push(pushkey),
            Verdict::Later(_, response) => return later(&response),
        }
    }
    answer_json(StatusCode::OK, &json!({"rejected": rejected}))
}

fn later(of_endpoint: &Response) -> Response {
    let status = of_endpoint.status();
    let (code, text) = match status {
        StatusCode::TOO_MANY_REQUESTS => (
            "M_LIMIT_EXCEEDED",
            "Too many requests with pushkeys that do not exist.",
        ),
        _ => ("M_UNKNOWN", "Not accepted at the moment; send it again."),
    };
    let mut response = error(status, code, text);
    if let Some(seconds) = of_endpoint.headers().get(RETRY_AFTER) {
        response.headers_mut().insert(RETRY_AFTER, seconds.clone());
    }
    response
}

impl Notification {
    fn parse(body: &[u8]) -> Result<Self, Fault> {
        let Envelope { mut notification } = serde_json::from_slice(body).map_err(Fault::Json)?;
        let devices = notification.remove("devices").map_or("null", RawValue::get);
        let devices: Vec<Device> = serde_json::from_str(devices).map_err(Fault::Json)?;
        if devices.len() > MAX_DEVICES {
            return Err(Fault::TooManyDevices);
        }
        let event = text(&notification, "event_id").filter(|id| !id.is_empty());
        let urgency = match (&event, text(&notification, "prio").as_deref()) {
            (None, _) | (_, Some("low")) => Urgency::Low,
            // As the specification has it for one that names none.
            _ => Urgency::High,
        };
        Ok(Self {
            pushkeys: devices.into_iter().map(|device| device.pushkey).collect(),
            payload: payload(notification),
            urgency,
            topic: topic(event.as_deref()),
        })
    }

    fn message(&self) -> Message {
        Message {
            // `delivery.default_ttl`, a day unless the operator wants otherwise. So long Synapse itself
            // tries to get rid of an event; whoever comes back later sees it in the app.
            ttl: None,
            topic: self.topic.clone(),
            urgency: self.urgency,
            payload: self.payload.clone(),
            // No Matrix server signs.
            signature: Signature::Absent,
        }
    }
}

/// Of an event, so that one that is sent again replaces itself; without one, of all that only tell how
/// many messages are unread, so that the newest counts.
fn topic(event: Option<&str>) -> Option<Topic> {
    match event {
        None => Topic::parse(b"matrix-counts"),
        Some(event) => {
            let hash = digest(&SHA256, event.as_bytes());
            Topic::parse(URL_SAFE_NO_PAD.encode(&hash.as_ref()[..24]).as_bytes())
        }
    }
}

/// What the app gets: the notification as it was sent, but for the devices. When that is too much for a
/// push, the app gets what has room, beginning with what it needs to fetch the event. The content, which
/// is what takes the room, comes last.
fn payload(notification: Fields) -> Payload {
    const FIRST: [&str; 6] = ["event_id", "room_id", "counts", "prio", "type", "sender"];
    const END: &str = "}}";
    let rank = |name: &str| {
        let first = FIRST.iter().position(|first| *first == name);
        first.unwrap_or(FIRST.len() + usize::from(name == "content"))
    };
    let mut fields: Vec<_> = notification.into_iter().collect();
    fields.sort_by_key(|(name, _)| rank(name));
    let mut payload = String::from(r#"{"notification":{"#);
    let mut separator = "";
    for (name, value) in fields {
        let field = format!("{separator}{}:{}", json!(name), value.get());
        if payload.len() + field.len() + END.len() <= MAX_PAYLOAD {
            payload += &field;
            separator = ",";
        }
    }
    payload += END;
    Payload::new(payload.into()).expect("it was made to be no larger")
}

/// A field that is a string.
fn text(notification: &Fields, name: &str) -> Option<String> {
    serde_json::from_str(notification.get(name)?.get()).ok()
}

impl Fault {
    fn answer(&self) -> (PushResult, Response) {
        let bad = |code, text: &str| {
            let response = error(StatusCode::BAD_REQUEST, code, text);
            (PushResult::BadRequest, response)
        };
        let large = |text: &str| {
            let response = error(StatusCode::PAYLOAD_TOO_LARGE, "M_TOO_LARGE", text);
            (PushResult::TooLarge, answer::closing(response))
        };
        match self {
            Self::Json(fault) if fault.is_data() => bad(
                "M_BAD_JSON",
                "This is no notification with devices and their pushkeys.",
            ),
            Self::Json(_) => bad("M_NOT_JSON", "The body is not JSON."),
            Self::TooManyDevices => large("There are more than 100 devices."),
            Self::Body(Refusal::TooLarge) => large("The body is larger than 256 KiB."),
            Self::Body(refusal) => {
                let (result, response) = refusal.answer();
                (result, answer::closing(later(&response)))
            }
        }
    }
}

fn error(status: StatusCode, code: &str, text: &str) -> Response {
    answer_json(status, &json!({"errcode": code, "error": text}))
}

fn answer_json(status: StatusCode, body: &serde_json::Value) -> Response {
    let headers = [(CONTENT_TYPE, "application/json")];
    (status, headers, body.to_string()).into_response()
}
