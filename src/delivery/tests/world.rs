//! The surroundings of delivery, played by the test.

pub mod elsewhere;

use bytes::Bytes;
use jid::Jid;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::super::*;
use crate::{
    model::{
        random::SystemRandom,
        registration::Digest,
        time::{ManualClock, Timestamp},
    },
    token::{Backend, Keyring, Policy},
};

pub const PHONE: &str = "romeo@example.org/orchard";
/// Another resource of the same account.
pub const OTHER: &str = "romeo@example.org/balcony";
pub const START: Timestamp = Timestamp::from_secs(1_764_000_000);
pub const WEEK: Duration = Duration::from_secs(604_800);

pub struct World {
    pub delivery: Arc<Delivery>,
    pub tokens: Tokens,
    pub clock: Arc<ManualClock>,
    pub stanzas: mpsc::Receiver<PushStanza>,
    pub link: watch::Sender<LinkState>,
    pub metrics: Arc<Metrics>,
    store: Store,
    state_dir: TempDir,
    stop: CancellationToken,
    /// Time passes only when a test says so, if it is paused: while a blocking task runs, the
    /// runtime does not move it on.
    _frozen: std::sync::mpsc::Sender<()>,
}

impl World {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// With the token of the phone's app.
    pub async fn with_endpoint() -> (Self, String) {
        let world = Self::new().await;
        let token = world.endpoint().await;
        (world, token)
    }

