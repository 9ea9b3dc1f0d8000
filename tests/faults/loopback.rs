//! An XMPP server within this process, with phones that come and go faster than real servers allow.
//! It does to stanzas what Prosody and ejabberd do: no session, an error at once; a hibernating one
//! (XEP-0198) queues them, and its end bounces them. Any number of connections may have the
//! component's name, and each stanza goes to one of them, as ejabberd does it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use tokio::{
    select,
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;
use unified_push::{
    demo::{Host, Wire},
    model::secret::Secret,
};
use xmpp_parsers::{minidom::Element, ns};

use crate::{
    phone::{Behaviour, Log, NS, Pair, Push, Taken},
    random::Random,
    server::{Account, DOMAIN},
};

/// How long a phone without a connection is kept.
pub const HIBERNATION: Duration = Duration::from_millis(1200);

const QUEUE: usize = 1 << 16;
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Loopback {
    pub port: u16,
    state: Arc<Mutex<State>>,
    _task: AbortOnDropHandle<()>,
}

struct State {
    account: Account,
    running: bool,
    components: Vec<mpsc::Sender<String>>,
    /// By full JID.
    sessions: HashMap<String, Session>,
    asked: HashMap<String, oneshot::Sender<Element>>,
    next_id: u64,
    random: Random,
}

struct Session {
    known: Vec<Pair>,
    log: Log,
    behaviour: Behaviour,
    announced: bool,
    /// What came since it hibernates.
    asleep: Option<Vec<Element>>,
    /// Which time it does.
    sleeps: u64,
}

