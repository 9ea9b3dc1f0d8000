//! What the tests of the listeners share: a delivery that answers as its token says, requests
//! through the router, and raw bytes over a socket.

use std::sync::{Arc, Mutex};

use super::{client::Peer, *};
use crate::{
    metrics::LinkState,
    model::{
        listen::Listen,
        message::{MessageId, Topic, Ttl, Urgency},
        rate::Limiter,
        time::SystemClock,
        vapid::{Signature, Unauthorized},
    },
};
use axum::{
    body::Body,
    http::{HeaderMap, Request},
};
use http_body_util::BodyExt;
use jid::BareJid;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{Semaphore, watch},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

mod admin;
mod gateways;
mod greed;
mod matrix;
mod message;
mod resting;
mod routes;
mod senders;
mod shutdown;
mod sockets;
mod statuses;

const MESSAGE: MessageId = MessageId::from_bytes([7; 16]);
/// One that cannot be asked about, because the store fails.
const UNKNOWABLE: MessageId = MessageId::from_bytes([8; 16]);
const LOCATION: &str = "https://up.example.org/base/message/BwcHBwcHBwcHBwcHBwcHBw";

fn acknowledged() -> Outcome {
    Outcome::Acknowledged {
        ttl: Ttl::from_secs(60),
        message: MESSAGE,
    }
}

/// Every outcome. A new variant breaks this match, and with it whoever decides about outcomes here.
fn every_outcome() -> Vec<Outcome> {
    let after = |outcome: &Outcome| match outcome {
        Outcome::Acknowledged { .. } => Some(Outcome::Stored {
            ttl: Ttl::from_secs(30),
            message: MESSAGE,
        }),
        Outcome::Stored { .. } => Some(Outcome::SentUnanswered { message: MESSAGE }),
        Outcome::SentUnanswered { .. } => Some(Outcome::Unanswered),
        Outcome::Unanswered => Some(Outcome::PhoneError),
        Outcome::PhoneError => Some(Outcome::LinkDown),
        Outcome::LinkDown => Some(Outcome::Revoked),
        Outcome::Revoked => Some(Outcome::BadToken),
        Outcome::BadToken => Some(Outcome::Gone),
        Outcome::Gone => Some(Outcome::Unauthorized(Unauthorized::Unsigned)),
        Outcome::Unauthorized(_) => Some(Outcome::RateLimited),
        Outcome::RateLimited => Some(Outcome::MemoryFull),
        Outcome::MemoryFull => Some(Outcome::LinkBusy),
        Outcome::LinkBusy => Some(Outcome::StoreFailed),
        Outcome::StoreFailed => Some(Outcome::ClockWrong),
        Outcome::ClockWrong => Some(Outcome::AccountFull),
        Outcome::AccountFull => Some(Outcome::QueueFull),
        Outcome::QueueFull => None,
    };
    std::iter::successors(Some(acknowledged()), after).collect()
}

/// What a delivery was given.
#[derive(Debug, PartialEq)]
struct Taken {
    token: String,
    ttl: Option<Ttl>,
    urgency: Urgency,
    topic: Option<Topic>,
    body: Vec<u8>,
    signature: Signature,
}

/// Ends as the token, but for underlines at its end, says: `panic`, `wait` (until the gate opens), the name of an outcome's
/// variant; anything else is acknowledged. [`MESSAGE`] waits until it is taken back.
#[derive(Clone)]
struct Fake {
    taken: Arc<Mutex<Vec<Taken>>>,
    cancelled: Arc<Mutex<Vec<MessageId>>>,
    entered: Arc<Semaphore>,
    gate: Arc<Semaphore>,
}

impl Fake {
    fn new() -> Self {
        Self {
            taken: Arc::default(),
            cancelled: Arc::default(),
            entered: Arc::new(Semaphore::new(0)),
            gate: Arc::new(Semaphore::new(0)),
        }
    }

    fn taken(&self) -> Vec<Taken> {
        std::mem::take(&mut self.taken.lock().unwrap())
    }
}

impl Deliver for Fake {
    fn is_authentic(&self, token: &str) -> bool {
        !token.starts_with("BadToken")
    }

    fn prove(&self, challenge: &str) -> String {
        format!("proof of {challenge}")
    }

    async fn push(&self, token: &str, message: Message) -> Outcome {
        self.taken.lock().unwrap().push(Taken {
            token: token.to_owned(),
            ttl: message.ttl,
            urgency: message.urgency,
            topic: message.topic,
            body: message.payload.as_bytes().to_vec(),
            signature: message.signature,
        });
        self.entered.add_permits(1);
        match token.trim_end_matches('_') {
            "panic" => panic!("hunter2"),
            "wait" => {
                self.gate.acquire().await.unwrap().forget();
                acknowledged()
            }
            name => every_outcome()
                .into_iter()
                .find(|outcome| variant(outcome) == name)
                .unwrap_or(acknowledged()),
        }
    }

    async fn is_pending(&self, id: MessageId) -> Result<bool, StoreFailed> {
        let cancelled = self.cancelled.lock().unwrap();
        match id {
            UNKNOWABLE => Err(StoreFailed),
            id => Ok(id == MESSAGE && !cancelled.contains(&id)),
        }
    }

