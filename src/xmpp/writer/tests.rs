//! What is written is read back by a parser that is not ours.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use proptest::prelude::*;
use tokio::time::Instant;
use xmpp_parsers::{iq::Iq, minidom::Element, stanza_error};

use super::*;
use crate::{
    link::{Registered, Sent, StanzaId},
    model::{payload::Payload, registration::Registration, time::Timestamp, vapid::PublicKey},
};

fn domain() -> BareJid {
    BareJid::new("up.example.org").unwrap()
}

fn stanza(to: Jid, id: StanzaId, payload: Vec<u8>) -> PushStanza {
    PushStanza {
        id,
        registration: Arc::new(Registration {
            owner: to,
            application: Digest::from_bytes([1; 32]),
            instance: Digest::from_bytes([0xff; 32]),
            issued: Timestamp::from_secs(0),
            expires: Timestamp::from_secs(1),
        }),
        stand_in: None,
        payload: Payload::new(Bytes::from(payload)).unwrap(),
        deadline: Instant::now(),
        sent: Sent::default(),
    }
}

/// What a parser that is not ours makes of it.
fn parsed(xml: &[u8]) -> Iq {
    let element = Element::from_reader_with_prefixes(xml, ns::COMPONENT.to_owned());
    Iq::try_from(element.unwrap()).unwrap()
}

/// What of a text can come back.
fn legal(text: &str) -> String {
    let illegal = |c| matches!(c, '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}');
    let kept = |c| matches!(c, '\t' | '\n' | '\r') || !illegal(c);
    let legal = text.chars().map(|c| if kept(c) { c } else { '\u{fffd}' });
    legal.collect()
}

fn any_jid() -> impl Strategy<Value = Jid> {
    any::<String>().prop_filter_map("no resource", |resource| {
        Jid::new(&format!("romeo@example.org/{resource}")).ok()
    })
}

proptest! {
    #[test]
    fn a_push_is_read_back_as_it_was(
        to in any_jid(),
        id: [u8; StanzaId::BYTES],
        payload in prop::collection::vec(any::<u8>(), 1..=4096),
    ) {
        let mut out = Vec::new();
        let id = StanzaId::encode(&id);
        push(&mut out, &domain(), &stanza(to.clone(), id, payload.clone()));
        let Iq::Set { from, to: read_to, id: read_id, payload: element } = parsed(&out) else {
            panic!("not a set");
        };
        prop_assert_eq!(from, Some(domain().into()));
        prop_assert_eq!(read_to, Some(to));
        prop_assert_eq!(read_id, id.as_str());
        prop_assert!(element.is("push", registration::NS));
        let digest = Digest::parse(element.attr("application")).unwrap();
        prop_assert_eq!(digest.as_bytes(), &[1; 32]);
        let digest = Digest::parse(element.attr("instance")).unwrap();
        prop_assert_eq!(digest.as_bytes(), &[0xff; 32]);
        prop_assert_eq!(element.attrs().len(), 2);
        prop_assert_eq!(STANDARD.decode(element.text()).unwrap(), payload);
    }

    #[test]
    fn a_registration_is_read_back_as_it_was(to in any_jid(), id: String, endpoint: String) {
        let reply = RegisterReply {
            to: to.clone(),
            id: id.clone(),
            result: Ok(Granted::Registered(Registered {
                endpoint: endpoint.clone(),
                expires: Timestamp::from_secs(1_763_835_600),
                vapid: None,
            })),
        };
        let mut out = Vec::new();
        register_reply(&mut out, &domain(), Extensions::default(), &reply);
        let Iq::Result { to: read_to, id: read_id, payload: Some(element), .. } = parsed(&out)
        else {
            panic!("not a result");
        };
        prop_assert_eq!((read_to, read_id), (Some(to), legal(&id)));
        prop_assert!(element.is("registered", registration::NS));
        let endpoint = legal(&endpoint);
        prop_assert_eq!(element.attr("endpoint"), Some(endpoint.as_str()));
        prop_assert_eq!(element.attr("expiration"), Some("2025-11-22T18:20:00Z"));
    }

    #[test]
    fn an_answer_is_read_back_as_it_was(to in any_jid(), id: String) {
        for error in [
            StanzaError::BadRequest,
            StanzaError::ItemNotFound,
            StanzaError::JidMalformed,
            StanzaError::PolicyViolation,
            StanzaError::ServiceUnavailable,
        ] {
            let body = Body::Error { id: id.clone(), error };
            let mut out = Vec::new();
            reply(&mut out, &Reply { from: domain().into(), to: to.to_string(), body });
            let Iq::Error { to: read_to, id: read_id, error, .. } = parsed(&out) else {
                panic!("not an error");
            };
            prop_assert_eq!((read_to, read_id), (Some(to.clone()), legal(&id)));
            prop_assert!(error.texts.is_empty());
        }
    }
}

