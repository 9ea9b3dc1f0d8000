//! An XMPP server within the test, with phones that come and go faster than real servers allow. It
//! does to stanzas what Prosody and ejabberd do: no session, an error at once; a hibernating one
//! (XEP-0198) queues them, and its end bounces them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    Account, PATIENCE, Random,
    app::{Apps, Behaviour, Log, NS, Pair, Refusal, Registered},
    xml::Element,
};

mod link;
mod phone;

pub use self::phone::FakePhone;

/// How long a phone without a connection is kept.
pub const HIBERNATION: Duration = Duration::from_millis(1200);

/// Everybody's connection ends when it is dropped.
pub struct FakeServer {
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
    apps: Apps,
    log: Log,
    announced: bool,
    /// What came since it hibernates.
    asleep: Option<Vec<Element>>,
    /// Which time it does.
    sleeps: u64,
}

impl FakeServer {
    /// For one connection of this component at a time; another waits until that has ended.
    pub async fn start(account: Account) -> Self {
        Self::with(account, None).await
    }

    /// For any number of connections at a time, as ejabberd: each stanza goes to one of them, and
    /// the seed decides to which.
    pub async fn for_many(account: Account, seed: u64) -> Self {
        Self::with(account, Some(seed)).await
    }

    async fn with(account: Account, seed: Option<u64>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State {
            account,
            running: true,
            components: Vec::new(),
            sessions: HashMap::new(),
            asked: HashMap::new(),
            next_id: 0,
            random: Random::new(seed.unwrap_or_default(), 3),
        }));
        let task = tokio::spawn(link::serve(listener, state.clone(), seed.is_some()));
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

    /// A phone goes online with this full JID.
    pub fn phone(&self, jid: &str) -> FakePhone {
        /// Pushes that nobody looks at are lost once so many wait.
        const PUSHES: usize = 1024;
        let (arrived, pushes) = mpsc::channel(PUSHES);
        let log = move |push| drop(arrived.try_send(push));
        self.bind(jid, Vec::new(), Arc::new(log));
        FakePhone {
            jid: jid.to_owned(),
            pushes,
            state: self.state.clone(),
        }
    }

    /// Instead of the session that had this JID, if there was one.
    pub fn bind(&self, jid: &str, known: Vec<Pair>, log: Log) {
        let mut state = self.state();
        state.end(jid);
        let behaviour = Behaviour::default();
        let session = Session {
            apps: Apps { known, behaviour },
            log,
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
        session.apps.behaviour = Behaviour::default();
        for stanza in session.asleep.take().unwrap_or_default() {
            state.deliver(jid, stanza, &self.state);
        }
        true
    }

    pub fn behave(&self, jid: &str, behaviour: Behaviour) {
        self.state().behave(jid, behaviour);
    }

    pub fn announce(&self, jid: &str) {
        self.state().announce(jid);
    }

    /// The endpoint.
    pub async fn register(&self, jid: &str, pair: &Pair) -> String {
        let registered = register(&self.state, jid, pair).await;
        registered.expect("accepted").endpoint
    }

    /// Sends an IQ as it is written, of a phone that is online, and awaits its answer. What the phone
    /// registers it knows from then on.
    pub async fn say(&self, iq: &str) -> Element {
        let stanza = Element::parse(iq).await;
        let attr = |element: &Element, name| element.attr(name).unwrap_or_default().to_owned();
        if let Some(register) = stanza.child("register", NS) {
            let pair = Pair {
                application: attr(register, "application"),
                instance: attr(register, "instance"),
            };
            let mut state = self.state();
            let session = state.sessions.get_mut(&attr(&stanza, "from"));
            session.expect("it is online").apps.known.push(pair);
        }
        let answer = exchange(&self.state, attr(&stanza, "id"), iq.to_owned()).await;
        answer.expect("a server's answer in time")
    }

    /// Registers again what the phone knows. None when no answer comes.
    pub async fn renew(&self, jid: &str, pair: &Pair) -> Option<Result<Registered, Refusal>> {
        let answer = try_ask(&self.state, jid, "set", &pair.register()).await;
        answer.as_ref().map(Registered::of)
    }

    /// Sends raw XML to the component, as any stranger's server might pass it on.
    pub async fn inject(&self, xml: String) {
        let component = self.state().component();
        if let Some(component) = component {
            let _ = component.send(xml).await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

async fn register(state: &Mutex<State>, jid: &str, pair: &Pair) -> Result<Registered, Refusal> {
    {
        let mut state = state.lock().unwrap();
        let session = state.sessions.get_mut(jid).expect("a phone that is online");
        session.apps.known.push(pair.clone());
    }
    Registered::of(&ask(state, jid, "set", &pair.register()).await)
}

async fn ask(state: &Mutex<State>, jid: &str, kind: &str, content: &str) -> Element {
    let answer = try_ask(state, jid, kind, content).await;
    answer.expect("a server's answer in time")
}

/// None when there is no answer in time, or the server stops before.
async fn try_ask(state: &Mutex<State>, jid: &str, kind: &str, content: &str) -> Option<Element> {
    let (id, iq) = {
        let mut state = state.lock().unwrap();
        state.next_id += 1;
        let id = format!("phone-{}", state.next_id);
        let to = &state.account.domain;
        let iq = format!("<iq type='{kind}' id='{id}' from='{jid}' to='{to}'>{content}</iq>");
        (id, iq)
    };
    exchange(state, id, iq).await
}

/// None when there is no answer in time, or the server stops before.
async fn exchange(state: &Mutex<State>, id: String, iq: String) -> Option<Element> {
    let (answered, answer) = oneshot::channel();
    let component = {
        let mut state = state.lock().unwrap();
        state.asked.insert(id, answered);
        state.component()
    };
    if let Some(component) = component {
        let _ = component.send(iq).await;
    }
    timeout(PATIENCE, answer).await.ok()?.ok()
}

impl State {
    /// One of the connections, as ejabberd chooses.
    fn component(&mut self) -> Option<mpsc::Sender<String>> {
        self.components.retain(|component| !component.is_closed());
        let count = self.components.len();
        (count > 0).then(|| self.components[self.random.below(count)].clone())
    }

    /// What nobody takes is lost: its sender gets an error, which phones do not look at.
    fn tell_component(&mut self, xml: String) {
        if let Some(component) = self.component() {
            let _ = component.try_send(xml);
        }
    }

    fn behave(&mut self, jid: &str, behaviour: Behaviour) {
        if let Some(session) = self.sessions.get_mut(jid) {
            session.apps.behaviour = behaviour;
        }
    }

    /// Directed presence to the component.
    fn announce(&mut self, jid: &str) {
        if let Some(session) = self.sessions.get_mut(jid) {
            session.announced = true;
            let presence = format!("<presence from='{jid}' to='{}'/>", self.account.domain);
            self.tell_component(presence);
        }
    }

    fn end(&mut self, jid: &str) {
        let Some(session) = self.sessions.remove(jid) else {
            return;
        };
        for stanza in session.asleep.into_iter().flatten() {
            let bounced = stanza.refuse("cancel", "recipient-unavailable");
            self.tell_component(from(jid, &bounced));
        }
        if session.announced {
            let domain = &self.account.domain;
            let presence = format!("<presence type='unavailable' from='{jid}' to='{domain}'/>");
            self.tell_component(presence);
        }
    }

    fn route(&mut self, stanza: Element, shared: &Arc<Mutex<State>>) {
        let to = stanza.attr("to").expect("a stanza to somebody").to_owned();
        let asks = matches!(stanza.attr("type"), Some("get" | "set"));
        if self.sessions.contains_key(&to) {
            self.deliver(&to, stanza, shared);
        } else if to == self.account.domain {
            self.tell_component(stanza.written());
        } else if asks && stanza.child("ping", "urn:xmpp:ping").is_some() {
            self.tell_component(from(&to, &stanza.reply("result", "")));
        } else if asks {
            let refused = stanza.refuse("cancel", "service-unavailable");
            self.tell_component(from(&to, &refused));
        }
    }

    fn deliver(&mut self, jid: &str, stanza: Element, shared: &Arc<Mutex<State>>) {
        let session = self.sessions.get_mut(jid).expect("only to who is there");
        if let Some(queue) = &mut session.asleep {
            queue.push(stanza);
        } else if stanza.is("iq", "set") {
            let (push, reply) = session.apps.take(&stanza);
            push.map(&*session.log);
            if let Some((delay, reply)) = reply {
                self.reply(jid, delay, from(jid, &reply), shared);
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

/// An IQ of a client, with what its server adds.
fn from(jid: &str, iq: &str) -> String {
    iq.replacen("<iq ", &format!("<iq from='{jid}' "), 1)
}
