//! One push with every ending, the link played by the test.

mod forwarding;
mod keeping;

use bytes::Bytes;
use jid::Jid;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    clock::ManualClock,
    link::Answer,
    random::SystemRandom,
    registration::Digest,
    token::{Backend, Keyring, Policy},
};

const PHONE: &str = "romeo@example.org/orchard";
const START: Timestamp = Timestamp::from_secs(1_764_000_000);
const WEEK: Duration = Duration::from_secs(604_800);

struct World {
    delivery: Arc<Delivery>,
    tokens: Tokens,
    clock: Arc<ManualClock>,
    stanzas: mpsc::Receiver<PushStanza>,
    link: watch::Sender<LinkState>,
    metrics: Arc<Metrics>,
    store: Store,
    state_dir: TempDir,
    stop: CancellationToken,
    /// Time passes only when a test says so, if it is paused: while a blocking task runs, the
    /// runtime does not move it on.
    _frozen: std::sync::mpsc::Sender<()>,
}

impl World {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::build(Backend::Paseto, change).await
    }

    async fn issuing(backend: Backend) -> Self {
        Self::build(backend, |_| {}).await
    }

    async fn build(backend: Backend, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings {
            ack_timeout: Duration::from_secs(1),
            default_ttl: Ttl::from_secs(86_400),
            max_ttl: Ttl::from_secs(2_419_200),
            endpoint_rate: "5/s, burst 120".parse().unwrap(),
            in_flight_memory: 64 << 20,
            caps: Caps {
                per_endpoint: 100,
                per_account: 1000,
                bytes: 1 << 30,
            },
        };
        change(&mut settings);
        Self::on(tempfile::tempdir().unwrap(), START, backend, settings).await
    }

    async fn on(state_dir: TempDir, now: Timestamp, backend: Backend, settings: Settings) -> Self {
        let secret = Secret::new([7; 32]);
        let policy = Policy {
            backend,
            ttl: WEEK,
            registrations_per_jid: 200,
        };
        let clock = Arc::new(ManualClock::new(now));
        let store = Store::open(state_dir.path()).unwrap();
        let random = Arc::new(SystemRandom::new());
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
            acl: Acl::new(vec!["example.org".parse().unwrap()]),
            pushes,
            link: link_state,
            clock: clock.clone(),
            random,
            metrics: metrics.clone(),
        };
        let delivery = Arc::new(Delivery::new(settings, &secret, &[], surroundings));
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
    async fn advance(&self, by: Duration) {
        self.clock.advance(by);
        tokio::time::advance(by).await;
    }

    /// The wait for an answer is over.
    async fn time_out(&self) {
        self.advance(Duration::from_secs(1)).await;
    }

    fn answer(&self, stanza: &PushStanza, answer: Answer) {
        assert!(self.delivery.answer(&stanza.to, &stanza.id, answer));
    }

    /// Nothing goes out, though the time for it has come.
    async fn silence(&mut self) {
        // Whatever is under way has asked the store before this has.
        for _ in 0..3 {
            self.store.ping().await.unwrap();
            tokio::task::yield_now().await;
        }
        assert!(self.stanzas.try_recv().is_err());
    }

    /// Awaits the end of everything under way for a phone.
    async fn ended(&self, phone: &Jid) {
        while self.delivery.backlog.is_busy(phone) {
            self.store.ping().await.unwrap();
        }
    }

    /// Awaits that nothing waits any more.
    async fn drained(&self) {
        while self.waiting().await > 0 || self.metrics.phones_waiting.get() > 0 {
            tokio::task::yield_now().await;
        }
    }

    /// Awaits the late answers' writes.
    async fn written(&self) {
        while self.delivery.late.available_permits() < answers::LATE {
            tokio::task::yield_now().await;
        }
    }

    /// The phone registers again.
    async fn registered(&self, phone: &str) -> String {
        let digest = Digest::from_bytes([1; 32]);
        let issued = self
            .tokens
            .issue(&jid(phone), digest, digest)
            .await
            .unwrap();
        self.delivery.registered(&issued.registration).await;
        issued.token
    }

    fn other_process(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.state_dir.path().join("unified-push.db")).unwrap()
    }

    /// Another daemon on the same store.
    async fn restart(self) -> Self {
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
        let settings = delivery.settings.clone();
        while Arc::strong_count(&delivery) > 1 {
            tokio::task::yield_now().await;
        }
        drop((delivery, tokens, store));
        Self::on(state_dir, clock.now(), Backend::Paseto, settings).await
    }

    async fn waiting(&self) -> u64 {
        self.store.sizes().await.unwrap().queued
    }

    async fn endpoint(&self) -> String {
        self.endpoint_of(PHONE).await
    }

    async fn endpoint_of(&self, phone: &str) -> String {
        self.endpoint_of_app(phone, 1).await
    }

    async fn endpoint_of_app(&self, phone: &str, app: u8) -> String {
        let (application, instance) = (Digest::from_bytes([app; 32]), Digest::from_bytes([1; 32]));
        let issued = self.tokens.issue(&jid(phone), application, instance).await;
        issued.unwrap().token
    }

    /// Starts a push; what becomes of it is known when the handle is awaited.
    fn push(&self, token: &str, ttl: Option<u64>) -> tokio::task::JoinHandle<Outcome> {
        let (delivery, token) = (self.delivery.clone(), token.to_owned());
        tokio::spawn(async move { delivery.push(&token, message(ttl)).await })
    }

    /// The next stanza, as if written to the socket.
    async fn sent(&mut self) -> PushStanza {
        let stanza = self.stanzas.recv().await.unwrap();
        stanza.sent.set();
        stanza
    }

    /// A push to the phone that is answered so.
    async fn answered(&mut self, token: &str, answer: Answer) -> Outcome {
        let push = self.push(token, None);
        let stanza = self.sent().await;
        assert!(self.delivery.answer(&stanza.to, &stanza.id, answer));
        push.await.unwrap()
    }
}

