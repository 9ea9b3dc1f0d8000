//! The session's answers to requests, from XML to XML.

mod others;

use bytes::BufMut;

use super::*;
use crate::xmpp::{
    reader::{CHUNK, Event, MAX_DEPTH, MAX_STANZA, Reader},
    writer,
};

fn session() -> Session {
    Session::new(
        BareJid::new("up.example.org").unwrap(),
        Arc::new(Metrics::new()),
        Arc::new(Current::new(Extensions { vapid: true })),
        "ping".into(),
    )
}

fn handle(session: &Session, xml: &str) -> Option<Action<'static>> {
    let mut reader = Reader::default();
    let mut found = None;
    for chunk in xml.as_bytes().chunks(CHUNK) {
        reader.buffer().put_slice(chunk);
        found = reader.next_event().unwrap().map(Event::into_owned);
    }
    match found {
        Some(Event::Stanza(stanza)) => session.handle(stanza),
        event => panic!("not a stanza: {event:?}"),
    }
}

fn act(xml: &str) -> Option<Action<'static>> {
    handle(&session(), xml)
}

/// The reply as it goes out.
fn reply(xml: &str) -> String {
    let Some(Action::Reply(reply)) = act(xml) else {
        panic!("no reply to {xml}");
    };
    let mut out = Vec::new();
    writer::reply(&mut out, &reply);
    String::from_utf8(out).unwrap()
}

fn iq(kind: &str, content: &str) -> String {
    format!("<iq type='{kind}' id='1' from='a@b/c' to='up.example.org'>{content}</iq>")
}

fn result(content: &str) -> String {
    format!("<iq type='result' id='1' from='up.example.org' to='a@b/c'>{content}</iq>")
}

fn error(kind: &str, condition: &str) -> String {
    format!(
        "<iq type='error' id='1' from='up.example.org' to='a@b/c'><error type='{kind}'>\
         <{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"
    )
}

const REGISTER: &str =
    "<register xmlns='http://gultsch.de/xmpp/drafts/unified-push' application='x'/>";
const PING: &str = "<ping xmlns='urn:xmpp:ping'/>";

fn disco(what: &str, node: &str) -> String {
    iq(
        "get",
        &format!("<query xmlns='http://jabber.org/protocol/disco#{what}'{node}/>"),
    )
}

#[test]
fn says_what_it_is() {
    assert_eq!(
        reply(&disco("info", "")),
        result(
            "<query xmlns='http://jabber.org/protocol/disco#info'>\
             <identity category='pubsub' type='push' name='unified-push'/>\
             <feature var='http://jabber.org/protocol/disco#info'/>\
             <feature var='http://jabber.org/protocol/disco#items'/>\
             <feature var='urn:xmpp:ping'/><feature var='jabber:iq:version'/>\
             <feature var='http://gultsch.de/xmpp/drafts/unified-push'/>\
             <feature var='urn:unified-push:unregister:0'/>\
             <feature var='urn:unified-push:vapid:0'/></query>"
        )
    );
    assert_eq!(
        reply(&disco("items", "")),
        result("<query xmlns='http://jabber.org/protocol/disco#items'/>")
    );
    let not_found = error("cancel", "item-not-found");
    assert_eq!(reply(&disco("info", " node='n'")), not_found);
    assert_eq!(reply(&disco("items", " node='n'")), not_found);
    assert_eq!(reply(&iq("get", PING)), result(""));
    let version = concat!(
        "<query xmlns='jabber:iq:version'><name>unified-push</name><version>",
        env!("CARGO_PKG_VERSION"),
        "</version></query>"
    );
    assert_eq!(
        reply(&iq("get", "<query xmlns='jabber:iq:version'/>")),
        result(version)
    );
}

#[test]
fn refuses_what_it_does_not_do() {
    let unavailable = error("cancel", "service-unavailable");
    for request in [
        iq("get", REGISTER),
        iq("set", PING),
        iq("get", &REGISTER.replace("register", "unregister")),
        iq("set", &REGISTER.replace("register", "registered")),
        iq("get", "<query xmlns='jabber:iq:roster'/>"),
        iq("set", "<register xmlns='unifiedpush.org'/>"),
        iq("set", "<error/>"),
    ] {
        assert_eq!(reply(&request), unavailable, "{request}");
    }
}

#[test]
fn announces_only_what_it_does() {
    let session = session();
    session.extensions.set(Extensions { vapid: false });
    let Some(Action::Reply(reply)) = handle(&session, &disco("info", "")) else {
        panic!("no reply");
    };
    let mut out = Vec::new();
    writer::reply(&mut out, &reply);
    let said = String::from_utf8(out).unwrap();
    assert!(
        said.contains(":unregister:0'") && !said.contains("vapid"),
        "{said}"
    );
}

#[test]
fn a_registration_and_its_end_are_passed_on_as_they_came() {
    let register = |attributes: &str| REGISTER.replace("application", attributes);
    let wish = |vapid: Option<&str>| Wish::Register {
        vapid: vapid.map(str::to_owned),
    };
    for (content, expected) in [
        (REGISTER.to_owned(), wish(None)),
        (register("vapid='k' application"), wish(Some("k"))),
        (register("vapid='' application"), wish(Some(""))),
        (REGISTER.replace("register", "unregister"), Wish::Unregister),
    ] {
        let Some(Action::Register(request)) = act(&iq("set", &content)) else {
            panic!("{content} is not passed on");
        };
        assert_eq!((request.from.as_str(), &*request.id), ("a@b/c", "1"));
        assert_eq!(request.application.as_deref(), Some("x"));
        assert_eq!(request.instance, None);
        assert_eq!(request.wish, expected);
    }
}

