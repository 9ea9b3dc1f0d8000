//! The link over real sockets, against the server's side in raw XML.

use std::{
    io,
    sync::{Mutex, atomic::AtomicBool, atomic::Ordering::Relaxed},
};

use bytes::Bytes;
use jid::Jid;

use super::*;
use crate::{
    clock::Timestamp,
    demo::{Behaviour, Host, Server, Wire},
    link::{Answer, RegisterError, RegisterRequest, Registered, Sent},
    metrics::OddStanza,
    payload::Payload,
    random::SystemRandom,
    registration::Digest,
};

const LIMIT: Duration = Duration::from_secs(20);

#[derive(Debug, PartialEq, Eq)]
enum Heard {
    Up,
    Down,
    Answer(String, String, Answer),
    Presence(String, bool),
    Register(String),
}

struct Ears {
    heard: mpsc::Sender<Heard>,
    /// What `answer` says.
    known: AtomicBool,
    /// Takes registrations and answers them; without it they are given back.
    replies: Mutex<Option<mpsc::Sender<RegisterReply>>>,
}

impl Ears {
    fn hear(&self, heard: Heard) {
        self.heard.try_send(heard).expect("the test listens");
    }
}

impl Inbound for Ears {
    fn link_up(&self) {
        self.hear(Heard::Up);
    }

    fn link_down(&self) {
        self.hear(Heard::Down);
    }

    fn answer(&self, from: &Jid, id: &str, answer: Answer) -> bool {
        self.hear(Heard::Answer(from.to_string(), id.to_owned(), answer));
        self.known.load(Relaxed)
    }

    fn presence(&self, from: &Jid, available: bool) {
        self.hear(Heard::Presence(from.to_string(), available));
    }

    fn register(&self, request: RegisterRequest) -> Result<(), RegisterRequest> {
        let Some(replies) = &*self.replies.lock().unwrap() else {
            return Err(request);
        };
        self.hear(Heard::Register(request.from.to_string()));
        let reply = RegisterReply {
            to: request.from,
            id: request.id,
            result: Ok(Registered {
                endpoint: "https://up.example.org/push/a?b&c".into(),
                expires: Timestamp::from_secs(0),
            }),
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
            calm: short,
            conflict: short,
        },
        ..Timings::default()
    }
}

fn start(port: u16, timings: Timings) -> Bench {
    let settings = LinkSettings {
        domain: BareJid::new("up.example.org").unwrap(),
        host: "localhost".into(),
        port,
        secret: secret(),
        timings,
    };
    let metrics = Arc::new(Metrics::new());
    let random = Arc::new(SystemRandom::new());
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
        id: id.into(),
        to: Jid::new("romeo@example.org/o'rchard").unwrap(),
        application: Digest::from_bytes([0; 32]),
        instance: Digest::from_bytes([0xff; 32]),
        payload: Payload::new(Bytes::from(vec![b'x'; size])).unwrap(),
        deadline: Instant::now() + deadline,
        sent: Sent::default(),
    }
}

