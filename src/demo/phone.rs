//! A simulated phone that does what Conversations does: it registers the digests of its apps and
//! answers pushes for them.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use jid::Jid;
use tokio::sync::{mpsc, oneshot};
use xmpp_parsers::minidom::Element;

use super::server::{Router, answer, error, escape};
use crate::model::registration;

/// How many pushes may wait to be looked at.
const PUSHES: usize = 1024;

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

/// The answer to a registration.
#[derive(Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub url: String,
    pub expiration: String,
}

/// The condition of a refused registration and its text.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    pub condition: String,
    pub text: String,
}

/// A phone as the demonstration and the tests use it; it is online for good.
pub struct Phone {
    jid: Jid,
    router: Arc<Router>,
    pushes: mpsc::Receiver<Push>,
    next_id: AtomicU64,
}

/// What a phone knows and does, kept by the server, which answers in its name.
pub(super) struct PhoneState {
    behaviour: Behaviour,
    registered: HashSet<(String, String)>,
    asked: HashMap<String, oneshot::Sender<Element>>,
    pushes: mpsc::Sender<Push>,
}

impl Phone {
    pub(super) fn new(jid: Jid, router: Arc<Router>) -> (Self, PhoneState) {
        let (sender, pushes) = mpsc::channel(PUSHES);
        let state = PhoneState {
            behaviour: Behaviour::Acknowledge,
            registered: HashSet::new(),
            asked: HashMap::new(),
            pushes: sender,
        };
        let phone = Self {
            jid,
            router,
            pushes,
            next_id: AtomicU64::new(0),
        };
        (phone, state)
    }

    /// Registers an app by name, and waits for the answer.
    pub async fn register(&self, application: &str, instance: &str) -> Result<Endpoint, Refused> {
        let pair = (digest(application), digest(instance));
        let content = format!(
            "<register xmlns='{}' application='{}' instance='{}'/>",
            registration::NS,
            pair.0,
            pair.1
        );
        self.with_state(|state| state.registered.insert(pair));
        let answer = self.ask("set", &content).await;
        if let Some(registered) = answer.get_child("registered", registration::NS) {
            let attribute = |name| registered.attr(name).unwrap_or_default().to_owned();
            return Ok(Endpoint {
                url: attribute("endpoint"),
                expiration: attribute("expiration"),
            });
        }
        let error = answer.children().find(|child| child.name() == "error");
        let parts = || error.iter().flat_map(|error| error.children());
        let condition = parts().find(|part| part.name() != "text");
        let text = parts().find(|part| part.name() == "text");
        Err(Refused {
            condition: condition.map_or(String::new(), |part| part.name().to_owned()),
            text: text.map_or(String::new(), Element::text),
        })
    }

    /// Sends an iq to the component and waits for its answer.
    pub async fn ask(&self, kind: &str, content: &str) -> Element {
        let id = format!("phone-{}", self.next_id.fetch_add(1, Ordering::Relaxed));
        let (sender, answer) = oneshot::channel();
        self.with_state(|state| state.asked.insert(id.clone(), sender));
        self.send(&format!(
            "<iq type='{kind}' id='{id}' from='{}' to='{}'>{content}</iq>",
            escape(self.jid.as_str()),
            self.router.component,
        ))
        .await;
        answer.await.expect("the server keeps the sender")
    }

    /// Directed presence, as phones send it to their push server.
    pub async fn presence(&self, available: bool) {
        self.send(&format!(
            "<presence{} from='{}' to='{}'/>",
            if available { "" } else { " type='unavailable'" },
            escape(self.jid.as_str()),
            self.router.component,
        ))
        .await;
    }

    pub fn behave(&self, behaviour: Behaviour) {
        self.with_state(|state| state.behaviour = behaviour);
    }

    /// Forgets its apps, as after they were uninstalled.
    pub fn forget(&self) {
        self.with_state(|state| state.registered.clear());
    }

    /// The next push that arrives, acknowledged or not.
    pub async fn push(&mut self) -> Push {
        self.pushes
            .recv()
            .await
            .expect("the server keeps the sender")
    }

    async fn send(&self, xml: &str) {
        // Without a server there is no answer, which is what a phone sees then.
        let _ = self.router.to_component.send(xml.to_owned()).await;
    }

    fn with_state<T>(&self, change: impl FnOnce(&mut PhoneState) -> T) -> T {
        let mut phones = self.router.phones();
        change(phones.get_mut(&self.jid).expect("it is online for ever"))
    }
}

impl PhoneState {
    /// Takes a stanza of the component; returns what it answers at once.
    pub fn take(&mut self, stanza: &Element, router: &Arc<Router>) -> Option<String> {
        match stanza.attr("type")? {
            "result" | "error" => {
                if let Some(waiting) = self.asked.remove(stanza.attr("id")?) {
                    // It may have given up.
                    let _ = waiting.send(stanza.clone());
                }
                None
            }
            "set" if stanza.name() == "iq" => self.push(stanza, router),
            _ => None,
        }
    }

    fn push(&mut self, iq: &Element, router: &Arc<Router>) -> Option<String> {
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
                let (late, to) = (answer(iq, "result", ""), router.to_component.clone());
                tokio::spawn(async move {
                    tokio::time::sleep(delay).await;
                    let _ = to.send(late).await;
                });
                None
            }
        }
    }
}

/// How a phone names an app to us: nobody else can tell which it is.
fn digest(name: &str) -> String {
    let salted = format!("account\0{name}");
    STANDARD.encode(ring::digest::digest(
        &ring::digest::SHA256,
        salted.as_bytes(),
    ))
}