#[test]
fn answers_for_its_own_address_only() {
    for other in ["node@up.example.org", "up.example.org/resource"] {
        let to_other = |xml: String| xml.replace("to='up.example.org'", &format!("to='{other}'"));
        let expected = error("cancel", "service-unavailable");
        let expected = expected.replace("from='up.example.org'", &format!("from='{other}'"));
        for request in [iq("get", PING), iq("set", REGISTER), disco("info", "")] {
            assert_eq!(reply(&to_other(request)), expected);
        }
    }
    let normalised = iq("get", PING).replace("to='up.", "to='UP.");
    assert_eq!(reply(&normalised), result(""));
}

#[test]
fn a_malformed_request_is_a_bad_request() {
    let bad = error("modify", "bad-request");
    for request in [
        iq("get", ""),
        iq("set", &REGISTER.repeat(2)),
        iq("bogus", PING),
        iq("", PING),
        iq("get", PING).replace("type='get' ", ""),
        iq("get", "<p:ping/>"),
    ] {
        let session = session();
        let Some(Action::Reply(_)) = handle(&session, &request) else {
            panic!("no reply to {request}");
        };
        assert_eq!(session.metrics.odd_stanzas.get(OddStanza::Malformed), 1);
        assert_eq!(reply(&request), bad, "{request}");
    }
    assert_eq!(
        reply(&iq("get", "").replace("id='1'", "")),
        bad.replace("id='1'", "id=''")
    );
}

/// Within a stanza, one level more than is read.
fn too_deep() -> String {
    let levels = MAX_DEPTH as usize;
    "<a>".repeat(levels) + &"</a>".repeat(levels)
}

/// More bytes than are read.
fn too_large() -> String {
    "x".repeat(MAX_STANZA)
}

#[test]
fn what_is_over_the_limits_violates_the_policy() {
    for over in [iq("get", &too_deep()), iq("set", &too_large())] {
        assert_eq!(reply(&over), error("modify", "policy-violation"));
    }
}

#[test]
fn nobody_is_answered_who_cannot_be() {
    for from in ["", "from=''"] {
        let session = session();
        let request = iq("get", PING).replace("from='a@b/c'", from);
        assert!(handle(&session, &request).is_none(), "{from}");
        assert_eq!(session.metrics.odd_stanzas.get(OddStanza::Malformed), 1);
    }
}

#[test]
fn who_asks_from_an_address_that_is_none_to_us_is_told() {
    let told = error("modify", "jid-malformed");
    for from in ["@", "a@-b/c", "a@b@c/&amp;", "a@b/\u{e000}"] {
        for request in [iq("set", REGISTER), iq("get", PING), iq("set", "")] {
            let session = session();
            let request = request.replace("a@b/c", from);
            assert!(handle(&session, &request).is_some(), "{from}");
            let malformed = session.metrics.odd_stanzas.get(OddStanza::Malformed);
            assert_eq!(malformed, 1, "{from}");
            assert_eq!(reply(&request), told.replace("a@b/c", from), "{from}");
        }
    }
}

#[test]
fn a_registration_is_passed_on_as_it_came() {
    let Some(Action::Register(request)) = act(&iq("set", REGISTER)) else {
        panic!("no registration");
    };
    assert_eq!(request.from, Jid::new("a@b/c").unwrap());
    assert_eq!(request.id, "1");
    assert_eq!(request.application.as_deref(), Some("x"));
    assert_eq!(request.instance, None);
}

/// Accounts that are two to their server are two here: whoever is heard has the very address that the
/// server gave.
#[test]
fn no_address_becomes_another_one() {
    let mut heard = 0;
    // What is above folds nothing, so that some of it will do.
    let above = ('\u{20000}'..=char::MAX).step_by(251);
    for scalar in ('\0'..'\u{20000}').chain(above) {
        for from in [
            format!("ro{scalar}meo@example.org/phone"),
            format!("romeo@exam{scalar}ple.org/phone"),
            format!("romeo@example.org/pho{scalar}ne"),
        ] {
            if let Some(jid) = sender(&from) {
                assert_eq!(jid.as_str(), from, "U+{:04X}", u32::from(scalar));
                heard += 1;
            }
        }
    }
    assert!(heard > 50_000, "{heard}");
    for usual in [
        "romeo@example.org/phone",
        "юлия@пример.example/телефон",
        "田中@例え.example/Conversations.a1~+/b",
        "component.example.org",
    ] {
        assert!(sender(usual).is_some(), "{usual}");
    }
}

/// What could not be sent back within a small stanza is not answered: some servers end the stream on one
/// that is too large for them.
#[test]
fn a_long_id_is_not_repeated() {
    let ask = |length: usize, from: &str| {
        let id = "&lt;".repeat(length);
        act(&format!(
            "<iq type='get' id='{id}' from='{from}' to='up.example.org'>{PING}</iq>"
        ))
    };
    for from in ["a@b/c", "a b@@c"] {
        let Some(Action::Reply(reply)) = ask(MAX_ID, from) else {
            panic!("not answered");
        };
        let mut out = Vec::new();
        writer::reply(&mut out, &reply);
        // With the white space behind its start tag.
        assert!(out.len() < 10_000, "{}", out.len());
        assert!(ask(MAX_ID + 1, from).is_none());
    }
}
