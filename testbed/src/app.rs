//! What a phone knows of its apps, and what it says to a push: the same at a real server and at
//! [`FakeServer`](crate::FakeServer)'s.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::Uri;
use ring::digest::{SHA256, digest};

use crate::xml::{Element, STANZA_ERRORS};

pub const NS: &str = "http://gultsch.de/xmpp/drafts/unified-push";

/// What names an application and its instance to the phone: digests, as Conversations makes them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pair {
    pub application: String,
    pub instance: String,
}

impl Pair {
    pub fn of(account: &str, application: &str) -> Self {
        let hash = |value| {
            let text = format!("{account}\0{value}");
            STANDARD.encode(digest(&SHA256, text.as_bytes()))
        };
        Self {
            application: hash(application),
            instance: hash("instance of it"),
        }
    }

    /// The request for its endpoint.
    pub fn register(&self) -> String {
        let (application, instance) = (&self.application, &self.instance);
        format!("<register xmlns='{NS}' application='{application}' instance='{instance}'/>")
    }
}

/// What the phone does with a push.
#[derive(Clone, Copy, Debug, Default)]
pub enum Behaviour {
    #[default]
    Conversations,
    Silent,
    /// Answers as Conversations, so much later.
    Late(Duration),
    Refuse {
        kind: &'static str,
        condition: &'static str,
    },
}

impl Behaviour {
    /// As the server says for a phone that is not there.
    pub const OFFLINE: Self = Self::Refuse {
        kind: "cancel",
        condition: "service-unavailable",
    };
}

#[derive(Debug)]
pub struct Registered {
    pub endpoint: String,
    pub expires: SystemTime,
}

impl Registered {
    /// Checks the answer to a registration as the phone does, which drops what it does not like.
    pub fn of(answer: &Element) -> Result<Self, Refusal> {
        if answer.is("iq", "error") {
            return Err(Refusal::of(answer));
        }
        let registered = answer.child("registered", NS).expect("registered");
        let endpoint = registered.attr("endpoint").expect("an endpoint");
        let expiration = registered.attr("expiration").expect("an expiration");
        let url = endpoint.parse::<Uri>().expect("a URL");
        assert!(matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some());
        assert!(endpoint.len() <= 1000, "{} bytes", endpoint.len());
        let whole_seconds = "YYYY-MM-DDTHH:MM:SSZ".len();
        assert!(expiration.ends_with('Z') && expiration.len() == whole_seconds);
        Ok(Self {
            endpoint: endpoint.to_owned(),
            expires: humantime::parse_rfc3339(expiration).expect("XEP-0082"),
        })
    }
}

/// A stanza error.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    pub kind: String,
    pub condition: String,
    pub text: Option<String>,
}

impl Refusal {
    pub fn of(stanza: &Element) -> Self {
        let error = stanza.children.iter().find(|child| child.name == "error");
        let error = error.expect("an error stanza");
        let defined = |child: &&Element| child.namespace == STANZA_ERRORS && child.name != "text";
        let condition = error.children.iter().find(defined);
        let text = error.child("text", STANZA_ERRORS);
        Self {
            kind: error.attr("type").expect("an error type").to_owned(),
            condition: condition.expect("a condition").name.clone(),
            text: text.map(|text| text.text.clone()),
        }
    }

    pub fn is(&self, kind: &str, condition: &str) -> bool {
        self.kind == kind && self.condition == condition
    }
}

/// A push as it reached the phone.
#[derive(Debug)]
pub struct Push {
    pub from: String,
    pub id: String,
    pub pair: Pair,
    pub payload: Vec<u8>,
    pub taken: Taken,
}

/// What the phone said to a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    Acknowledged,
    Silently,
    Refused,
}

/// Where pushes go as they arrive.
pub type Log = Arc<dyn Fn(Push) + Send + Sync>;

/// The apps that a phone has registered, and what it does with their pushes.
#[derive(Default)]
pub struct Apps {
    pub known: Vec<Pair>,
    pub behaviour: Behaviour,
}

/// An IQ of the phone, and how long it takes until it sends it.
pub type Reply = (Duration, String);

impl Apps {
    /// Takes an IQ that asks something. Gives the push in it, if there is one that can be read, and
    /// the answer, if there is one at all.
    pub fn take(&self, iq: &Element) -> (Option<Push>, Option<Reply>) {
        let refused = |kind, condition| Some((Duration::ZERO, iq.refuse(kind, condition)));
        let Some(push) = iq.child("push", NS) else {
            return (None, refused("cancel", "feature-not-implemented"));
        };
        if iq.children.len() > 1 {
            return (None, refused("modify", "bad-request"));
        }
        let unknown = || refused("cancel", "item-not-found");
        let pair = push.attr("application").zip(push.attr("instance"));
        let (Some((application, instance)), Ok(payload)) = (pair, STANDARD.decode(&push.text))
        else {
            return (None, unknown());
        };
        let known = |pair: &Pair| pair.application == application && pair.instance == instance;
        let result = |delay| Some((delay, iq.reply("result", "")));
        let (taken, reply) = match self.behaviour {
            Behaviour::Silent => (Taken::Silently, None),
            Behaviour::Refuse { kind, condition } => (Taken::Refused, refused(kind, condition)),
            _ if !self.known.iter().any(known) => (Taken::Refused, unknown()),
            Behaviour::Late(delay) => (Taken::Acknowledged, result(delay)),
            Behaviour::Conversations => (Taken::Acknowledged, result(Duration::ZERO)),
        };
        let push = Push {
            from: iq.attr("from").expect("from somebody").to_owned(),
            id: iq.attr("id").expect("an id").to_owned(),
            pair: Pair {
                application: application.to_owned(),
                instance: instance.to_owned(),
            },
            payload,
            taken,
        };
        (Some(push), reply)
    }
}