impl Loopback {
    pub async fn start(account: Account, seed: u64) -> Self {
        let host = Host::bind().await.unwrap();
        let port = host.port();
        let state = Arc::new(Mutex::new(State {
            account,
            running: true,
            components: Vec::new(),
            sessions: HashMap::new(),
            asked: HashMap::new(),
            next_id: 0,
            random: Random::new(seed, 3),
        }));
        let task = tokio::spawn(serve(host, state.clone()));
        Self {
            port,
            state,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// Everybody's connection ends, and nobody gets in.
    pub fn stop(&self) {
        let mut state = self.state();
        state.running = false;
        state.components.clear();
        state.sessions.clear();
        state.asked.clear();
    }

    pub fn run(&self) {
        self.state().running = true;
    }

    /// Instead of the session that had this JID, if there was one.
    pub fn bind(&self, jid: &str, known: Vec<Pair>, log: Log) {
        let mut state = self.state();
        state.end(jid);
        let session = Session {
            known,
            log,
            behaviour: Behaviour::default(),
            announced: false,
            asleep: None,
            sleeps: 0,
        };
        state.sessions.insert(jid.to_owned(), session);
    }

    pub fn is_online(&self, jid: &str) -> bool {
        let state = self.state();
        let session = state.sessions.get(jid);
        session.is_some_and(|session| session.asleep.is_none())
    }

    pub fn leave(&self, jid: &str) {
        self.state().end(jid);
    }

    pub fn hibernate(&self, jid: &str) {
        let mut state = self.state();
        let Some(session) = state.sessions.get_mut(jid) else {
            return;
        };
        session.asleep = Some(Vec::new());
        session.sleeps += 1;
        let (sleeps, jid) = (session.sleeps, jid.to_owned());
        let shared = self.state.clone();
        tokio::spawn(async move {
            sleep(HIBERNATION).await;
            let mut state = shared.lock().unwrap();
            let session = state.sessions.get(&jid);
            if session.is_some_and(|it| it.asleep.is_some() && it.sleeps == sleeps) {
                state.end(&jid);
            }
        });
    }

    /// Whether the session was still there.
    pub fn resume(&self, jid: &str) -> bool {
        let mut state = self.state();
        let Some(session) = state.sessions.get_mut(jid) else {
            return false;
        };
        session.behaviour = Behaviour::default();
        for stanza in session.asleep.take().unwrap_or_default() {
            self.deliver(&mut state, jid, stanza);
        }
        true
    }

    pub fn behave(&self, jid: &str, behaviour: Behaviour) {
        if let Some(session) = self.state().sessions.get_mut(jid) {
            session.behaviour = behaviour;
        }
    }

    /// Directed presence to the component.
    pub fn announce(&self, jid: &str) {
        let mut state = self.state();
        if let Some(session) = state.sessions.get_mut(jid) {
            session.announced = true;
            let presence = format!("<presence from='{jid}' to='{}'/>", state.account.domain);
            state.tell_component(presence);
        }
    }

    /// The endpoint.
    pub async fn register(&self, jid: &str, pair: &Pair) -> String {
        let answer = {
            let mut state = self.state();
            let session = state.sessions.get_mut(jid).expect("a phone that is online");
            session.known.push(pair.clone());
            state.next_id += 1;
            let id = format!("phone-{}", state.next_id);
            let (answered, answer) = oneshot::channel();
            let iq = format!(
                "<iq type='set' id='{id}' from='{jid}' to='{}'><register xmlns='{NS}' \
                 application='{}' instance='{}'/></iq>",
                state.account.domain, pair.application, pair.instance
            );
            state.asked.insert(id, answered);
            state.tell_component(iq);
            answer
        };
        let answer = timeout(PATIENCE, answer).await;
        let answer = answer.expect("an answer in time").expect("a server");
        let registered = answer.get_child("registered", NS).expect("registered");
        registered.attr("endpoint").expect("an endpoint").to_owned()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn deliver(&self, state: &mut State, jid: &str, stanza: Element) {
        state.deliver(jid, stanza, &self.state);
    }
}

impl State {
    /// As ejabberd does it. What nobody takes is lost: its sender gets an error, which phones do
    /// not look at.
    fn tell_component(&mut self, xml: String) {
        self.components.retain(|component| !component.is_closed());
        if !self.components.is_empty() {
            let chosen = self.random.below(self.components.len());
            let _ = self.components[chosen].try_send(xml);
        }
    }

    fn end(&mut self, jid: &str) {
        let Some(session) = self.sessions.remove(jid) else {
            return;
        };
        for stanza in session.asleep.into_iter().flatten() {
            self.tell_component(error(&stanza, "cancel", "recipient-unavailable"));
        }
        if session.announced {
            let domain = &self.account.domain;
            let presence = format!("<presence type='unavailable' from='{jid}' to='{domain}'/>");
            self.tell_component(presence);
        }
    }

    fn route(&mut self, xml: &str, shared: &Arc<Mutex<State>>) {
        let parsed = Element::from_reader_with_prefixes(xml.as_bytes(), ns::COMPONENT.to_owned());
        let stanza = parsed.expect("the daemon sends XML");
        let to = stanza.attr("to").expect("a stanza to somebody").to_owned();
        if self.sessions.contains_key(&to) {
            self.deliver(&to, stanza, shared);
        } else if to == self.account.domain {
            self.tell_component(xml.to_owned());
        } else if to == DOMAIN && stanza.has_child("ping", ns::PING) {
            self.tell_component(answer(&stanza, "result", ""));
        } else if matches!(stanza.attr("type"), Some("get" | "set")) {
            self.tell_component(error(&stanza, "cancel", "service-unavailable"));
        }
    }

    fn deliver(&mut self, jid: &str, stanza: Element, shared: &Arc<Mutex<State>>) {
        let session = self.sessions.get_mut(jid).expect("only to who is there");
        if let Some(queue) = &mut session.asleep {
            queue.push(stanza);
            return;
        }
        if stanza.attr("type") == Some("set") {
            if let Some((delay, reply)) = session.push(&stanza) {
                self.reply(jid, delay, reply, shared);
            }
        } else if let Some(id) = stanza.attr("id")
            && let Some(waiting) = self.asked.remove(id)
        {
            let _ = waiting.send(stanza);
        }
    }

    fn reply(&mut self, jid: &str, delay: Duration, reply: String, shared: &Arc<Mutex<State>>) {
        if delay.is_zero() {
            self.tell_component(reply);
            return;
        }
        let (shared, jid) = (shared.clone(), jid.to_owned());
        tokio::spawn(async move {
            sleep(delay).await;
            let mut state = shared.lock().unwrap();
            let session = state.sessions.get(&jid);
            // A phone that is gone by then answers no more.
            if session.is_some_and(|session| session.asleep.is_none()) {
                state.tell_component(reply);
            }
        });
    }
}

impl Session {
    /// What it answers, and when.
    fn push(&self, iq: &Element) -> Option<(Duration, String)> {
        let push = iq.get_child("push", NS).expect("nothing else is asked");
        let attribute = |name| push.attr(name).unwrap_or_default().to_owned();
        let pair = Pair {
            application: attribute("application"),
            instance: attribute("instance"),
        };
        let known = self.known.contains(&pair);
        let verdict = match self.behaviour {
            Behaviour::Silent => None,
            Behaviour::Refuse { kind, condition } => Some(Err((kind, condition))),
            _ if !known => Some(Err(("cancel", "item-not-found"))),
            Behaviour::Late(delay) => Some(Ok(delay)),
            Behaviour::Conversations => Some(Ok(Duration::ZERO)),
        };
        (self.log)(Push {
            from: iq.attr("from").unwrap_or_default().to_owned(),
            id: iq.attr("id").unwrap_or_default().to_owned(),
            payload: STANDARD.decode(push.text()).expect("base64"),
            taken: match verdict {
                Some(Ok(_)) => Taken::Acknowledged,
                Some(Err(_)) => Taken::Refused,
                None => Taken::Silently,
            },
        });
        Some(match verdict? {
            Ok(delay) => (delay, answer(iq, "result", "")),
            Err((kind, condition)) => (Duration::ZERO, error(iq, kind, condition)),
        })
    }
}

async fn serve(host: Host, state: Arc<Mutex<State>>) {
    loop {
        let wire = host.accept().await.unwrap();
        tokio::spawn(attend(wire, state.clone()));
    }
}

/// One component's connection, from its handshake to its end.
async fn attend(mut wire: Wire, state: Arc<Mutex<State>>) {
    let secret = Secret::new(state.lock().unwrap().account.secret.clone());
    if !matches!(wire.admit(&secret).await, Ok(true)) {
        return;
    }
    let (to_component, mut outgoing) = mpsc::channel(QUEUE);
    {
        let mut state = state.lock().unwrap();
        if !state.running {
            return;
        }
        state.components.push(to_component);
    }
    loop {
        select! {
            stanza = wire.receive() => {
                let Ok(Some(xml)) = stanza else { return };
                let mut locked = state.lock().unwrap();
                // One that was read as the server stopped is lost.
                if !outgoing.is_closed() && locked.running {
                    locked.route(&xml, &state);
                }
            }
            xml = outgoing.recv() => {
                let Some(xml) = xml else { return };
                if wire.send(&xml).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn answer(request: &Element, kind: &str, content: &str) -> String {
    let attribute = |name| request.attr(name).unwrap_or_default();
    format!(
        "<iq type='{kind}' id='{}' from='{}' to='{}'>{content}</iq>",
        attribute("id"),
        attribute("to"),
        attribute("from"),
    )
}

fn error(request: &Element, kind: &str, condition: &str) -> String {
    let content = format!(
        "<error type='{kind}'><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
    );
    answer(request, "error", &content)
}