    pub async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::build(Backend::Paseto, change).await
    }

    pub async fn issuing(backend: Backend) -> Self {
        Self::build(backend, |_| {}).await
    }

    pub async fn with_grace(backend: Backend, grace: Duration) -> Self {
        let world = Self::issuing(backend).await;
        let policy = Policy {
            backend,
            ttl: WEEK,
            grace,
            registrations_per_jid: 200,
        };
        let keyring = Keyring::new(&Secret::new([7; 32]), &[]);
        world.tokens.reconfigure(keyring, policy);
        world
    }

    pub async fn build(backend: Backend, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = settings();
        change(&mut settings);
        let state_dir = tempfile::tempdir().unwrap();
        Self::on(state_dir, START, backend, settings, false).await
    }

    pub async fn on(
        state_dir: TempDir,
        now: Timestamp,
        backend: Backend,
        settings: Settings,
        shared: bool,
    ) -> Self {
        let secret = Secret::new([7; 32]);
        let policy = Policy {
            backend,
            ttl: WEEK,
            grace: Duration::ZERO,
            registrations_per_jid: 200,
        };
        let clock = Arc::new(ManualClock::new(now));
        let store = Store::open(state_dir.path()).unwrap();
        let random = Arc::new(SystemRandom);
        let tokens = Tokens::load(
            Keyring::new(&secret, &[]),
            policy,
            store.clone(),
            clock.clone(),
            random.clone(),
        );
        let tokens = tokens.await.unwrap();
        let (pushes, stanzas) = mpsc::channel(2);
        let (link, link_state) = watch::channel(LinkState::Up);
        let metrics = Arc::new(Metrics::new());
        let surroundings = Dependencies {
            tokens: tokens.clone(),
            store: store.clone(),
            acl: Arc::new(Current::new(Acl::new(vec!["example.org".parse().unwrap()]))),
            pushes,
            link: link_state,
            clock: clock.clone(),
            random,
            metrics: metrics.clone(),
        };
        let mut delivery = Delivery::new(settings, &secret, &[], surroundings);
        if shared {
            delivery.queue.share();
        }
        let delivery = Arc::new(delivery);
        delivery.recover().await.unwrap();
        delivery.link_up();
        let stop = CancellationToken::new();
        tokio::spawn(delivery.clone().forward(stop.clone()));
        let (frozen, thaw) = std::sync::mpsc::channel();
        tokio::task::spawn_blocking(move || thaw.recv());
        Self {
            delivery,
            tokens,
            clock,
            stanzas,
            link,
            metrics,
            store,
            state_dir,
            stop,
            _frozen: frozen,
        }
    }

    /// Both clocks.
    pub async fn advance(&self, by: Duration) {
        self.clock.advance(by);
        tokio::time::advance(by).await;
    }

    /// The wait for an answer is over.
    pub async fn time_out(&self) {
        self.advance(Duration::from_secs(1)).await;
    }

    pub fn answer(&self, stanza: &PushStanza, answer: Answer) {
        assert!(
            self.delivery
                .answer(stanza.to().as_str(), stanza.id.as_str(), answer)
        );
    }

    /// Nothing goes out, though the time for it has come.
    pub async fn silence(&mut self) {
        // Whatever is under way has asked the store before this has.
        for _ in 0..3 {
            self.store.ping().await.unwrap();
            tokio::task::yield_now().await;
        }
        assert!(self.stanzas.try_recv().is_err());
    }

    /// Awaits the end of everything under way for a phone.
    pub async fn ended(&self, phone: &Jid) {
        while self.delivery.phones.is_busy(phone, Instant::now()) {
            self.store.ping().await.unwrap();
        }
    }

    /// Awaits that nothing waits any more.
    pub async fn drained(&self) {
        while self.waiting().await > 0 || self.metrics.phones_waiting.get() > 0 {
            tokio::task::yield_now().await;
        }
    }

    /// Awaits the late answers' writes.
    pub async fn written(&self) {
        while self.delivery.queue.has_late_answers() {
            tokio::task::yield_now().await;
        }
    }

    /// A push to a silent phone, stored; gives its stanza.
    pub async fn unanswered(&mut self, token: &str) -> PushStanza {
        let push = self.push(token, None);
        let stanza = self.sent().await;
        self.time_out().await;
        assert!(matches!(push.await.unwrap(), Outcome::Stored { .. }));
        stanza
    }

    /// A push that is stored without being sent.
    pub async fn stored(&self, token: &str, text: &'static str) {
        self.stored_as(token, Urgency::Normal, text).await;
    }

    pub async fn stored_as(&self, token: &str, urgency: Urgency, text: &'static str) {
        let message = Message {
            urgency,
            payload: Payload::new(Bytes::from_static(text.as_bytes())).unwrap(),
            ..message(None)
        };
        let outcome = self.delivery.push(token, message).await;
        assert!(matches!(outcome, Outcome::Stored { .. }), "{outcome:?}");
        self.clock.advance(Duration::from_millis(1));
    }

    /// What goes out within this time, moved on in small steps.
    pub async fn within(&mut self, secs: u64) -> Option<PushStanza> {
        for _ in 0..=2 * secs {
            if let Some(stanza) = self.sent_now().await {
                return Some(stanza);
            }
            self.advance(Duration::from_millis(500)).await;
        }
        None
    }

    /// Lets everything that waits for nothing but a turn have it.
    pub async fn settle(&self) {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    /// The phone registers again.
    pub async fn registered(&self, phone: &str) -> String {
        let digest = Digest::from_bytes([1; 32]);
        let issued = self
            .tokens
            .issue(&jid(phone), digest, digest, None)
            .await
            .unwrap();
        self.delivery.registered(&issued.registration).await;
        issued.token
    }

    pub fn other_process(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.state_dir.path().join("unified-push.db")).unwrap()
    }

    /// Another daemon on the same store.
    pub async fn restart(self) -> Self {
        let Self {
            delivery,
            tokens,
            clock,
            store,
            state_dir,
            stop,
            ..
        } = self;
        stop.cancel();
        delivery.stop();
        delivery.finish().await;
        let settings = delivery.settings.read().clone();
        while Arc::strong_count(&delivery) > 1 {
            tokio::task::yield_now().await;
        }
        drop((delivery, tokens, store));
        Self::on(state_dir, clock.now(), Backend::Paseto, settings, false).await
    }

    pub async fn waiting(&self) -> u64 {
        self.store.sizes().await.unwrap().queued
    }

    pub async fn endpoint(&self) -> String {
        self.endpoint_of(PHONE).await
    }

    pub async fn endpoint_of(&self, phone: &str) -> String {
        self.endpoint_of_app(phone, 1).await
    }

    pub async fn endpoint_of_app(&self, phone: &str, app: u8) -> String {
        let (application, instance) = (Digest::from_bytes([app; 32]), Digest::from_bytes([1; 32]));
        let issued = self
            .tokens
            .issue(&jid(phone), application, instance, None)
            .await;
        issued.unwrap().token
    }

    /// Starts a push; what becomes of it is known when the handle is awaited.
    pub fn push(&self, token: &str, ttl: Option<u64>) -> tokio::task::JoinHandle<Outcome> {
        self.push_message(token, message(ttl))
    }

    pub fn push_message(&self, token: &str, message: Message) -> tokio::task::JoinHandle<Outcome> {
        let (delivery, token) = (self.delivery.clone(), token.to_owned());
        tokio::spawn(async move { delivery.push(&token, message).await })
    }

    /// The next stanza, as if written to the socket.
    pub async fn sent(&mut self) -> PushStanza {
        loop {
            let stanza = self.stanzas.recv().await.unwrap();
            if stanza.sent.take() {
                return stanza;
            }
        }
    }

    /// The next stanza, if there is one when everything under way has gone its way.
    pub async fn sent_now(&mut self) -> Option<PushStanza> {
        for _ in 0..5 {
            // A store that fails takes its turn as well.
            let _ = self.store.ping().await;
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            if let Ok(stanza) = self.stanzas.try_recv()
                && stanza.sent.take()
            {
                return Some(stanza);
            }
        }
        None
    }

    /// A push that is stored after this answer.
    pub async fn stored_after(&mut self, token: &str, answer: Answer) {
        let outcome = self.answered(token, answer).await;
        assert!(matches!(outcome, Outcome::Stored { .. }), "{outcome:?}");
    }

    /// A push to the phone that is answered so.
    pub async fn answered(&mut self, token: &str, answer: Answer) -> Outcome {
        let push = self.push(token, None);
        let stanza = self.sent().await;
        assert!(
            self.delivery
                .answer(stanza.to().as_str(), stanza.id.as_str(), answer)
        );
        push.await.unwrap()
    }
}

pub fn jid(text: &str) -> Jid {
    Jid::new(text).unwrap()
}

pub fn message(ttl: Option<u64>) -> Message {
    Message {
        ttl: ttl.map(Ttl::from_secs),
        topic: None,
        urgency: Urgency::Normal,
        payload: Payload::new(Bytes::from_static(b"hello")).unwrap(),
        signature: Signature::Absent,
    }
}

pub fn text(stanza: &PushStanza) -> &str {
    std::str::from_utf8(stanza.payload.as_bytes()).unwrap()
}

pub fn accepted_ttl(outcome: &Outcome) -> u32 {
    match outcome {
        Outcome::Acknowledged { ttl, .. } | Outcome::Stored { ttl, .. } => ttl.as_secs(),
        other => panic!("{other:?}"),
    }
}

fn settings() -> Settings {
    Settings {
        ack_timeout: Duration::from_secs(1),
        default_ttl: Ttl::from_secs(86_400),
        min_ttl: Ttl::ZERO,
        min_ttl_urgency: Urgency::VeryLow,
        max_ttl: Ttl::from_secs(2_419_200),
        endpoint_rate: "5/s, burst 120".parse().unwrap(),
        in_flight_memory: 64 << 20,
        caps: Caps {
            per_endpoint: 100,
            per_account: 1000,
            bytes: 1 << 30,
        },
    }
}
