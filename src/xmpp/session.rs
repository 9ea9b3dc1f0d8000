//! What a stanza means to this component: stanzas in, actions out. No I/O and no time here.
//!
//! RFC 6120 §8, RFC 6121 §3 and §4, XEP-0030, XEP-0092, XEP-0199, `register` and `unregister`. Nothing that a
//! stranger sends is ever fatal: it is answered if it asks for an answer, and counted.

use std::{borrow::Cow, sync::Arc};

use jid::{BareJid, Jid};

use super::{
    loss::Loss,
    stanza::{Content, Fault, Head, Kind, Request, Stanza},
    writer::{Body, Reply, ResultContent, StanzaError},
};
use crate::{
    link::{Answer, Extensions, RegisterRequest, Wish},
    metrics::{Metrics, OddStanza},
    model::sync::Current,
};

/// How long an id is that we repeat in an answer, in bytes. Some servers end a component's stream on one
/// stanza that is too large for them.
const MAX_ID: usize = 1024;

/// What to do about a stanza.
#[derive(Debug)]
pub enum Action<'a> {
    Reply(Reply),
    /// To something that was asked of a JID that is written just so, if of anybody.
    Answer {
        from: Cow<'a, str>,
        id: Cow<'a, str>,
        answer: Answer,
    },
    Presence {
        from: Jid,
        available: bool,
    },
    Register(RegisterRequest),
    /// The server ended the stream.
    End(Loss),
}

/// One connection's.
pub struct Session {
    domain: Jid,
    metrics: Arc<Metrics>,
    extensions: Arc<Current<Extensions>>,
    ping: String,
}

impl Session {
    /// `ping` is the id of our pings on this connection. Nobody else can guess it.
    pub fn new(
        domain: BareJid,
        metrics: Arc<Metrics>,
        extensions: Arc<Current<Extensions>>,
        ping: String,
    ) -> Self {
        Self {
            domain: domain.into(),
            metrics,
            extensions,
            ping,
        }
    }

    pub fn ping_id(&self) -> &str {
        &self.ping
    }

