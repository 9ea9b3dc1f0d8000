//! One push, from an application server through the daemon and a real server to the phone, and
//! every way in which it can end.

use std::{rc::Rc, time::Duration};

use tokio::time::Instant;

use crate::{
    Test,
    bed::Bed,
    daemon::{Daemon, Settings, push},
    http::{Response, post},
    login::PATIENCE,
    phone::{Behaviour, Pair, Phone},
    process::eventually,
    tests,
};

pub fn on_both() -> Vec<Test> {
    tests![
        a_push_reaches_the_phone_with_back_end_paseto,
        a_push_reaches_the_phone_with_back_end_jwt,
        a_push_reaches_the_phone_with_back_end_storage,
        a_body_has_1_to_4096_bytes,
        a_forgotten_registration_is_gone_for_good,
        a_temporary_error_of_the_phone_revokes_nothing,
        an_offline_phone_gives_503,
        a_silent_phone_gives_503_in_time,
        a_ttl_of_0_is_sent_once,
        a_hibernating_phone_gives_503_in_time_and_recovers,
        an_expired_endpoint_gives_404,
    ]
}

/// The default `delivery.ack_timeout`.
const ACK_TIMEOUT: Duration = Duration::from_secs(1);

/// How much later than promised something may come on a busy machine.
const MARGIN: Duration = Duration::from_secs(5);

/// A linked daemon, a phone and its endpoint.
pub struct Line {
    pub daemon: Daemon,
    pub phone: Phone,
    pub pair: Pair,
    pub endpoint: String,
}

impl Line {
    pub async fn with(bed: &Bed, settings: Settings, mut phone: Phone) -> Self {
        let daemon = settings.start_linked(bed).await;
        let pair = Pair::of(&phone.jid, "app");
        let registered = phone.register(daemon.service(), &pair).await.unwrap();
        assert!(registered.endpoint.starts_with(&daemon.url("/push/")));
        Self {
            daemon,
            phone,
            pair,
            endpoint: registered.endpoint,
        }
    }

    pub async fn new(bed: &Bed) -> Self {
        let server = bed.server().await;
        let phone = Phone::log_in(&server, &bed.user("romeo")).await;
        Self::with(bed, Settings::new(bed, &server), phone).await
    }

    pub async fn push(&self, body: &[u8]) -> Response {
        push(&self.endpoint, body).await
    }

    /// One more push arrives.
    pub async fn works(&mut self) {
        let answer = self.push(b"still there?").await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        assert_eq!(self.phone.push().await.payload, b"still there?");
    }
}

pub fn assert_try_again(answer: &Response) {
    assert_eq!(answer.status, 503, "{}", answer.text());
    let wait = answer.header("retry-after").expect("Retry-After");
    assert!(wait.parse::<u32>().is_ok(), "{wait}");
}

async fn a_push_reaches_the_phone_with_back_end_paseto(bed: Rc<Bed>) {
    reaches(&bed, "paseto", "v4.local.").await;
}

async fn a_push_reaches_the_phone_with_back_end_jwt(bed: Rc<Bed>) {
    reaches(&bed, "jwt", "eyJ").await;
}

async fn a_push_reaches_the_phone_with_back_end_storage(bed: Rc<Bed>) {
    reaches(&bed, "storage", "").await;
}

async fn reaches(bed: &Bed, backend: &str, form: &str) {
    let server = bed.server().await;
    let settings = Settings::new(bed, &server).text("backend", backend);
    let phone = Phone::log_in(&server, &bed.user("romeo")).await;
    let mut line = Line::with(bed, settings, phone).await;
    let prefix = line.daemon.url("/push/");
    let token = line.endpoint.strip_prefix(&prefix).unwrap();
    assert!(token.starts_with(form));

    let every_byte: Vec<u8> = (0..=255).collect();
    let answer = line.push(&every_byte).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(answer.header("ttl"), Some("60"));
    let location = answer.header("location").expect("Location");
    assert!(location.contains("/message/") && !location.contains(token));
    let push = line.phone.push().await;
    assert_eq!(push.payload, every_byte);
    assert_eq!(push.from, line.daemon.service());
    line.daemon.stop().await;
}

async fn a_body_has_1_to_4096_bytes(bed: Rc<Bed>) {
    let mut line = Line::new(&bed).await;
    for (length, status) in [(0, 400), (1, 201), (4096, 201), (4097, 413), (100_000, 413)] {
        let body = vec![b'x'; length];
        let answer = line.push(&body).await;
        assert_eq!(answer.status, status, "{length} bytes: {}", answer.text());
        if status == 201 {
            assert_eq!(line.phone.push().await.payload, body);
        }
    }
    assert!(line.phone.pushed_already().is_none());
}

