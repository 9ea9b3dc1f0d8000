//! Requests of application servers, through everything that answers them but the socket.

use std::sync::{Arc, Mutex};

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, Request},
};
use http_body_util::BodyExt;
use jid::BareJid;
use serde_json::Value;
use tokio::sync::watch;
use unified_push::{
    delivery::{Message, Outcome, StoreFailed},
    http::{self, BODY_TIMEOUT, Deliver, Guesses, Late, Peer, Public, Rules, Signatures, Site},
    metrics::{LinkState, Metrics},
    model::{
        message::{MessageId, Ttl},
        payload::MAX_PAYLOAD,
        rate::Limiter,
        sync::Current,
    },
    runtime::health::Health,
};

use crate::{Still, halves, wait};

const URL: &str = "https://up.example.org";

/// Takes every push. Tokens are authentic unless they begin with `x`.
#[derive(Clone, Default)]
struct Taking(Arc<Mutex<Vec<Message>>>);

impl Deliver for Taking {
    fn is_authentic(&self, token: &str) -> bool {
        !token.starts_with('x')
    }

    fn prove(&self, challenge: &str) -> String {
        challenge.to_owned()
    }

    async fn push(&self, _token: &str, message: Message) -> Outcome {
        let ttl = message.ttl.unwrap_or(Ttl::ZERO);
        self.0.lock().expect("one thread").push(message);
        Outcome::Acknowledged {
            ttl,
            message: MessageId::from_bytes([7; 16]),
        }
    }

    async fn is_pending(&self, _id: MessageId) -> Result<bool, StoreFailed> {
        Ok(false)
    }

    async fn cancel(&self, _id: MessageId) -> Result<bool, StoreFailed> {
        Ok(false)
    }
}

struct Server {
    taking: Taking,
    site: Arc<Site>,
}

thread_local!(static SERVER: Server = server());

fn server() -> Server {
    let (taking, metrics) = (Taking::default(), Arc::new(Metrics::new()));
    let url = || URL.parse().expect("a URL");
    let site = http::public(Public {
        delivery: taking.clone(),
        public_url: url(),
        domain: BareJid::new("up.example.org").expect("a JID"),
        rules: Arc::new(Current::new(Rules {
            require_ttl: false,
            read_signatures: true,
            trusted_proxies: Vec::new(),
            connections_per_client: 1,
        })),
        signatures: Signatures::new(&url(), Arc::new(Still)),
        // As good as none.
        guesses: Guesses::new(Arc::new(Limiter::new(
            "1000000/s, burst 1000000".parse().expect("a rate"),
        ))),
        questions: http::questions(),
        full: Late::new(1),
        body_timeout: BODY_TIMEOUT,
        metrics,
        health: Health::new(watch::channel(LinkState::Up).1),
    });
    Server {
        taking,
        site: Arc::new(site),
    }
}

/// The status, the body and what was pushed.
fn post(
    path: &str,
    headers: &[(HeaderName, HeaderValue)],
    body: &[u8],
) -> (u16, Vec<u8>, Vec<Message>) {
    SERVER.with(|server| {
        let mut request = Request::post(path).header("host", "up.example.org");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(Body::from(body.to_vec())).expect("a request");
        let answered = wait(async {
            let response = server.site.answer(request, Peer::Local).await;
            let status = response.status().as_u16();
            let body = response
                .into_body()
                .collect()
                .await
                .expect("it is all there");
            (status, body.to_bytes().to_vec())
        });
        assert_ne!(answered.0, 500, "a panic");
        let taken = std::mem::take(&mut *server.taking.0.lock().expect("one thread"));
        (answered.0, answered.1, taken)
    })
}

/// `Name: value` on each line; after an empty line the body.
pub fn headers(data: &[u8]) {
    let (head, body) = match data.windows(2).position(|two| two == b"\n\n") {
        Some(at) => (&data[..at], &data[at + 2..]),
        None => (data, &b"body"[..]),
    };
    let lines = head.split(|byte| *byte == b'\n').filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
        // The request has one already.
        (name != "host").then_some((name, value))
    });
    let lines: Vec<_> = lines.collect();
    pushed(&lines, body);
}

/// The first two parts are the parameters, the rest is the body.
pub fn aesgcm(data: &[u8]) {
    let (encryption, rest) = halves(data);
    let (key, body) = halves(rest);
    let value = |bytes: &[u8]| HeaderValue::from_bytes(bytes.trim_ascii()).ok();
    let (Some(encryption), Some(key)) = (value(encryption), value(key)) else {
        return;
    };
    let name = HeaderName::from_static;
    let lines = [
        (name("content-encoding"), HeaderValue::from_static("aesgcm")),
        (name("encryption"), encryption.clone()),
        (name("crypto-key"), key.clone()),
    ];
    let Some(message) = pushed(&lines, body) else {
        return;
    };
    let (encryption, key) = (encryption.as_bytes(), key.as_bytes());
    let expected = match encryption.is_empty() || key.is_empty() {
        true => body.to_vec(),
        false => {
            let head = [
                &b"aesgcm\nEncryption: "[..],
                encryption,
                b"\nCrypto-Key: ",
                key,
                b"\n",
            ];
            [&head.concat(), body].concat()
        }
    };
    assert!(message.payload.as_bytes() == expected);
}

/// A push to an endpoint, and what became of it.
fn pushed(headers: &[(HeaderName, HeaderValue)], body: &[u8]) -> Option<Message> {
    let (status, _, mut taken) = post("/push/token", headers, body);
    let message = taken.pop();
    assert!(taken.is_empty(), "one push is one push");
    assert_eq!(message.is_some(), status == 201, "status {status}");
    if let Some(message) = &message {
        assert!(message.payload.as_bytes().ends_with(body));
        assert!(!body.is_empty() && body.len() <= MAX_PAYLOAD);
        assert!(message.ttl.is_none_or(|ttl| ttl.as_secs() <= 1 << 31));
        if let Some(topic) = &message.topic {
            let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
            assert!(
                (1..=32).contains(&topic.as_str().len()) && topic.as_str().bytes().all(allowed)
            );
        }
    }
    message
}

/// A Matrix server's event. Each of its devices gets one push or is rejected.
pub fn matrix(data: &[u8]) {
    let (status, answer, taken) = post("/_matrix/push/v1/notify", &[], data);
    if status != 200 {
        assert!(
            [400, 413].contains(&status) && taken.is_empty(),
            "status {status}"
        );
        return;
    }
    // It reads numbers that have no room in ours, and passes them on.
    let Ok(event) = serde_json::from_slice::<Value>(data) else {
        return;
    };
    let devices = event["notification"]["devices"]
        .as_array()
        .expect("it was taken");
    let answer: Value = serde_json::from_slice(&answer).expect("JSON");
    let rejected = answer["rejected"].as_array().expect("a list");
    assert_eq!(rejected.len() + taken.len(), devices.len());
    assert!(
        rejected
            .iter()
            .all(|key| devices.iter().any(|device| device["pushkey"] == *key))
    );
    for message in taken {
        let payload = message.payload.as_bytes();
        assert!(payload.len() <= MAX_PAYLOAD);
        let payload: Value = serde_json::from_slice(payload).expect("JSON");
        let sent = payload["notification"].as_object().expect("an object");
        assert!(
            !sent.contains_key("devices"),
            "nobody is told of the others"
        );
        assert!(
            sent.iter()
                .all(|(name, value)| event["notification"][name] == *value)
        );
    }
}
