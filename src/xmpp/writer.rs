//! What this component says, written by hand into one buffer: no tree, and base64 goes straight to
//! where it is sent from. Every attribute and text is escaped.

use base64::{Engine, encoded_len, engine::general_purpose::STANDARD};
use jid::{BareJid, Jid};
use xmpp_parsers::ns;

use crate::{
    link::{PushStanza, RegisterError, RegisterReply},
    registration::{self, Digest},
};

/// The end of our side of the stream.
pub const FOOTER: &[u8] = b"</stream:stream>";

/// An answer that needs nobody but the session.
#[derive(Debug, PartialEq, Eq)]
pub struct Reply {
    pub from: Jid,
    pub to: Jid,
    pub body: Body,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Body {
    Result { id: String, content: ResultContent },
    Error { id: String, error: StanzaError },
    Unsubscribed,
    Unavailable,
}

/// What a result carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResultContent {
    Nothing,
    DiscoInfo,
    DiscoItems,
    Version,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StanzaError {
    BadRequest,
    ItemNotFound,
    PolicyViolation,
    ServiceUnavailable,
}

impl StanzaError {
    /// Type and defined condition (RFC 6120 §8.3.2, §8.3.3).
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::BadRequest => ("modify", "bad-request"),
            Self::ItemNotFound => ("cancel", "item-not-found"),
            Self::PolicyViolation => ("modify", "policy-violation"),
            Self::ServiceUnavailable => ("cancel", "service-unavailable"),
        }
    }
}

/// A push (an iq of type set with an element push).
pub fn push(out: &mut Vec<u8>, from: &BareJid, push: &PushStanza) {
    iq(out, "set", from.as_str(), push.to.as_str(), &push.id);
    put(out, "<push xmlns='");
    put(out, registration::NS);
    put(out, "' application='");
    digest(out, push.application);
    put(out, "' instance='");
    digest(out, push.instance);
    put(out, "'>");
    base64(out, push.payload.as_bytes());
    put(out, "</push></iq>");
}

/// A ping (XEP-0199).
pub fn ping(out: &mut Vec<u8>, from: &BareJid, to: &str, id: &str) {
    iq(out, "get", from.as_str(), to, id);
    element(out, "ping", ns::PING);
    put(out, "/></iq>");
}

pub fn reply(out: &mut Vec<u8>, reply: &Reply) {
    let (from, to) = (reply.from.as_str(), reply.to.as_str());
    match &reply.body {
        Body::Unsubscribed => presence(out, "unsubscribed", from, to),
        Body::Unavailable => presence(out, "unavailable", from, to),
        Body::Error { id, error } => {
            iq(out, "error", from, to, id);
            let (kind, condition) = error.names();
            write_error(out, kind, condition, None);
            put(out, "</iq>");
        }
        Body::Result { id, content } => {
            iq(out, "result", from, to, id);
            write_content(out, *content);
            put(out, "</iq>");
        }
    }
}

pub fn register_reply(out: &mut Vec<u8>, from: &BareJid, reply: &RegisterReply) {
    let (from, to) = (from.as_str(), reply.to.as_str());
    match &reply.result {
        Ok(registered) => {
            iq(out, "result", from, to, &reply.id);
            element(out, "registered", registration::NS);
            attribute(out, "endpoint", &registered.endpoint);
            attribute(out, "expiration", &registered.expires.to_string());
            put(out, "/></iq>");
        }
        Err(error) => {
            iq(out, "error", from, to, &reply.id);
            let (kind, condition) = register_error(error);
            // Prosody's module says nothing more to whom it does not know.
            let text = (*error != RegisterError::Forbidden).then(|| error.to_string());
            write_error(out, kind, condition, text.as_deref());
            put(out, "</iq>");
        }
    }
}

fn register_error(error: &RegisterError) -> (&'static str, &'static str) {
    match error {
        RegisterError::Forbidden => ("auth", "forbidden"),
        RegisterError::BadRequest(_) => ("modify", "bad-request"),
        RegisterError::EndpointTooLong => ("modify", "not-acceptable"),
        RegisterError::TooMany | RegisterError::RateLimited | RegisterError::Busy => {
            ("wait", "resource-constraint")
        }
        RegisterError::StoreFailed => ("wait", "internal-server-error"),
    }
}

fn write_content(out: &mut Vec<u8>, content: ResultContent) {
    match content {
        ResultContent::Nothing => (),
        ResultContent::DiscoItems => {
            element(out, "query", ns::DISCO_ITEMS);
            put(out, "/>");
        }
        ResultContent::Version => {
            element(out, "query", ns::VERSION);
            put(out, "><name>unified-push</name><version>");
            put(out, env!("CARGO_PKG_VERSION"));
            put(out, "</version></query>");
        }
        ResultContent::DiscoInfo => {
            element(out, "query", ns::DISCO_INFO);
            put(
                out,
                "><identity category='pubsub' type='push' name='unified-push'/>",
            );
            for feature in [
                ns::DISCO_INFO,
                ns::DISCO_ITEMS,
                ns::PING,
                ns::VERSION,
                registration::NS,
            ] {
                put(out, "<feature");
                attribute(out, "var", feature);
                put(out, "/>");
            }
            put(out, "</query>");
        }
    }
}