async fn a_forgotten_registration_is_gone_for_good(bed: Rc<Bed>) {
    let mut line = Line::new(&bed).await;
    line.phone.forget_all();
    let first = line.push(b"to nobody").await;
    assert_eq!(first.status, 404, "{}", first.text());
    line.phone.push().await;

    // From now on the phone is not asked again, and the answer tells nothing.
    let again = line.push(b"to nobody").await;
    let made_up = push(&line.daemon.url("/push/v4.local.made-up"), b"to nobody").await;
    for answer in [&again, &made_up] {
        assert_eq!(answer.status, 404);
        assert_eq!(answer.body, first.body);
    }
    assert!(line.phone.pushed_already().is_none());

    let service = line.daemon.service().to_owned();
    let renewed = line.phone.register(&service, &line.pair).await.unwrap();
    assert_ne!(renewed.endpoint, line.endpoint);
    let old = std::mem::replace(&mut line.endpoint, renewed.endpoint);
    line.works().await;
    assert_eq!(push(&old, b"to nobody").await.status, 404);
}

async fn a_temporary_error_of_the_phone_revokes_nothing(bed: Rc<Bed>) {
    let mut line = Line::new(&bed).await;
    for (kind, condition) in [
        ("cancel", "service-unavailable"),
        ("wait", "resource-constraint"),
        ("modify", "bad-request"),
    ] {
        line.phone.behave(Behaviour::Refuse { kind, condition });
        assert_try_again(&line.push(b"not now").await);
        line.phone.push().await;
    }
    line.phone.behave(Behaviour::Conversations);
    line.works().await;
}

async fn an_offline_phone_gives_503(bed: Rc<Bed>) {
    let mut line = Line::new(&bed).await;
    let server = bed.server().await;
    let user = line.phone.jid.split('@').next().unwrap().to_owned();
    line.phone.log_out().await;
    assert_try_again(&push(&line.endpoint, b"anybody?").await);

    line.phone = Phone::log_in_again(&server, &user, &line.pair).await;
    line.works().await;
}

async fn a_silent_phone_gives_503_in_time(bed: Rc<Bed>) {
    let mut line = Line::new(&bed).await;
    line.phone.behave(Behaviour::Silent);
    let start = Instant::now();
    assert_try_again(&line.push(b"anybody?").await);
    let took = start.elapsed();
    assert!(
        took >= ACK_TIMEOUT && took < ACK_TIMEOUT + MARGIN,
        "{took:?}"
    );

    // An answer that comes too late harms nothing.
    let late = line.phone.push().await;
    line.phone.acknowledge(&late).await;
    line.phone.behave(Behaviour::Conversations);
    line.works().await;
}

async fn a_ttl_of_0_is_sent_once(bed: Rc<Bed>) {
    let mut line = Line::new(&bed).await;
    line.phone.behave(Behaviour::Silent);
    let answer = post(&line.endpoint, &[("TTL", "0")], b"now or never").await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(answer.header("ttl"), Some("0"));
    assert_eq!(line.phone.push().await.payload, b"now or never");

    line.phone.behave(Behaviour::Refuse {
        kind: "wait",
        condition: "resource-constraint",
    });
    assert_try_again(&post(&line.endpoint, &[("TTL", "0")], b"not now").await);
}

async fn a_hibernating_phone_gives_503_in_time_and_recovers(bed: Rc<Bed>) {
    let server = bed.server().await;
    let phone = Phone::log_in_resumable(&server, &bed.user("romeo")).await;
    let mut line = Line::with(&bed, Settings::new(&bed, &server), phone).await;
    let vanished = line.phone.vanish().await;
    let start = Instant::now();
    assert_try_again(&push(&line.endpoint, b"while away").await);
    let took = start.elapsed();
    assert!(took < ACK_TIMEOUT + MARGIN, "{took:?}");

    line.phone = vanished.resume(&server).await;
    assert_eq!(line.phone.push().await.payload, b"while away");
    line.works().await;
}

async fn an_expired_endpoint_gives_404(bed: Rc<Bed>) {
    tokio::join!(
        expires(&bed, "paseto"),
        expires(&bed, "jwt"),
        expires(&bed, "storage"),
    );
}

async fn expires(bed: &Bed, backend: &str) {
    let server = bed.server().await;
    let settings = Settings::new(bed, &server)
        .text("backend", backend)
        .text("registration_ttl", "10s");
    let phone = Phone::log_in(&server, &bed.user("romeo")).await;
    let mut line = Line::with(bed, settings, phone).await;
    line.works().await;
    eventually("the endpoint expires", PATIENCE, async || {
        let answer = line.push(b"still there?").await;
        assert!(matches!(answer.status, 201 | 404), "{}", answer.text());
        (answer.status == 404).then_some(())
    })
    .await;
}