    pub fn handle<'a>(&self, stanza: Stanza<'a>) -> Option<Action<'a>> {
        let Stanza { head, content } = stanza;
        if let Err(fault) = &content {
            self.fault(*fault);
        }
        match head.kind {
            Kind::Iq => self.iq(head, content),
            Kind::Presence => self.presence(head),
            Kind::Message => None,
            Kind::StreamError => Some(Action::End(end(content))),
            Kind::Unknown => self.odd(OddStanza::Unsupported),
        }
    }

    /// Counts a stanza that cannot be read.
    pub fn fault(&self, fault: Fault) {
        self.odd(match fault {
            Fault::TooLarge => OddStanza::TooLarge,
            Fault::TooDeep => OddStanza::TooDeep,
            Fault::Malformed => OddStanza::Malformed,
        });
    }

    pub fn odd(&self, odd: OddStanza) -> Option<Action<'static>> {
        self.metrics.odd_stanzas.inc(odd);
        None
    }

    fn iq<'a>(&self, head: Head<'a>, content: Result<Content, Fault>) -> Option<Action<'a>> {
        match &*head.r#type {
            // Whatever a result carries, it is one.
            "result" => self.answer(head, Answer::Acknowledged),
            "error" => self.answer(head, failure(content)),
            _ => self.request(head, content),
        }
    }

    /// Nobody needs to know whether `from` is a JID: who was asked has one.
    fn answer<'a>(&self, head: Head<'a>, answer: Answer) -> Option<Action<'a>> {
        let Some(from) = head.from.filter(|from| !from.is_empty()) else {
            return self.odd(OddStanza::Malformed);
        };
        let id = head.id;
        if id.len() > MAX_ID {
            return self.odd(OddStanza::TooLarge);
        }
        // The latter: to a ping of another connection with this name.
        if id == self.ping || from == self.domain.as_str() {
            return None;
        }
        Some(Action::Answer { from, id, answer })
    }

    fn request(&self, head: Head, content: Result<Content, Fault>) -> Option<Action<'static>> {
        let Some(from) = head.from.as_deref().and_then(sender) else {
            self.odd(OddStanza::Malformed);
            return self.decline(head);
        };
        if head.id.len() > MAX_ID {
            return self.odd(OddStanza::TooLarge);
        }
        let to = self.addressee(head.to.as_deref());
        let decision = match &*head.r#type {
            kind @ ("get" | "set") => self.decide(kind, &to, content),
            _ => Err((StanzaError::BadRequest, Some(OddStanza::Malformed))),
        };
        self.act(decision, from, to, head.id.into_owned())
    }

    /// Tells whoever asks from an address that is none to us, rather than let it wait. Answers are not
    /// answered.
    fn decline(&self, head: Head) -> Option<Action<'static>> {
        let to = head.from.filter(|from| !from.is_empty())?;
        if !matches!(&*head.r#type, "get" | "set") || head.id.len() > MAX_ID {
            return None;
        }
        Some(Action::Reply(Reply {
            from: self.addressee(head.to.as_deref()),
            to: to.into_owned(),
            body: Body::Error {
                id: head.id.into_owned(),
                error: StanzaError::JidMalformed,
            },
        }))
    }

    /// Which address of ours was meant; the component's own when it is none.
    fn addressee(&self, to: Option<&str>) -> Jid {
        match to {
            Some(to) if to != self.domain.as_str() => {
                Jid::new(to).unwrap_or_else(|_| self.domain.clone())
            }
            _ => self.domain.clone(),
        }
    }

    /// What a request deserves.
    fn decide(&self, kind: &str, to: &Jid, content: Result<Content, Fault>) -> Decision {
        let content = content.map_err(|fault| match fault {
            Fault::TooLarge | Fault::TooDeep => (StanzaError::PolicyViolation, None),
            Fault::Malformed => (StanzaError::BadRequest, None),
        })?;
        if content.children != 1 {
            return Err((StanzaError::BadRequest, Some(OddStanza::Malformed)));
        }
        let unsupported = (
            StanzaError::ServiceUnavailable,
            Some(OddStanza::Unsupported),
        );
        if *to != self.domain {
            return Err(unsupported);
        }
        match (kind, content.request) {
            ("get", Some(Request::Ping)) => Ok(Granted::Result(ResultContent::Nothing)),
            ("get", Some(Request::Version)) => Ok(Granted::Result(ResultContent::Version)),
            ("get", Some(Request::DiscoInfo { node: None })) => Ok(Granted::Result(
                ResultContent::DiscoInfo(*self.extensions.read()),
            )),
            ("get", Some(Request::DiscoItems { node: None })) => {
                Ok(Granted::Result(ResultContent::DiscoItems))
            }
            ("get", Some(Request::DiscoInfo { .. } | Request::DiscoItems { .. })) => {
                Err((StanzaError::ItemNotFound, Some(OddStanza::Unsupported)))
            }
            (
                "set",
                Some(Request::Register {
                    application,
                    instance,
                    wish,
                }),
            ) => Ok(Granted::Register {
                application,
                instance,
                wish,
            }),
            (_, _) => Err(unsupported),
        }
    }

    fn act(&self, decision: Decision, from: Jid, to: Jid, id: String) -> Option<Action<'static>> {
        let body = match decision {
            Ok(Granted::Register {
                application,
                instance,
                wish,
            }) => {
                return Some(Action::Register(RegisterRequest {
                    from,
                    id,
                    application,
                    instance,
                    wish,
                }));
            }
            Ok(Granted::Result(content)) => Body::Result { id, content },
            Err((error, odd)) => {
                odd.map(|odd| self.odd(odd));
                Body::Error { id, error }
            }
        };
        Some(Action::Reply(Reply {
            from: to,
            to: from.into_inner(),
            body,
        }))
    }

    fn presence(&self, head: Head) -> Option<Action<'static>> {
        let Some(from) = head.from.as_deref().and_then(sender) else {
            return self.odd(OddStanza::Malformed);
        };
        let to = self.addressee(head.to.as_deref());
        if to != self.domain {
            return self.odd(OddStanza::Unsupported);
        }
        let reply = |body| {
            Some(Action::Reply(Reply {
                from: to,
                to: from.to_string(),
                body,
            }))
        };
        match &*head.r#type {
            "" => Some(Action::Presence {
                from,
                available: true,
            }),
            "unavailable" => Some(Action::Presence {
                from,
                available: false,
            }),
            // There is nothing to see: we are there for whoever registers.
            "subscribe" => reply(Body::Unsubscribed),
            "probe" => reply(Body::Unavailable),
            "subscribed" | "unsubscribe" | "unsubscribed" | "error" => None,
            _ => self.odd(OddStanza::Malformed),
        }
    }
}

/// A refusal, and what it is counted as unless it has been already.
type Decision = Result<Granted, (StanzaError, Option<OddStanza>)>;

enum Granted {
    Result(ResultContent),
    Register {
        application: Option<String>,
        instance: Option<String>,
        wish: Wish,
    },
}

/// The server fills `from` in, and has brought it into its normal form. What we would fold further is an
/// account of its own there, and would be somebody else's here: servers leave alone what Unicode 3.2 did
/// not know (RFC 3454 §7), while our tables are newer.
fn sender(from: &str) -> Option<Jid> {
    Jid::new(from).ok().filter(|jid| jid.as_str() == from)
}

/// What an error means for a push. Only the phone's own two conditions say anything about the
/// registration.
fn failure(content: Result<Content, Fault>) -> Answer {
    let condition = content.ok().and_then(|content| content.condition);
    match condition.as_deref() {
        Some("item-not-found" | "feature-not-implemented") => Answer::NotRegistered,
        Some("service-unavailable" | "recipient-unavailable" | "gone") => Answer::Unreachable,
        _ => Answer::Failed,
    }
}

fn end(content: Result<Content, Fault>) -> Loss {
    let content = content.unwrap_or_default();
    Loss::StreamError {
        condition: content
            .condition
            .unwrap_or_else(|| "undefined-condition".into()),
        text: content.text,
    }
}

#[cfg(test)]
mod tests;
