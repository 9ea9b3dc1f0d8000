//! What the link survives, and how it says what it does not.

use std::io;

use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::xmpp::{
    reader::{MAX_DEPTH, MAX_STANZA},
    up,
};

#[tokio::test]
async fn comes_back_after_every_way_a_server_goes() {
    let (host, mut wire, mut bench) = connected(timings()).await;
    drop(wire);
    bench.hears(Heard::Down).await;
    wire = admit(&host).await;
    bench.gets(LinkState::Up).await;

    wire.send("</stream:stream>").await.unwrap();
    bench.hears(Heard::Down).await;
    wire = admit(&host).await;
    bench.gets(LinkState::Up).await;

    wire.refuse("system-shutdown").await.unwrap();
    bench.hears(Heard::Down).await;
    wire = admit(&host).await;
    bench.gets(LinkState::Up).await;
    let losses = |state| bench.metrics.link_losses.get(state);
    assert_eq!(losses(LinkState::ServerShutdown), 3);

    wire.refuse("conflict").await.unwrap();
    bench.hears(Heard::Down).await;
    bench.gets(LinkState::Conflict).await;
    wire = admit(&host).await;
    bench.gets(LinkState::Up).await;

    wire.send("<iq <").await.unwrap();
    bench.hears(Heard::Down).await;
    bench.gets(LinkState::StreamError).await;
    let _wire = admit(&host).await;
    bench.gets(LinkState::Up).await;
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
    // Had it spoken TLS, the remedy would be another one: it is asked.
    let mut wire = host.accept().await.unwrap();
    wire.send("HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    bench.gets(LinkState::StreamError).await;

    let _wire = admit(&host).await;
    bench.gets(LinkState::Up).await;
    bench.gets(LinkState::Up).await;
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

    let nowhere = login("no.such.host.invalid", 1);
    let nowhere = socket::open(&nowhere, &timings()).await;
    assert_eq!(nowhere.err().unwrap().state(), LinkState::Unreachable);
}

const SHORT: Duration = Duration::from_millis(100);

#[tokio::test]
async fn a_server_that_says_nothing_is_dead() {
    let host = Host::bind().await.unwrap();
    let mut bench = start(
        host.port(),
        Timings {
            handshake: SHORT,
            ..timings()
        },
    );
    let _silent = host.accept().await.unwrap();
    bench.gets(LinkState::DeadPeer).await;

    let (_host, _silent, mut bench) = connected(Timings {
        ping_after: SHORT,
        pong_within: SHORT,
        ..timings()
    })
    .await;
    bench.hears(Heard::Down).await;
    bench.gets(LinkState::DeadPeer).await;
}

#[tokio::test]
async fn a_server_that_talks_but_does_not_listen_is_dead() {
    let (_host, mut wire, mut bench) = connected(Timings {
        ping_after: SHORT,
        pong_within: SHORT,
        ..timings()
    })
    .await;
    let ping = receive(&mut wire).await;
    wire.send(&ping).await.unwrap();
    let talk = async {
        while wire.send("<message from='example.org'/>").await.is_ok() {
            tokio::time::sleep(SHORT / 10).await;
        }
    };
    tokio::select! {
        () = talk => {}
        () = bench.hears(Heard::Down) => {}
    }
    bench.gets(LinkState::DeadPeer).await;
}

#[tokio::test]
async fn a_server_that_answers_pings_lives() {
    let pong_within = Duration::from_secs(5);
    let (_host, mut wire, mut bench) = connected(Timings {
        ping_after: SHORT,
        pong_within,
        ..timings()
    })
    .await;
    let start = Instant::now();
    while start.elapsed() < pong_within * 3 / 2 {
        let ping = receive(&mut wire).await;
        let end = "from='up.example.org' to='up.example.org'><ping xmlns='urn:xmpp:ping'/></iq>";
        assert!(ping.ends_with(end), "{ping}");
        // As any server passes it on.
        wire.send(&ping).await.unwrap();
        let pong = receive(&mut wire).await;
        assert!(pong.contains("type='result'"), "{pong}");
    }
    assert!(bench.heard.try_recv().is_err(), "it was never down");
}

#[test]
fn a_dead_server_is_noticed_within_a_minute() {
    let timings = Timings::default();
    let told = timings.ping_after + timings.pong_within;
    // Silence is looked at now and then: once for the ping, once for the end.
    let late = 2 * up::check_every(&timings);
    assert!(told + late < Duration::from_secs(60), "{told:?} + {late:?}");
}

#[tokio::test]
async fn a_server_that_reads_no_more_is_dead_and_yet_heard() {
    let (_host, mut wire, mut bench) = connected(Timings {
        write: Duration::from_secs(5),
        ..timings()
    })
    .await;
    // The kernel's buffers fill, then our batch, then the queue.
    let pushes = bench.handle.pushes.clone();
    let _flood = AbortOnDropHandle::new(tokio::spawn(async move {
        while let Ok(permit) = pushes.reserve().await {
            permit.send(push("1", 4096, LIMIT));
        }
    }));
    // When it cannot write, it drops answers to strangers.
    let ping = "<iq type='get' id='p' from='a@b/c'><ping xmlns='urn:xmpp:ping'/></iq>";
    let metrics = Arc::clone(&bench.metrics);
    while metrics.odd_stanzas.get(OddStanza::ReplyDropped) == 0 {
        wire.send(&ping.repeat(100)).await.unwrap();
        tokio::task::yield_now().await;
    }
    wire.send("<iq type='result' id='1' from='a@b/c'/>")
        .await
        .unwrap();
    let answer = Heard::Answer("a@b/c".into(), "1".into(), Answer::Acknowledged);
    bench.hears(answer).await;
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
    bench.gets(LinkState::Up).await;
    bench.push("found", 1, LIMIT);
    assert!(is_push(&receive(&mut wire).await, "found"));
    assert!(lost.withdraw());
}

#[tokio::test]
async fn a_shutdown_sends_what_is_queued_and_ends_the_stream() {
    let (_host, mut wire, mut bench) = connected(timings()).await;
    let sent = bench.push("last", 1, LIMIT);
    bench.shutdown.cancel();
    assert!(is_push(&receive(&mut wire).await, "last"));
    assert!(wire.receive().await.unwrap().is_none());
    timeout(LIMIT, &mut bench.task).await.unwrap().unwrap();
    assert!(!sent.withdraw());
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
    bench.gets(LinkState::Up).await;
    let phone = server.phone(Jid::new("romeo@example.org/phone").unwrap());
    let levels = MAX_DEPTH as usize;
    let too_deep = "<a>".repeat(levels) + &"</a>".repeat(levels);
    let iq = |kind: &str, content: &str| {
        format!("<iq type='{kind}' id='x' from='evil@example.net/x'>{content}</iq>")
    };
    for abuse in [
        iq("set", &too_deep),
        iq("error", &too_deep),
        iq("get", &"x".repeat(MAX_STANZA)),
        iq("get", &format!("<a b='{}'/>", "x".repeat(9000))),
        iq("bogus", ""),
        iq("set", "<p:a/>"),
        iq("error", "<error/>"),
        "<iq/>".into(),
        "<iq type='get' id='x' from='@@'/>".into(),
        "<presence type='foo' from='evil@example.net'/>".into(),
        "<message type='bogus' from='evil@example.net'><body/></message>".into(),
        "<unknown/>".into(),
        format!("<message from='evil@example.net'>{too_deep}</message>"),
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