fn write_error(out: &mut Vec<u8>, kind: &str, condition: &str, text: Option<&str>) {
    put(out, "<error");
    attribute(out, "type", kind);
    put(out, ">");
    element(out, condition, ns::XMPP_STANZAS);
    put(out, "/>");
    if let Some(text) = text {
        element(out, "text", ns::XMPP_STANZAS);
        put(out, " xml:lang='en'>");
        escaped(out, text);
        put(out, "</text>");
    }
    put(out, "</error>");
}

/// The start tag of an iq.
fn iq(out: &mut Vec<u8>, kind: &str, from: &str, to: &str, id: &str) {
    put(out, "<iq");
    attribute(out, "type", kind);
    attribute(out, "id", id);
    attribute(out, "from", from);
    attribute(out, "to", to);
    put(out, ">");
}

fn presence(out: &mut Vec<u8>, kind: &str, from: &str, to: &str) {
    put(out, "<presence");
    attribute(out, "type", kind);
    attribute(out, "from", from);
    attribute(out, "to", to);
    put(out, "/>");
}

/// A start tag, open for more attributes.
fn element(out: &mut Vec<u8>, name: &str, namespace: &str) {
    put(out, "<");
    put(out, name);
    attribute(out, "xmlns", namespace);
}

fn attribute(out: &mut Vec<u8>, name: &str, value: &str) {
    put(out, " ");
    put(out, name);
    put(out, "='");
    escaped(out, value);
    put(out, "'");
}

fn digest(out: &mut Vec<u8>, digest: Digest) {
    base64(out, digest.as_bytes());
}

/// Standard base64 in one piece: phones take white space for nonsense.
fn base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    let length = encoded_len(bytes.len(), true).expect("a payload is no exabyte");
    out.resize(start + length, 0);
    STANDARD
        .encode_slice(bytes, &mut out[start..])
        .expect("the room was computed for it");
}

fn put(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

/// For an attribute's value or a text. White space that a parser would change is written as a
/// reference; what XML cannot carry becomes U+FFFD.
pub(crate) fn escaped(out: &mut Vec<u8>, text: &str) {
    let mut plain = 0;
    for (index, char) in text.char_indices() {
        let replacement = match char {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            '\'' => "&apos;",
            '"' => "&quot;",
            '\t' => "&#9;",
            '\n' => "&#10;",
            '\r' => "&#13;",
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => "\u{fffd}",
            _ => continue,
        };
        put(out, &text[plain..index]);
        put(out, replacement);
        plain = index + char.len_utf8();
    }
    put(out, &text[plain..]);
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use tokio::time::Instant;
    use xmpp_parsers::{iq::Iq, minidom::Element, stanza_error};

    use super::*;
    use crate::{
        clock::Timestamp,
        link::{Registered, Sent},
        payload::Payload,
    };

    fn domain() -> BareJid {
        BareJid::new("up.example.org").unwrap()
    }

    fn stanza(to: Jid, id: String, payload: Vec<u8>) -> PushStanza {
        PushStanza {
            id,
            to,
            application: Digest::from_bytes([1; 32]),
            instance: Digest::from_bytes([0xff; 32]),
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
            id: String,
            payload in prop::collection::vec(any::<u8>(), 1..=4096),
        ) {
            let mut out = Vec::new();
            push(&mut out, &domain(), &stanza(to.clone(), id.clone(), payload.clone()));
            let Iq::Set { from, to: read_to, id: read_id, payload: element } = parsed(&out) else {
                panic!("not a set");
            };
            prop_assert_eq!(from, Some(domain().into()));
            prop_assert_eq!(read_to, Some(to));
            prop_assert_eq!(read_id, legal(&id));
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
                result: Ok(Registered {
                    endpoint: endpoint.clone(),
                    expires: Timestamp::from_secs(1_763_835_600),
                }),
            };
            let mut out = Vec::new();
            register_reply(&mut out, &domain(), &reply);
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
                StanzaError::PolicyViolation,
                StanzaError::ServiceUnavailable,
            ] {
                let body = Body::Error { id: id.clone(), error };
                let mut out = Vec::new();
                reply(&mut out, &Reply { from: domain().into(), to: to.clone(), body });
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
            register_reply(&mut out, &domain(), &reply);
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
        ] {
            let (said_kind, said_condition, text) = said(error);
            assert_eq!((said_kind, said_condition), (kind, condition));
            assert!(text.is_some());
        }
    }
}
