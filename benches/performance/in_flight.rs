//! What waits for phones, without HTTP: the memory of pushes, in tokens, tables, timers and tasks, and how
//! long the link's coming up takes.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use jid::Jid;
use tempfile::TempDir;
use testbed::SECRET;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::Instant,
};
use unified_push::{
    delivery::{Delivery, Dependencies, Message, Outcome, Settings},
    link::{Answer, PushStanza},
    metrics::{LinkState, Metrics},
    model::{
        acl::Acl,
        message::{Ttl, Urgency},
        payload::Payload,
        random::SystemRandom,
        registration::Digest,
        secret::Secret,
        sync::Current,
        time::SystemClock,
        vapid::Signature,
    },
    store::{Caps, Store},
    token::{Backend, Keyring, Policy, Tokens},
};

use crate::measured::resident;

const PHONES: usize = 100;
const DAY: Duration = Duration::from_secs(86_400);

/// Delivery with nothing around it, and the link's end.
pub struct Bench {
    pub delivery: Arc<Delivery>,
    pub tokens: Tokens,
    pub pushes: mpsc::Receiver<PushStanza>,
    metrics: Arc<Metrics>,
    _link: watch::Sender<LinkState>,
    _dir: TempDir,
}

impl Bench {
    pub async fn new(backend: Backend) -> Self {
        Self::on(tempfile::tempdir().unwrap(), backend).await
    }

    /// With a store that is there already.
    async fn on(dir: TempDir, backend: Backend) -> Self {
        let secret = Secret::new(SECRET);
        let (clock, random) = (Arc::new(SystemClock), Arc::new(SystemRandom));
        let policy = Policy {
            backend,
            ttl: DAY,
            grace: DAY,
            registrations_per_jid: 200,
        };
        let store = Store::open(dir.path()).unwrap();
        let keyring = Keyring::new(&secret, &[]);
        let tokens = Tokens::load(
            keyring,
            policy,
            store.clone(),
            clock.clone(),
            random.clone(),
        );
        let tokens = tokens.await.unwrap();
        let metrics = Arc::new(Metrics::new());
        let (sender, pushes) = mpsc::channel(1024);
        let (_link, link) = watch::channel(LinkState::Up);
        let settings = Settings {
            ack_timeout: Duration::from_secs(60),
            default_ttl: Ttl::from_secs(86_400),
            max_ttl: Ttl::from_secs(86_400),
            min_ttl: Ttl::ZERO,
            min_ttl_urgency: Urgency::VeryLow,
            endpoint_rate: "1000000/s, burst 1000000".parse().unwrap(),
            in_flight_memory: 1 << 30,
            caps: Caps {
                per_endpoint: 100,
                per_account: 1000,
                bytes: 1 << 30,
            },
        };
        let with = Dependencies {
            tokens: tokens.clone(),
            store,
            acl: Arc::new(Current::new(Acl::new(vec!["example.org".parse().unwrap()]))),
            pushes: sender,
            link,
            clock,
            random,
            metrics: metrics.clone(),
        };
        Self {
            delivery: Arc::new(Delivery::new(settings, &secret, &[], with)),
            tokens,
            pushes,
            metrics,
            _link,
            _dir: dir,
        }
    }

    /// The token of a phone's app.
    pub async fn token(&self, phone: usize) -> String {
        let phone = Jid::new(&format!("user-{phone}@example.org/Conversations.AbCd")).unwrap();
        let digest = Digest::from_bytes([7; 32]);
        self.tokens
            .issue(&phone, digest, digest, None)
            .await
            .unwrap()
            .token
    }
}

pub fn message(body: usize) -> Message {
    Message {
        ttl: None,
        topic: None,
        urgency: Urgency::High,
        payload: Payload::new(Bytes::from(vec![b'x'; body])).unwrap(),
        signature: Signature::Absent,
    }
}

/// The bytes that this process grew by while that many waited.
pub async fn memory(count: usize, body: usize) -> u64 {
    let mut bench = Bench::new(Backend::Paseto).await;
    let mut tokens = Vec::new();
    for phone in 0..PHONES {
        tokens.push(bench.token(phone).await);
    }
    let before = resident(std::process::id()).all;
    let mut tasks = JoinSet::new();
    let mut asked = Vec::with_capacity(count);
    for number in 0..count {
        let (delivery, token) = (bench.delivery.clone(), tokens[number % PHONES].clone());
        tasks.spawn(async move { delivery.push(&token, message(body)).await });
        // The link writes the stanza and keeps none of it.
        let stanza = bench.pushes.recv().await.unwrap();
        stanza.sent.take();
        asked.push((stanza.to().clone(), stanza.id));
    }
    // What this function remembers for the answers is not the daemon's.
    let (jid, _) = &asked[0];
    let own = count * (size_of_val(&asked[0]) + jid.as_str().len());
    let waiting = resident(std::process::id()).all - before - own as u64;
    for (jid, id) in &asked {
        assert!(
            bench
                .delivery
                .answer(jid.as_str(), id.as_str(), Answer::Acknowledged)
        );
    }
    while let Some(ended) = tasks.join_next().await {
        assert!(matches!(ended.unwrap(), Outcome::Acknowledged { .. }));
    }
    waiting
}

/// The seconds that the link's coming up takes when messages wait for that many phones.
pub async fn link_up(state_dir: TempDir, phones: u32) -> f64 {
    let bench = Bench::on(state_dir, Backend::Paseto).await;
    bench.delivery.recover().await.unwrap();
    assert_eq!(bench.metrics.phones_waiting.get(), i64::from(phones));
    let start = Instant::now();
    bench.delivery.link_up();
    start.elapsed().as_secs_f64()
}