/// A server that has let the component in.
async fn connected(timings: Timings) -> (Host, Wire, Bench) {
    let host = Host::bind().await.unwrap();
    let mut bench = start(host.port(), timings);
    let wire = admit(&host).await;
    bench.hears(Heard::Up).await;
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

#[tokio::test]
async fn logs_in_as_the_xep_says_and_loses_nothing_behind_the_handshake() {
    let host = Host::bind().await.unwrap();
    let mut bench = start(host.port(), timings());
    let mut wire = host.accept().await.unwrap();
    let header = wire.open().await.unwrap();
    for part in [
        "to='up.example.org'",
        "xmlns='jabber:component:accept'",
        "xmlns:stream='http://etherx.jabber.org/streams'",
    ] {
        let header = header.replace('"', "'");
        assert!(header.contains(part), "{header}");
    }
    let handshake = receive(&mut wire).await;
    // SHA-1 of the stream's id and the secret, by sha1sum.
    let digest = "b09ea9b3b7f586be8a08d0a3dd7466f110aeb136";
    assert!(handshake.contains(&format!(">{digest}</handshake>")));
    wire.send("<handshake/><presence from='a@b/c' to='up.example.org'/>")
        .await
        .unwrap();
    bench.hears(Heard::Up).await;
    bench.hears(Heard::Presence("a@b/c".into(), true)).await;
    bench.gets(LinkState::Up).await;
}

#[tokio::test]
async fn a_push_goes_out_and_its_answer_comes_back() {
    let (_host, mut wire, mut bench) = connected(timings()).await;
    let sent = bench.push("i&d", 4, LIMIT);
    assert_eq!(
        receive(&mut wire).await,
        "<iq type='set' id='i&amp;d' from='up.example.org' to='romeo@example.org/o&apos;rchard'>\
         <push xmlns='http://gultsch.de/xmpp/drafts/unified-push' \
         application='AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=' \
         instance='//////////////////////////////////////////8='>eHh4eA==</push></iq>"
    );
    assert!(sent.get());
    let answer = "<iq type='result' id='i&amp;d' from='romeo@example.org/x' to='up.example.org'/>";
    wire.send(answer).await.unwrap();
    let from = "romeo@example.org/x".to_owned();
    let expected = |from| Heard::Answer(from, "i&d".into(), Answer::Acknowledged);
    bench.hears(expected(from.clone())).await;
    assert_eq!(bench.metrics.odd_stanzas.get(OddStanza::UnknownAnswer), 0);

    bench.ears.known.store(false, Relaxed);
    wire.send(answer).await.unwrap();
    bench.hears(expected(from)).await;
    wire.send("<presence from='a@b'/>").await.unwrap();
    bench.hears(Heard::Presence("a@b".into(), true)).await;
    assert_eq!(bench.metrics.odd_stanzas.get(OddStanza::UnknownAnswer), 1);
}

#[tokio::test]
async fn a_push_past_its_deadline_never_goes_out() {
    let (_host, mut wire, bench) = connected(timings()).await;
    let late = bench.push("late", 4, Duration::ZERO);
    bench.push("in-time", 4, LIMIT);
    assert!(receive(&mut wire).await.contains("id='in-time'"));
    assert!(!late.get());
}

#[tokio::test]
async fn many_pushes_all_arrive_in_order() {
    let (_host, mut wire, bench) = connected(timings()).await;
    let sent: Vec<_> = (0..500)
        .map(|n| bench.push(&n.to_string(), 4096, LIMIT))
        .collect();
    for n in 0..500 {
        let stanza = receive(&mut wire).await;
        assert!(stanza.contains(&format!("id='{n}'")), "{n}");
        assert!(stanza.len() > 5000);
    }
    bench.shutdown.cancel();
    assert!(wire.receive().await.unwrap().is_none());
    assert!(sent.iter().all(Sent::get));
}

#[tokio::test]
async fn a_registration_is_answered_before_the_pushes_that_wait() {
    let (_host, mut wire, mut bench) = connected(timings()).await;
    let register = "<iq type='set' id='r' from='a@b/c' to='up.example.org'>\
        <register xmlns='http://gultsch.de/xmpp/drafts/unified-push'/></iq>";
    wire.send(register).await.unwrap();
    bench.hears(Heard::Register("a@b/c".into())).await;
    assert_eq!(
        receive(&mut wire).await,
        "<iq type='result' id='r' from='up.example.org' to='a@b/c'>\
         <registered xmlns='http://gultsch.de/xmpp/drafts/unified-push' \
         endpoint='https://up.example.org/push/a?b&amp;c' \
         expiration='1970-01-01T00:00:00Z'/></iq>"
    );

    *bench.ears.replies.lock().unwrap() = None;
    wire.send(register).await.unwrap();
    assert_eq!(
        receive(&mut wire).await,
        "<iq type='error' id='r' from='up.example.org' to='a@b/c'><error type='wait'>\
         <resource-constraint xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>\
         <text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas' xml:lang='en'>\
         too many registrations at once; try again later</text></error></iq>"
    );

    // The link finds all three at once; one push may have been taken before it looks.
    bench.push("1", 1, LIMIT);
    bench.push("2", 1, LIMIT);
    let reply = RegisterReply {
        to: Jid::new("a@b/c").unwrap(),
        id: "3".into(),
        result: Err(RegisterError::Forbidden),
    };
    bench.handle.replies.try_send(reply).unwrap();
    let order = [receive(&mut wire).await, receive(&mut wire).await];
    assert!(
        order.iter().any(|stanza| stanza.contains("id='3'")),
        "{order:?}"
    );
}

#[tokio::test]
async fn comes_back_after_every_way_a_server_goes() {
    let (host, mut wire, mut bench) = connected(timings()).await;
    drop(wire);
    bench.hears(Heard::Down).await;
    wire = admit(&host).await;
    bench.hears(Heard::Up).await;

    wire.send("</stream:stream>").await.unwrap();
    bench.hears(Heard::Down).await;
    wire = admit(&host).await;
    bench.hears(Heard::Up).await;

    wire.refuse("system-shutdown").await.unwrap();
    bench.hears(Heard::Down).await;
    wire = admit(&host).await;
    bench.hears(Heard::Up).await;
    let losses = |state| bench.metrics.link_losses.get(state);
    assert_eq!(losses(LinkState::ServerShutdown), 3);

    wire.refuse("conflict").await.unwrap();
    bench.hears(Heard::Down).await;
    bench.gets(LinkState::Conflict).await;
    wire = admit(&host).await;
    bench.hears(Heard::Up).await;

    wire.send("<iq <").await.unwrap();
    bench.hears(Heard::Down).await;
    bench.gets(LinkState::StreamError).await;
    let _wire = admit(&host).await;
    bench.hears(Heard::Up).await;
}

#[tokio::test]
async fn a_refusal_says_why_and_is_tried_again() {
    let host = Host::bind().await.unwrap();
    let mut bench = start(host.port(), timings());

    let mut wire = host.accept().await.unwrap();
    assert!(!wire.admit(&Secret::new("another")).await.unwrap());
    bench.gets(LinkState::NotAuthorized).await;

    // As Prosody: at the header already, which then has no id.
    let mut wire = host.accept().await.unwrap();
    wire.send(
        "<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept' \
         xmlns:stream='http://etherx.jabber.org/streams' from='up.example.org'>",
    )
    .await
    .unwrap();
    wire.refuse("host-unknown").await.unwrap();
    bench.gets(LinkState::HostUnknown).await;

    let mut wire = host.accept().await.unwrap();
    wire.open().await.unwrap();
    receive(&mut wire).await;
    wire.refuse("conflict").await.unwrap();
    bench.gets(LinkState::Conflict).await;

    let mut wire = host.accept().await.unwrap();
    wire.send("HTTP/1.1 400 Bad Request\r\n\r\n<html>")
        .await
        .unwrap();
    bench.gets(LinkState::StreamError).await;

    let _wire = admit(&host).await;
    bench.gets(LinkState::Up).await;
    bench.hears(Heard::Up).await;
    for state in [
        LinkState::NotAuthorized,
        LinkState::HostUnknown,
        LinkState::Conflict,
        LinkState::StreamError,
    ] {
        assert_eq!(bench.metrics.link_losses.get(state), 1, "{state:?}");
    }
}

#[tokio::test]
async fn a_port_where_nothing_listens_and_a_name_that_is_none() {
    let host = Host::bind().await.unwrap();
    let port = host.port();
    drop(host);
    start(port, timings())
        .gets(LinkState::ConnectionRefused)
        .await;

    let nowhere = stream::connect("no.such.host.invalid", 1, LIMIT).await;
    assert_eq!(nowhere.unwrap_err().state(), LinkState::Unreachable);
}

#[tokio::test]
async fn a_server_that_says_nothing_is_dead() {
    let short = Duration::from_millis(100);
    let host = Host::bind().await.unwrap();
    let mut bench = start(
        host.port(),
        Timings {
            handshake: short,
            ..timings()
        },
    );
    let _silent = host.accept().await.unwrap();
    bench.gets(LinkState::DeadPeer).await;

    let (_host, mut wire, mut bench) = connected(Timings {
        ping_after: short,
        pong_within: 5 * short,
        ..timings()
    })
    .await;
    // Any answer will do.
    for to in [
        "example.org",
        "up.example.org",
        "example.org",
        "up.example.org",
    ] {
        let ping = receive(&mut wire).await;
        assert!(ping.contains(&format!("to='{to}'><ping xmlns='urn:xmpp:ping'/></iq>")));
        wire.send(" ").await.unwrap();
    }
    bench.hears(Heard::Down).await;
    bench.gets(LinkState::DeadPeer).await;
}

#[tokio::test]
async fn a_server_that_reads_no_more_is_dead_and_yet_heard() {
    let (_host, mut wire, mut bench) = connected(Timings {
        write: Duration::from_secs(2),
        ..timings()
    })
    .await;
    // The kernel's buffers fill, then our batch, then the queue.
    let pushes = bench.handle.pushes.clone();
    while let Ok(permit) = timeout(Duration::from_millis(300), pushes.reserve()).await {
        permit.unwrap().send(push("1", 4096, LIMIT));
    }
    let ping = "<iq type='get' id='p' from='a@b/c'><ping xmlns='urn:xmpp:ping'/></iq>";
    wire.send(&ping.repeat(2000)).await.unwrap();
    wire.send("<iq type='result' id='1' from='a@b/c'/>")
        .await
        .unwrap();
    let answer = Heard::Answer("a@b/c".into(), "1".into(), Answer::Acknowledged);
    bench.hears(answer).await;
    assert!(bench.metrics.odd_stanzas.get(OddStanza::ReplyDropped) > 0);
    bench.hears(Heard::Down).await;
    bench.gets(LinkState::DeadPeer).await;
}

#[tokio::test]
async fn what_is_queued_while_the_link_is_down_is_dropped() {
    let (host, wire, mut bench) = connected(timings()).await;
    drop(wire);
    bench.hears(Heard::Down).await;
    let lost = bench.push("lost", 1, LIMIT);
    let mut wire = admit(&host).await;
    bench.hears(Heard::Up).await;
    bench.push("found", 1, LIMIT);
    assert!(receive(&mut wire).await.contains("id='found'"));
    assert!(!lost.get());
}

#[tokio::test]
async fn a_shutdown_sends_what_is_queued_and_ends_the_stream() {
    let (_host, mut wire, mut bench) = connected(timings()).await;
    let sent = bench.push("last", 1, LIMIT);
    bench.shutdown.cancel();
    assert!(receive(&mut wire).await.contains("id='last'"));
    assert!(wire.receive().await.unwrap().is_none());
    timeout(LIMIT, &mut bench.task).await.unwrap().unwrap();
    assert!(sent.get());
    bench.hears(Heard::Down).await;
    let end = wire.receive().await.unwrap_err();
    assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn a_shutdown_ends_the_waiting_too() {
    let host = Host::bind().await.unwrap();
    let bench = start(host.port(), timings());
    let _silent = host.accept().await.unwrap();
    bench.shutdown.cancel();
    timeout(LIMIT, bench.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn no_stranger_ends_the_link() {
    let server = Server::start(BareJid::new("up.example.org").unwrap(), secret());
    let server = server.await.unwrap();
    let mut bench = start(server.port(), timings());
    bench.hears(Heard::Up).await;
    let phone = server.phone(Jid::new("romeo@example.org/phone").unwrap());
    let nested = |levels| "<a>".repeat(levels) + &"</a>".repeat(levels);
    let iq = |kind: &str, content: &str| {
        format!("<iq type='{kind}' id='x' from='evil@example.net/x'>{content}</iq>")
    };
    for abuse in [
        iq("set", &nested(4000)),
        iq("error", &nested(4000)),
        iq("set", &nested(80_000)),
        iq("get", &"x".repeat(300 * 1024)),
        iq("get", &format!("<a b='{}'/>", "x".repeat(9000))),
        iq("bogus", ""),
        iq("set", "<p:a/>"),
        iq("error", "<error/>"),
        "<iq/>".into(),
        "<iq type='get' id='x' from='@@'/>".into(),
        "<presence type='foo' from='evil@example.net'/>".into(),
        "<message type='bogus' from='evil@example.net'><body/></message>".into(),
        "<unknown/>".into(),
        format!(
            "<message from='evil@example.net'>{}</message>",
            nested(4000)
        ),
    ] {
        server.inject(&abuse).await;
        let ping = phone.ask("get", "<ping xmlns='urn:xmpp:ping'/>");
        let pong = timeout(LIMIT, ping).await.expect("an answer in time");
        assert_eq!(pong.attr("type"), Some("result"));
    }
    for answer in [Answer::Failed, Answer::Failed] {
        bench
            .hears(Heard::Answer(
                "evil@example.net/x".into(),
                "x".into(),
                answer,
            ))
            .await;
    }
    assert!(bench.heard.try_recv().is_err(), "and nothing else");
    assert_eq!(*bench.handle.state.borrow(), LinkState::Up);
}

#[tokio::test]
async fn the_simulated_phone_registers_and_takes_pushes() {
    let server = Server::start(BareJid::new("up.example.org").unwrap(), secret());
    let server = server.await.unwrap();
    let mut bench = start(server.port(), timings());
    bench.hears(Heard::Up).await;
    let jid = "romeo@example.org/o'rchard";
    let mut phone = server.phone(Jid::new(jid).unwrap());
    let endpoint = phone.register("app", "instance").await.unwrap();
    assert_eq!(endpoint.url, "https://up.example.org/push/a?b&c");
    assert_eq!(endpoint.expiration, "1970-01-01T00:00:00Z");
    bench.hears(Heard::Register(jid.into())).await;

    let answer = |answer| Heard::Answer(jid.into(), "1".into(), answer);
    // It registered other digests than these.
    bench.push("1", 3, LIMIT);
    bench.hears(answer(Answer::NotRegistered)).await;

    let send = |bench: &Bench, (application, instance)| {
        let push = PushStanza {
            application,
            instance,
            payload: Payload::new(Bytes::from_static(&[0, 255, 10])).unwrap(),
            ..push("1", 1, LIMIT)
        };
        bench.handle.pushes.try_send(push).unwrap();
    };
    let digest = |name: &str| {
        let digest =
            ring::digest::digest(&ring::digest::SHA256, format!("account\0{name}").as_bytes());
        Digest::from_bytes(digest.as_ref().try_into().unwrap())
    };
    let pair = (digest("app"), digest("instance"));
    send(&bench, pair);
    bench.hears(answer(Answer::Acknowledged)).await;
    assert_eq!(phone.push().await.payload, [0, 255, 10]);

    phone.behave(Behaviour::Error("service-unavailable"));
    send(&bench, pair);
    bench.hears(answer(Answer::Failed)).await;
    phone.behave(Behaviour::AcknowledgeAfter(Duration::from_millis(10)));
    send(&bench, pair);
    bench.hears(answer(Answer::Acknowledged)).await;
    phone.behave(Behaviour::Silent);
    send(&bench, pair);
    for _ in 0..3 {
        phone.push().await;
    }
    phone.presence(false).await;
    bench.hears(Heard::Presence(jid.into(), false)).await;
    phone.forget();
    send(&bench, pair);
    bench.hears(answer(Answer::NotRegistered)).await;
}
