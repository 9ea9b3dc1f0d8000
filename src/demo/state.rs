//! What a simulated phone knows and does. The server keeps it, and answers in the phone's name.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use tokio::sync::{mpsc, oneshot};
use xmpp_parsers::minidom::Element;

use crate::{model::registration, xmpp::writer};

/// What the phone does about a push.
#[derive(Clone, Debug)]
pub enum Behaviour {
    /// Acknowledges what it knows; `item-not-found` for the rest.
    Acknowledge,
    AcknowledgeAfter(Duration),
    /// Takes it and never answers.
    Silent,
    /// Answers with this condition.
    Error(&'static str),
}

/// A push that arrived.
#[derive(Debug, PartialEq, Eq)]
pub struct Push {
    pub application: String,
    pub instance: String,
    pub payload: Vec<u8>,
}

/// What a phone knows and does, kept by the server, which answers in its name.
pub struct PhoneState {
    behaviour: Behaviour,
    registered: HashSet<(String, String)>,
    asked: HashMap<String, oneshot::Sender<Element>>,
    pushes: mpsc::Sender<Push>,
}

impl PhoneState {
    /// `pushes` takes what arrives.
    pub fn new(pushes: mpsc::Sender<Push>) -> Self {
        Self {
            behaviour: Behaviour::Acknowledge,
            registered: HashSet::new(),
            asked: HashMap::new(),
            pushes,
        }
    }

    pub fn behave(&mut self, behaviour: Behaviour) {
        self.behaviour = behaviour;
    }

    /// From now on it knows this application and instance.
    pub fn register(&mut self, pair: (String, String)) {
        self.registered.insert(pair);
    }

    /// Forgets all its registrations.
    pub fn forget(&mut self) {
        self.registered.clear();
    }

    /// It waits for the answer to this id.
    pub fn expect(&mut self, id: String, answer: oneshot::Sender<Element>) {
        self.asked.insert(id, answer);
    }

    /// Takes a stanza of the component; returns what it answers at once. Late answers go to
    /// `to_component`.
    pub fn take(
        &mut self,
        stanza: &Element,
        to_component: &mpsc::Sender<String>,
    ) -> Option<String> {
        match stanza.attr("type")? {
            "result" | "error" => {
                if let Some(waiting) = self.asked.remove(stanza.attr("id")?) {
                    // It may have given up.
                    let _ = waiting.send(stanza.clone());
                }
                None
            }
            "set" if stanza.name() == "iq" => self.push(stanza, to_component),
            _ => None,
        }
    }

    fn push(&mut self, iq: &Element, to_component: &mpsc::Sender<String>) -> Option<String> {
        let Some(push) = iq.get_child("push", registration::NS) else {
            return Some(error(iq, "feature-not-implemented"));
        };
        let attribute = |name| push.attr(name).unwrap_or_default().to_owned();
        let (application, instance) = (attribute("application"), attribute("instance"));
        let known = (self.registered).contains(&(application.clone(), instance.clone()));
        // Strict, as phones are: white space is not base64.
        let Ok(payload) = STANDARD.decode(push.text()) else {
            return Some(error(iq, "item-not-found"));
        };
        if !known {
            return Some(error(iq, "item-not-found"));
        }
        // Pushes that nobody looks at are lost once the queue is full.
        let _ = self.pushes.try_send(Push {
            application,
            instance,
            payload,
        });
        match self.behaviour {
            Behaviour::Acknowledge => Some(answer(iq, "result", "")),
            Behaviour::Silent => None,
            Behaviour::Error(condition) => Some(error(iq, condition)),
            Behaviour::AcknowledgeAfter(delay) => {
                let (late, to) = (answer(iq, "result", ""), to_component.clone());
                tokio::spawn(async move {
                    tokio::time::sleep(delay).await;
                    let _ = to.send(late).await;
                });
                None
            }
        }
    }
}

/// An iq that answers another one.
pub fn answer(request: &Element, kind: &str, content: &str) -> String {
    let attribute = |name: &str| escape(request.attr(name).unwrap_or_default());
    format!(
        "<iq type='{kind}' id='{}' from='{}' to='{}'>{content}</iq>",
        attribute("id"),
        attribute("to"),
        attribute("from"),
    )
}

pub fn error(request: &Element, condition: &str) -> String {
    let content = format!(
        "<error type='cancel'><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
    );
    answer(request, "error", &content)
}

pub fn escape(text: &str) -> String {
    let mut out = Vec::new();
    writer::escaped(&mut out, text);
    String::from_utf8(out).expect("escaped text is text")
}