    async fn cancel(&self, id: MessageId) -> Result<bool, StoreFailed> {
        let waits = self.is_pending(id).await?;
        self.cancelled.lock().unwrap().push(id);
        Ok(waits)
    }
}

fn variant(outcome: &Outcome) -> String {
    let debug = format!("{outcome:?}");
    debug.split([' ', '(']).next().unwrap().to_owned()
}

struct Fixture {
    fake: Fake,
    metrics: Arc<Metrics>,
    rules: Arc<Current<Rules>>,
    site: Site,
}

impl Fixture {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Public<Fake>)) -> Self {
        let fake = Fake::new();
        let metrics = Arc::new(Metrics::new());
        let mut settings = Public {
            delivery: fake.clone(),
            public_url: "https://up.example.org/base".parse().unwrap(),
            domain: BareJid::new("up.example.org").unwrap(),
            rules: Arc::new(Current::new(Rules {
                require_ttl: false,
                read_signatures: true,
                trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()],
                connections_per_client: 1,
            })),
            signatures: Signatures::new(
                &"https://up.example.org/base".parse().unwrap(),
                Arc::new(SystemClock),
            ),
            guesses: Guesses::new(Arc::new(Limiter::new("1/h, burst 3".parse().unwrap()))),
            full: Late::new(1),
            questions: questions(),
            body_timeout: BODY_TIMEOUT,
            metrics: metrics.clone(),
            health: Health::new(watch::channel(LinkState::Up).1),
        };
        change(&mut settings);
        Self {
            fake,
            metrics,
            rules: settings.rules.clone(),
            site: public(settings),
        }
    }

    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        ask(&self.site, method, path, headers, body).await
    }

    async fn post(&self, token: &str) -> Answer {
        self.ask("POST", &format!("/base/push/{token}"), &[], "x")
            .await
    }
}

#[derive(Debug, PartialEq)]
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// A request to a site, without a socket.
async fn ask(
    site: &Site,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    if !headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("host"))
    {
        request = request.header("host", "up.example.org");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::from(body.to_owned())).unwrap();
    let response = Arc::new(site.clone()).answer(request, Peer::Local).await;
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}

/// A listener on loopback. Dropping it leaves the task to the runtime's end.
struct Server {
    address: std::net::SocketAddr,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

/// For waits whose end a test awaits.
const SHORT: Duration = Duration::from_millis(300);
/// For waits that must not decide a test.
const LONG: Duration = Duration::from_secs(60);

fn settings(fixture: &Fixture) -> ServeSettings {
    let room = Room {
        connections: 100,
        reading: 1 << 20,
        grace: SHORT,
    };
    ServeSettings {
        patience: LONG,
        drain: LONG,
        ..ServeSettings::public(room, fixture.rules.clone(), fixture.metrics.clone())
    }
}

impl Server {
    async fn start(fixture: &Fixture, settings: ServeSettings) -> Self {
        let listen = Listen::Tcp(([127, 0, 0, 1], 0).into());
        let listener = Listener::bind(&listen).await.unwrap();
        let Listen::Tcp(address) = listener.address().unwrap() else {
            panic!("asked for TCP");
        };
        let shutdown = CancellationToken::new();
        let site = fixture.site.clone();
        let task = tokio::spawn(serve(listener, site, settings, shutdown.clone()));
        Self {
            address,
            shutdown,
            task,
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends bytes and reads until the server closes.
    async fn exchange(&self, request: &[u8]) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request).await.unwrap();
        to_end(&mut stream).await
    }
}

/// What arrives until the other side closes or resets.
async fn to_end(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut all = Vec::new();
    let reading = async {
        let mut chunk = [0; 1024];
        while let Ok(len @ 1..) = stream.read(&mut chunk).await {
            all.extend_from_slice(&chunk[..len]);
        }
    };
    timeout(LONG / 3, reading)
        .await
        .expect("the connection ends");
    String::from_utf8(all).unwrap()
}

/// One response whose body is announced by its length, from a connection that stays open.
async fn one_answer(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut all = Vec::new();
    loop {
        let text = std::str::from_utf8(&all).unwrap();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|l| l.strip_prefix("content-length: "));
            if body.len() == length.map_or(0, |l| l.parse().unwrap()) {
                return text.to_owned();
            }
        }
        all.push(stream.read_u8().await.expect("an answer"));
    }
}

fn statuses(text: &str) -> Vec<&str> {
    text.split("HTTP/1.1 ")
        .skip(1)
        .map(|answer| &answer[..3])
        .collect()
}

/// A POST with a body of `x`es and its length.
fn post(token: &str, length: usize, more: &str) -> Vec<u8> {
    let body = "x".repeat(length);
    let head = format!("POST /base/push/{token} HTTP/1.1\r\nHost: up.example.org\r\n");
    format!("{head}Content-Length: {length}\r\n{more}\r\n{body}").into_bytes()
}

const CLOSE: &str = "Connection: close\r\n";
