//! What goes over the link while all is well.

use super::*;
use crate::demo::Behaviour;

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
    bench.gets(LinkState::Up).await;
    bench.hears(Heard::Presence("a@b/c".into(), true)).await;
    bench.gets(LinkState::Up).await;
}

#[tokio::test]
async fn a_push_goes_out_and_its_answer_comes_back() {
    let (_host, mut wire, mut bench) = connected(timings()).await;
    let sent = bench.push("name", 4, LIMIT);
    assert_eq!(
        receive(&mut wire).await,
        "<iq type='set' id='bmFtZQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA' \
         from='up.example.org' to='romeo@example.org/o&apos;rchard'>\
         <push xmlns='http://gultsch.de/xmpp/drafts/unified-push' \
         application='AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=' \
         instance='//////////////////////////////////////////8='>eHh4eA==</push></iq>"
    );
    assert!(!sent.withdraw());
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
    assert!(is_push(&receive(&mut wire).await, "in-time"));
    assert!(late.withdraw());
}

#[tokio::test]
async fn many_pushes_all_arrive_in_order() {
    let (_host, mut wire, bench) = connected(timings()).await;
    let sent: Vec<_> = (0..500)
        .map(|n| bench.push(&n.to_string(), 4096, LIMIT))
        .collect();
    for n in 0..500 {
        let stanza = receive(&mut wire).await;
        assert!(is_push(&stanza, &n.to_string()), "{n}");
        assert!(stanza.len() > 5000);
    }
    bench.shutdown.cancel();
    assert!(wire.receive().await.unwrap().is_none());
    assert!(sent.iter().all(|sent| !sent.withdraw()));
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
         expiration='1970-01-01T00:00:00Z'>\
         <feature xmlns='http://jabber.org/protocol/disco#info' var='urn:unified-push:unregister:0'/>\
         </registered></iq>"
    );

    *bench.ears.replies.lock().unwrap() = None;
    wire.send(register).await.unwrap();
    assert_eq!(
        receive(&mut wire).await,
        "<iq type='error' id='r' from='up.example.org' to='a@b/c'><error type='wait'>\
         <resource-constraint xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>\
         <text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas' xml:lang='en'>\
         too many phones are registering at once; try again later</text></error></iq>"
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
async fn the_simulated_phone_registers_and_takes_pushes() {
    let server = Server::start(BareJid::new("up.example.org").unwrap(), secret());
    let server = server.await.unwrap();
    let mut bench = start(server.port(), timings());
    bench.gets(LinkState::Up).await;
    let jid = "romeo@example.org/o'rchard";
    let mut phone = server.phone(Jid::new(jid).unwrap());
    let endpoint = phone.register("app", "instance").await.unwrap();
    assert_eq!(endpoint.url, "https://up.example.org/push/a?b&c");
    assert_eq!(endpoint.expiration, "1970-01-01T00:00:00Z");
    bench.hears(Heard::Register(jid.into())).await;

    let id = stanza_id("1");
    let answer = |answer| Heard::Answer(jid.into(), id.as_str().into(), answer);
    // It registered other digests than these.
    bench.push("1", 3, LIMIT);
    bench.hears(answer(Answer::NotRegistered)).await;

    let send = |bench: &Bench, (application, instance)| {
        let push = PushStanza {
            registration: registration(application, instance),
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
    bench.hears(answer(Answer::Unreachable)).await;
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
