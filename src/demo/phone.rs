//! A simulated phone that does what Conversations does: it registers the digests of its apps and
//! answers pushes for them.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use jid::Jid;
use tokio::sync::{mpsc, oneshot};
use xmpp_parsers::minidom::Element;

use super::{
    router::Router,
    state::{Behaviour, PhoneState, Push, escape},
};
use crate::model::registration;

/// How many pushes may wait to be looked at.
const PUSHES: usize = 1024;

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

impl Phone {
    /// Goes online.
    pub(super) fn new(jid: Jid, router: Arc<Router>) -> Self {
        let (sender, pushes) = mpsc::channel(PUSHES);
        router.phones().insert(jid.clone(), PhoneState::new(sender));
        Self {
            jid,
            router,
            pushes,
            next_id: AtomicU64::new(0),
        }
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
        self.with_state(|state| state.register(pair));
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
        self.with_state(|state| state.expect(id.clone(), sender));
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
        self.with_state(|state| state.behave(behaviour));
    }

    /// Forgets its apps, as after they were uninstalled.
    pub fn forget(&self) {
        self.with_state(PhoneState::forget);
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

/// How a phone names an app to us: nobody else can tell which it is.
fn digest(name: &str) -> String {
    let salted = format!("account\0{name}");
    STANDARD.encode(ring::digest::digest(
        &ring::digest::SHA256,
        salted.as_bytes(),
    ))
}