fn jid(text: &str) -> Jid {
    Jid::new(text).unwrap()
}

fn message(ttl: Option<u64>) -> Message {
    Message {
        ttl: ttl.map(Ttl::from_secs),
        topic: None,
        urgency: Urgency::Normal,
        payload: Payload::new(Bytes::from_static(b"hello")).unwrap(),
    }
}

fn accepted_ttl(outcome: &Outcome) -> u32 {
    match outcome {
        Outcome::Acknowledged { ttl, .. } | Outcome::Stored { ttl, .. } => ttl.as_secs(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_acknowledged_push_reports_the_accepted_ttl() {
    let mut world = World::new().await;
    let token = world.endpoint().await;
    let push = world.push(&token, Some(60));
    let stanza = world.sent().await;
    assert_eq!(
        (stanza.to.as_str(), stanza.payload.as_bytes()),
        (PHONE, &b"hello"[..])
    );
    assert_eq!(world.metrics.in_flight.get(), 1);
    assert!(
        world
            .delivery
            .answer(&stanza.to, &stanza.id, Answer::Acknowledged)
    );
    assert_eq!(accepted_ttl(&push.await.unwrap()), 60);
    assert_eq!(world.metrics.acknowledgement_seconds.get_sample_count(), 1);
    assert_eq!(
        (
            world.metrics.in_flight.get(),
            world.metrics.in_flight_bytes.get()
        ),
        (0, 0)
    );
}

#[tokio::test]
async fn the_ttl_is_capped_by_the_maximum_and_the_registrations_life() {
    let mut world = World::with(|settings| settings.max_ttl = Ttl::from_secs(600)).await;
    let token = world.endpoint().await;
    let default = world.answered(&token, Answer::Acknowledged).await;
    assert_eq!(accepted_ttl(&default), 600, "the default is capped as well");
    world.clock.advance(WEEK - Duration::from_secs(5));
    let last = world.answered(&token, Answer::Acknowledged).await;
    assert_eq!(accepted_ttl(&last), 5);
}

#[tokio::test]
async fn a_stranger_or_a_guess_acknowledges_nothing() {
    let mut world = World::new().await;
    let token = world.endpoint().await;
    let push = world.push(&token, None);
    let stanza = world.sent().await;
    let acknowledge =
        |from: &str, id: &str| world.delivery.answer(&jid(from), id, Answer::Acknowledged);
    assert!(
        !acknowledge("eve@example.org/x", &stanza.id),
        "the right id from another JID"
    );
    assert!(
        !acknowledge("romeo@example.org/balcony", &stanza.id),
        "another resource"
    );
    assert!(!acknowledge(PHONE, "guessed"));
    assert!(!push.is_finished());
    assert!(acknowledge(PHONE, &stanza.id));
    assert_eq!(accepted_ttl(&push.await.unwrap()), 86_400);
}

#[tokio::test(start_paused = true)]
async fn ttl_0_is_content_with_having_been_sent() {
    let mut world = World::new().await;
    let token = world.endpoint().await;

    let sent = world.push(&token, Some(0));
    world.sent().await;
    world.time_out().await;
    assert!(matches!(
        sent.await.unwrap(),
        Outcome::SentUnanswered { .. }
    ));

    let queued_only = world.push(&token, Some(0));
    tokio::task::yield_now().await;
    world.time_out().await;
    assert_eq!(
        queued_only.await.unwrap(),
        Outcome::Unanswered,
        "it never went out"
    );
    world.stanzas.recv().await.unwrap();

    let refused = world.push(&token, Some(0));
    let stanza = world.sent().await;
    world
        .delivery
        .answer(&stanza.to, &stanza.id, Answer::Failed);
    assert_eq!(refused.await.unwrap(), Outcome::PhoneError);

    world.link.send_replace(LinkState::Connecting);
    assert_eq!(
        world.push(&token, Some(0)).await.unwrap(),
        Outcome::LinkDown
    );
}

#[tokio::test]
async fn a_lost_link_is_told_at_once() {
    let mut world = World::new().await;
    let token = world.endpoint().await;
    let push = world.push(&token, Some(0));
    world.sent().await;
    world.delivery.link_down();
    assert_eq!(push.await.unwrap(), Outcome::LinkDown);
}

#[tokio::test]
async fn an_unknown_registration_is_revoked_for_good() {
    let mut world = World::new().await;
    let token = world.endpoint().await;
    let outcome = world.answered(&token, Answer::NotRegistered).await;
    assert_eq!(outcome, Outcome::Revoked);
    assert_eq!(world.metrics.revocations.get(), 1);
    assert_eq!(world.push(&token, None).await.unwrap(), Outcome::Gone);

    // The phone registers anew: another token, which lives.
    let token = world.endpoint().await;
    let outcome = world.answered(&token, Answer::Acknowledged).await;
    assert_eq!(accepted_ttl(&outcome), 86_400);
}

#[tokio::test]
async fn a_refusal_that_a_registration_overtook_is_no_404_for_a_url_that_lives() {
    let mut world = World::issuing(Backend::Storage).await;
    let token = world.endpoint().await;
    let push = world.push(&token, None);
    let stanza = world.sent().await;
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(
        world.endpoint().await,
        token,
        "the same URL, registered again"
    );
    assert!(
        world
            .delivery
            .answer(&stanza.to, &stanza.id, Answer::NotRegistered)
    );
    // The message is for the new registration.
    assert!(matches!(push.await.unwrap(), Outcome::Stored { .. }));
    let stanza = world.sent().await;
    world.answer(&stanza, Answer::Acknowledged);
}

#[tokio::test]
async fn the_refusal_of_a_former_resource_spares_the_present_one() {
    for backend in [Backend::Paseto, Backend::Jwt] {
        let mut world = World::issuing(backend).await;
        let former = world.endpoint().await;
        world.clock.advance(Duration::from_secs(5));
        let present = world.endpoint_of("romeo@example.org/new").await;
        world.clock.advance(Duration::from_secs(5));
        let outcome = world.answered(&former, Answer::NotRegistered).await;
        assert_eq!(outcome, Outcome::Revoked);
        let outcome = world.answered(&present, Answer::Acknowledged).await;
        assert_eq!(accepted_ttl(&outcome), 86_400);
    }
}

#[tokio::test]
async fn a_refusal_is_an_answer_to_ttl_0_even_while_the_disk_is_slow() {
    let mut world = World::new().await;
    let token = world.endpoint().await;
    let other = world.other_process();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let push = world.push(&token, Some(0));
    let stanza = world.sent().await;
    assert!(
        world
            .delivery
            .answer(&stanza.to, &stanza.id, Answer::NotRegistered)
    );
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(push.await.unwrap(), Outcome::Revoked);
    assert_eq!(world.push(&token, None).await.unwrap(), Outcome::Gone);
}

#[tokio::test]
async fn bad_and_dead_tokens_send_nothing() {
    let mut world = World::new().await;
    let token = world.endpoint().await;
    assert_eq!(
        world.push("v4.local.nonsense", None).await.unwrap(),
        Outcome::BadToken
    );
    world.clock.advance(WEEK);
    assert_eq!(world.push(&token, None).await.unwrap(), Outcome::Gone);
    assert!(world.stanzas.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn every_limit_has_its_own_outcome() {
    let world = World::with(|settings| {
        settings.endpoint_rate = "1/s, burst 4".parse().unwrap();
        settings.in_flight_memory = 3 * (5 + OVERHEAD);
    })
    .await;
    let token = world.endpoint().await;
    let push = |ttl| {
        let push = world.push(&token, Some(ttl));
        async {
            tokio::task::yield_now().await;
            push
        }
    };
    // Two fit the link's queue, the memory is for three, the rate for four.
    let (first, second) = (push(0).await, push(0).await);
    assert_eq!(push(0).await.await.unwrap(), Outcome::LinkBusy);
    let kept = push(60).await.await.unwrap();
    assert!(matches!(kept, Outcome::Stored { .. }));
    assert_eq!(push(0).await.await.unwrap(), Outcome::RateLimited);
    world.time_out().await;
    assert_eq!(first.await.unwrap(), Outcome::Unanswered);
    assert_eq!(second.await.unwrap(), Outcome::Unanswered);
    assert_eq!(world.metrics.in_flight_bytes.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_memory_in_flight_is_bounded_by_bytes() {
    let world = World::with(|settings| settings.in_flight_memory = 2 * (5 + OVERHEAD) - 1).await;
    let token = world.endpoint().await;
    let first = world.push(&token, Some(0));
    let second = world.push(&token, Some(0));
    assert_eq!(second.await.unwrap(), Outcome::MemoryFull);
    world.time_out().await;
    assert_eq!(first.await.unwrap(), Outcome::Unanswered);
}

#[tokio::test]
async fn only_the_acls_phones_are_remembered_as_available() {
    let world = World::new().await;
    world.delivery.presence(&jid(PHONE), true);
    world.delivery.presence(&jid("eve@example.net/x"), true);
    assert_eq!(world.metrics.phones_available.get(), 1);
    world.delivery.presence(&jid(PHONE), false);
    assert_eq!(world.metrics.phones_available.get(), 0);
}
