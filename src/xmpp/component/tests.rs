//! The link over real sockets, against the server's side in raw XML.

mod faults;
mod traffic;

use std::{
    sync::{Mutex, atomic::AtomicBool, atomic::Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;
use jid::{BareJid, Jid};

use super::*;
use crate::{
    demo::{Host, Server, Wire},
    link::{Answer, Granted, RegisterError, RegisterRequest, Registered, Sent, StanzaId},
    metrics::OddStanza,
    model::{
        host,
        payload::Payload,
        random::SystemRandom,
        registration::{Digest, Registration},
        secret::Secret,
        time::Timestamp,
    },
    xmpp::{
        backoff::Pauses,
        settings::{Login, Timings},
    },
};

const LIMIT: Duration = Duration::from_secs(20);

#[derive(Debug, PartialEq, Eq)]
enum Heard {
    Down,
    Answer(String, String, Answer),
    Presence(String, bool),
    Register(String),
}

struct Ears {
    heard: mpsc::Sender<Heard>,
    /// What `answer` says.
    known: AtomicBool,
    /// Takes registrations and answers them; without it they are refused at once.
    replies: Mutex<Option<mpsc::Sender<RegisterReply>>>,
}

impl Ears {
    fn hear(&self, heard: Heard) {
        self.heard.try_send(heard).expect("the test listens");
    }
}

impl Inbound for Ears {
    fn link_up(&self) {}

    fn link_down(&self) {
        self.hear(Heard::Down);
    }

    fn answer(&self, from: &str, id: &str, answer: Answer) -> bool {
        self.hear(Heard::Answer(from.to_owned(), id.to_owned(), answer));
        self.known.load(Relaxed)
    }

    fn presence(&self, from: &Jid, available: bool) {
        self.hear(Heard::Presence(from.to_string(), available));
    }

    fn register(&self, request: RegisterRequest) -> Result<(), RegisterReply> {
        let Some(replies) = &*self.replies.lock().unwrap() else {
            return Err(RegisterReply {
                to: request.from,
                id: request.id,
                result: Err(RegisterError::Busy),
            });
        };
        self.hear(Heard::Register(request.from.to_string()));
        let reply = RegisterReply {
            to: request.from,
            id: request.id,
            result: Ok(Granted::Registered(Registered {
                endpoint: "https://up.example.org/push/a?b&c".into(),
                expires: Timestamp::from_secs(0),
                vapid: None,
            })),
        };
        replies.try_send(reply).unwrap();
        Ok(())
    }
}

struct Bench {
    handle: LinkHandle,
    metrics: Arc<Metrics>,
    ears: Arc<Ears>,
    heard: mpsc::Receiver<Heard>,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

fn secret() -> Secret {
    Secret::new("secret")
}

fn timings() -> Timings {
    let short = Duration::from_millis(10);
    Timings {
        of_use_after: Duration::ZERO,
        pauses: Pauses {
            shortest: short,
            longest: short,
            misconfigured: short,
            conflict: short,
        },
        ..Timings::default()
    }
}

fn login(host: &str, port: u16) -> Login {
    Login {
        host: host::Host::Network(host.into()),
        port,
        tls: None,
        secret: secret(),
    }
}

fn start(port: u16, timings: Timings) -> Bench {
    start_with(login("localhost", port), timings)
}

fn start_with(login: Login, timings: Timings) -> Bench {
    let settings = LinkSettings {
        domain: BareJid::new("up.example.org").unwrap(),
        login: watch::channel(login).1,
        extensions: Arc::default(),
        timings,
    };
    let metrics = Arc::new(Metrics::new());
    let random = Arc::new(SystemRandom);
    let (handle, task) = channel(settings, Arc::clone(&metrics), random);
    let (sender, heard) = mpsc::channel(20_000);
    let ears = Arc::new(Ears {
        heard: sender,
        known: AtomicBool::new(true),
        replies: Mutex::new(Some(handle.replies.clone())),
    });
    let shutdown = CancellationToken::new();
    let inbound = Arc::clone(&ears) as Arc<dyn Inbound>;
    let task = tokio::spawn(task.run(inbound, shutdown.clone()));
    Bench {
        handle,
        metrics,
        ears,
        heard,
        shutdown,
        task,
    }
}

impl Bench {
    async fn hears(&mut self, expected: Heard) {
        let heard = timeout(LIMIT, self.heard.recv()).await;
        assert_eq!(heard.expect("in time"), Some(expected));
    }

    async fn gets(&mut self, state: LinkState) {
        let mut watch = self.handle.state.clone();
        let reached = timeout(LIMIT, watch.wait_for(|now| *now == state)).await;
        let seen = *self.handle.state.borrow();
        assert!(reached.is_ok(), "{seen:?} instead of {state:?}");
    }

    fn push(&self, id: &str, size: usize, deadline: Duration) -> Sent {
        let push = push(id, size, deadline);
        let sent = push.sent.clone();
        self.handle.pushes.try_send(push).unwrap();
        sent
    }
}

fn push(id: &str, size: usize, deadline: Duration) -> PushStanza {
    PushStanza {
        id: stanza_id(id),
        registration: registration(Digest::from_bytes([0; 32]), Digest::from_bytes([0xff; 32])),
        stand_in: None,
        payload: Payload::new(Bytes::from(vec![b'x'; size])).unwrap(),
        deadline: Instant::now() + deadline,
        sent: Sent::default(),
    }
}

/// One for each name.
fn stanza_id(name: &str) -> StanzaId {
    let mut bytes = [0; StanzaId::BYTES];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    StanzaId::encode(&bytes)
}

/// Whether a stanza that was received is the push of that name.
fn is_push(stanza: &str, name: &str) -> bool {
    stanza.contains(&format!("id='{}'", stanza_id(name).as_str()))
}

fn registration(application: Digest, instance: Digest) -> Arc<Registration> {
    Arc::new(Registration {
        owner: Jid::new("romeo@example.org/o'rchard").unwrap(),
        application,
        instance,
        issued: Timestamp::from_secs(0),
        expires: Timestamp::from_secs(1),
    })
}

/// A server that has let the component in.
async fn connected(timings: Timings) -> (Host, Wire, Bench) {
    let host = Host::bind().await.unwrap();
    let mut bench = start(host.port(), timings);
    let wire = admit(&host).await;
    bench.gets(LinkState::Up).await;
    (host, wire, bench)
}

async fn admit(host: &Host) -> Wire {
    let mut wire = timeout(LIMIT, host.accept()).await.unwrap().unwrap();
    assert!(wire.admit(&secret()).await.unwrap());
    wire
}

async fn receive(wire: &mut Wire) -> String {
    let stanza = timeout(LIMIT, wire.receive()).await.unwrap();
    stanza.unwrap().expect("a stanza")
}
