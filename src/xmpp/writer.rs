//! What this component says, written by hand into one buffer: no tree, and base64 goes straight to
//! where it is sent from. Every attribute and text is escaped.

use jid::{BareJid, Jid};
use xmpp_parsers::ns;

use crate::{
    link::{Extensions, Granted, PushStanza, RegisterError, RegisterReply},
    model::registration::{self, Digest},
};

/// The end of our side of the stream.
pub const FOOTER: &[u8] = b"</stream:stream>";

/// An answer that needs nobody but the session.
#[derive(Debug, PartialEq, Eq)]
pub struct Reply {
    pub from: Jid,
    /// As it came: the server takes it for an address, whatever we think of it.
    pub to: String,
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
    DiscoInfo(Extensions),
    DiscoItems,
    Version,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StanzaError {
    BadRequest,
    ItemNotFound,
    /// Of the sender.
    JidMalformed,
    PolicyViolation,
    ServiceUnavailable,
}

impl StanzaError {
    /// Type and defined condition (RFC 6120 §8.3.2, §8.3.3).
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::BadRequest => ("modify", "bad-request"),
            Self::ItemNotFound => ("cancel", "item-not-found"),
            Self::JidMalformed => ("modify", "jid-malformed"),
            Self::PolicyViolation => ("modify", "policy-violation"),
            Self::ServiceUnavailable => ("cancel", "service-unavailable"),
        }
    }
}

/// A push (an iq of type set with an element push).
pub fn push(out: &mut Vec<u8>, from: &BareJid, push: &PushStanza) {
    let (to, id) = (push.to().as_str(), push.id.as_str());
    iq(out, "set", from.as_str(), to, id);
    put(out, "<push xmlns='");
    put(out, registration::NS);
    put(out, "' application='");
    digest(out, push.registration.application);
    put(out, "' instance='");
    digest(out, push.registration.instance);
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
    let (from, to) = (reply.from.as_str(), &*reply.to);
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

/// `extensions` is what the phone is told in passing; who does not know them reads attributes only.
pub fn register_reply(
    out: &mut Vec<u8>,
    from: &BareJid,
    extensions: Extensions,
    reply: &RegisterReply,
) {
    let (from, to) = (from.as_str(), reply.to.as_str());
    match &reply.result {
        Ok(Granted::Unregistered) => {
            iq(out, "result", from, to, &reply.id);
            put(out, "</iq>");
        }
        Ok(Granted::Registered(registered)) => {
            iq(out, "result", from, to, &reply.id);
            element(out, "registered", registration::NS);
            attribute(out, "endpoint", &registered.endpoint);
            attribute(out, "expiration", &registered.expires.to_string());
            if let Some(key) = &registered.vapid {
                put(out, " vapid='");
                base64_simd::URL_SAFE_NO_PAD.encode_append(key.as_bytes(), out);
                put(out, "'");
            }
            put(out, ">");
            for name in names(extensions) {
                element(out, "feature", ns::DISCO_INFO);
                attribute(out, "var", name);
                put(out, "/>");
            }
            put(out, "</registered></iq>");
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
        RegisterError::StoreFailed | RegisterError::ClockWrong => ("wait", "internal-server-error"),
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
        ResultContent::DiscoInfo(extensions) => {
            element(out, "query", ns::DISCO_INFO);
            put(
                out,
                "><identity category='pubsub' type='push' name='unified-push'/>",
            );
            let standard = [
                ns::DISCO_INFO,
                ns::DISCO_ITEMS,
                ns::PING,
                ns::VERSION,
                registration::NS,
            ];
            for name in standard.into_iter().chain(names(extensions)) {
                put(out, "<feature");
                attribute(out, "var", name);
                put(out, "/>");
            }
            put(out, "</query>");
        }
    }
}

/// As features of service discovery.
fn names(extensions: Extensions) -> impl Iterator<Item = &'static str> {
    let vapid = extensions.vapid.then_some(registration::VAPID);
    std::iter::once(registration::UNREGISTER).chain(vapid)
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

/// The start tag of an iq. A long one, as an answer with its sender's long id has, is followed by as
/// much white space: an Expat that got it in pieces does not parse it, nor what comes after it, until
/// it has twice as much. Others' pushes would wait behind it in the XMPP server.
fn iq(out: &mut Vec<u8>, kind: &str, from: &str, to: &str, id: &str) {
    const LONG: usize = 1024;
    let start = out.len();
    put(out, "<iq");
    attribute(out, "type", kind);
    attribute(out, "id", id);
    attribute(out, "from", from);
    attribute(out, "to", to);
    put(out, ">");
    let length = out.len() - start;
    if length > LONG {
        out.resize(out.len() + length, b' ');
    }
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
    base64_simd::STANDARD.encode_append(bytes, out);
}

fn put(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

/// For an attribute's value or a text. White space that a parser would change is written as a
/// reference; what XML cannot carry becomes U+FFFD.
pub(crate) fn escaped(out: &mut Vec<u8>, text: &str) {
    // As good as always. Without an end in between, so that many bytes are looked at at once.
    if text
        .bytes()
        .fold(true, |plain, byte| plain & is_plain(byte))
    {
        return put(out, text);
    }
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

fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && !matches!(byte, b'&' | b'<' | b'>' | b'\'' | b'"')
}

#[cfg(test)]
mod tests;