#[test]
fn a_refused_registration_has_prosodys_conditions_and_texts() {
    use stanza_error::{DefinedCondition as Condition, ErrorType};
    let said = |error: RegisterError| {
        let reply = RegisterReply {
            to: Jid::new("a@b/c").unwrap(),
            id: "1".into(),
            result: Err(error),
        };
        let mut out = Vec::new();
        register_reply(&mut out, &domain(), Extensions::default(), &reply);
        let Iq::Error { error, .. } = parsed(&out) else {
            panic!("not an error");
        };
        let text = error.texts.into_iter().next();
        (error.type_, error.defined_condition, text)
    };
    assert_eq!(
        said(RegisterError::Forbidden),
        (ErrorType::Auth, Condition::Forbidden, None)
    );
    let text = "instance: incorrect decoded length, expected 32";
    assert_eq!(
        said(RegisterError::BadRequest(text.into())),
        (
            ErrorType::Modify,
            Condition::BadRequest,
            Some(("en".into(), text.into()))
        )
    );
    for (error, kind, condition) in [
        (
            RegisterError::EndpointTooLong,
            ErrorType::Modify,
            Condition::NotAcceptable,
        ),
        (
            RegisterError::TooMany,
            ErrorType::Wait,
            Condition::ResourceConstraint,
        ),
        (
            RegisterError::RateLimited,
            ErrorType::Wait,
            Condition::ResourceConstraint,
        ),
        (
            RegisterError::Busy,
            ErrorType::Wait,
            Condition::ResourceConstraint,
        ),
        (
            RegisterError::StoreFailed,
            ErrorType::Wait,
            Condition::InternalServerError,
        ),
        (
            RegisterError::ClockWrong,
            ErrorType::Wait,
            Condition::InternalServerError,
        ),
    ] {
        let (said_kind, said_condition, text) = said(error);
        assert_eq!((said_kind, said_condition), (kind, condition));
        assert!(text.is_some());
    }
}

#[test]
fn a_registration_repeats_its_key_and_says_what_else_there_is() {
    let key =
        "BGsX0fLhLEJH-Lzm5WOkQPJ3A32BLeszoPShOUXYmMKWT-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU";
    let reply = |vapid: Option<&str>| RegisterReply {
        to: Jid::new("a@b/c").unwrap(),
        id: "1".into(),
        result: Ok(Granted::Registered(Registered {
            endpoint: "https://up.example.org/push/x".into(),
            expires: Timestamp::from_secs(0),
            vapid: vapid.map(|key| PublicKey::parse(key).unwrap()),
        })),
    };
    let said = |extensions, reply| {
        let mut out = Vec::new();
        register_reply(&mut out, &domain(), extensions, &reply);
        let Iq::Result {
            payload: Some(element),
            ..
        } = parsed(&out)
        else {
            panic!("not a result");
        };
        let features = element.children().map(|child| {
            assert!(child.is("feature", ns::DISCO_INFO));
            child.attr("var").unwrap().to_owned()
        });
        let vapid = element.attr("vapid").map(str::to_owned);
        (vapid, features.collect::<Vec<_>>())
    };
    let both = vec![
        registration::UNREGISTER.to_owned(),
        registration::VAPID.to_owned(),
    ];
    let vapid = Extensions { vapid: true };
    assert_eq!(
        said(vapid, reply(Some(key))),
        (Some(key.to_owned()), both.clone())
    );
    assert_eq!(said(vapid, reply(None)), (None, both.clone()));
    let without = both[..1].to_vec();
    assert_eq!(said(Extensions::default(), reply(None)), (None, without));
}

#[test]
fn the_end_of_a_registration_is_an_empty_result() {
    let reply = RegisterReply {
        to: Jid::new("a@b/c").unwrap(),
        id: "1".into(),
        result: Ok(Granted::Unregistered),
    };
    let mut out = Vec::new();
    register_reply(&mut out, &domain(), Extensions { vapid: true }, &reply);
    let expected = b"<iq type='result' id='1' from='up.example.org' to='a@b/c'></iq>";
    assert_eq!(out, expected);
}

#[test]
fn a_long_start_tag_is_followed_by_as_much_white_space() {
    for (length, padded) in [(36, false), (9000, true)] {
        let mut out = Vec::new();
        ping(&mut out, &domain(), "a@b/c", &"x".repeat(length));
        let text = String::from_utf8(out).unwrap();
        let (tag, rest) = text.split_once('>').unwrap();
        let white = rest.len() - rest.trim_start().len();
        assert_eq!(white, if padded { tag.len() + 1 } else { 0 });
    }
}
