//! A phone that behaves as Conversations does: it registers, checks what it gets as strictly as
//! the strictest of its releases, and answers pushes. It speaks raw XML, because the `component`
//! feature of xmpp-parsers changes the namespace of every stanza in the build.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use tokio::{
    io::AsyncWriteExt,
    net::tcp::OwnedWriteHalf,
    sync::{Mutex as AsyncMutex, mpsc, oneshot, watch},
    task::JoinHandle,
    time::timeout,
};

use crate::{
    PATIENCE, Server,
    app::{Apps, Behaviour, Log, Pair, Push, Refusal, Registered},
    xml::{Element, escape},
};

mod login;
mod reader;

pub use login::Stream;
use reader::Reader;

/// Of most phones: what a server makes of Conversations by Bind 2 (XEP-0386). Such a resource may hold
/// any character of base64.
const RESOURCE: &str = "Conversations~Nq/+Bk7zW0Tc";

/// What the phone and its reading task share.
struct Shared {
    write: AsyncMutex<OwnedWriteHalf>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    apps: Apps,
    /// Instead of [`Phone::push`].
    log: Option<Log>,
    waiting: HashMap<String, oneshot::Sender<Element>>,
    /// Stanzas received, as stream management counts them.
    handled: u32,
}

impl State {
    fn with(known: Vec<Pair>, log: Option<Log>) -> Self {
        let behaviour = Behaviour::default();
        Self {
            apps: Apps { known, behaviour },
            log,
            ..Self::default()
        }
    }
}

impl Shared {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// A connection that broke shows in [`Phone::closed`].
    async fn send(&self, xml: &str) {
        let write = async { self.write.lock().await.write_all(xml.as_bytes()).await };
        let _ = timeout(PATIENCE, write).await.expect("the server reads");
    }
}

pub struct Phone {
    /// The full JID.
    pub jid: String,
    /// What reached it beside pushes and answers.
    stanzas: mpsc::Receiver<Element>,
    pushes: mpsc::Receiver<Push>,
    closed: watch::Receiver<bool>,
    shared: Arc<Shared>,
    reading: JoinHandle<()>,
    resumption: Option<String>,
    next_id: u32,
}

impl Phone {
    pub async fn log_in(server: &Server, user: &str) -> Self {
        Self::log_in_at(server, user, RESOURCE).await
    }

    /// With another resource than the others have.
    pub async fn log_in_at(server: &Server, user: &str, resource: &str) -> Self {
        let mut stream = Stream::log_in(server, user).await;
        let jid = stream.bind(resource).await;
        Self::online(stream, jid, None, State::default()).await
    }

    /// A phone that has registered this earlier.
    pub async fn log_in_again(server: &Server, user: &str, pair: &Pair) -> Self {
        let mut stream = Stream::log_in(server, user).await;
        let jid = stream.bind(RESOURCE).await;
        let state = State::with(vec![pair.clone()], None);
        Self::online(stream, jid, None, state).await
    }

    /// One that its server keeps for a while when the connection is lost (XEP-0198).
    pub async fn log_in_resumable(server: &Server, user: &str) -> Self {
        let mut stream = Stream::log_in(server, user).await;
        let jid = stream.bind(RESOURCE).await;
        let resumption = stream.enable_resumption().await;
        Self::online(stream, jid, Some(resumption), State::default()).await
    }

    /// One that registered earlier, which its server keeps for a while, and whose pushes go to
    /// `log`, even when it is gone again.
    pub async fn come_back(
        server: &Server,
        user: &str,
        resource: &str,
        known: Vec<Pair>,
        log: Log,
    ) -> Self {
        let mut stream = Stream::log_in(server, user).await;
        let jid = stream.bind(resource).await;
        let resumption = stream.enable_resumption().await;
        let state = State::with(known, Some(log));
        Self::online(stream, jid, Some(resumption), state).await
    }

    async fn online(stream: Stream, jid: String, resumption: Option<String>, state: State) -> Self {
        let mut phone = Self::start(stream, jid, resumption, state);
        let roster = phone.iq("get", None, "<query xmlns='jabber:iq:roster'/>");
        roster.await;
        phone.send("<presence/>").await;
        phone
    }

    fn start(stream: Stream, jid: String, resumption: Option<String>, state: State) -> Self {
        let shared = Arc::new(Shared {
            write: AsyncMutex::new(stream.write),
            state: Mutex::new(state),
        });
        let (to_pushes, pushes) = mpsc::channel(1024);
        let (to_stanzas, stanzas) = mpsc::channel(1024);
        let (to_closed, closed) = watch::channel(false);
        let reader = Reader {
            shared: shared.clone(),
            pushes: to_pushes,
            stanzas: to_stanzas,
            closed: to_closed,
        };
        Self {
            jid,
            stanzas,
            pushes,
            closed,
            shared,
            reading: tokio::spawn(reader.run(stream.reader, stream.read)),
            resumption,
            next_id: 0,
        }
    }

    /// Registers and checks the answer as the phone does.
    pub async fn register(&mut self, service: &str, pair: &Pair) -> Result<Registered, Refusal> {
        // What waits for it may come as soon as the answer.
        self.remember(pair);
        let answer = self.iq("set", Some(service), &pair.register()).await;
        assert_eq!(answer.attr("from"), Some(service));
        Registered::of(&answer)
    }

    /// Registers again what it knows. None when no answer comes.
    pub async fn renew(
        &mut self,
        service: &str,
        pair: &Pair,
    ) -> Option<Result<Registered, Refusal>> {
        let answer = self.try_iq("set", Some(service), &pair.register()).await;
        answer.as_ref().map(Registered::of)
    }

    /// Forgets every registration, as when its apps are removed: the server learns of it with the
    /// next push.
    pub fn forget_all(&self) {
        self.shared.state().apps.known.clear();
    }

    /// As a phone does before it registers.
    pub fn remember(&self, pair: &Pair) {
        self.shared.state().apps.known.push(pair.clone());
    }

    pub fn behave(&self, behaviour: Behaviour) {
        self.shared.state().apps.behaviour = behaviour;
    }

    pub async fn push(&mut self) -> Push {
        let push = timeout(PATIENCE, self.pushes.recv()).await;
        push.expect("a push in time").expect("an open connection")
    }

    /// None when nothing has come so far.
    pub fn pushed_already(&mut self) -> Option<Push> {
        self.pushes.try_recv().ok()
    }

    /// Awaits that the phone has seen all that its server had for it.
    pub async fn catches_up(&mut self) {
        self.iq("get", None, "<query xmlns='jabber:iq:roster'/>")
            .await;
    }

    pub async fn acknowledge(&self, push: &Push) {
        let to = escape(&push.from);
        let id = escape(&push.id);
        self.send(&format!("<iq type='result' id='{id}' to='{to}'/>"))
            .await;
    }

    /// Sends a request and awaits its answer.
    pub async fn iq(&mut self, kind: &str, to: Option<&str>, payload: &str) -> Element {
        let answer = self.try_iq(kind, to, payload).await;
        answer.expect("an answer in time")
    }

    async fn try_iq(&mut self, kind: &str, to: Option<&str>, payload: &str) -> Option<Element> {
        self.next_id += 1;
        let id = format!("phone-{}", self.next_id);
        let (answered, answer) = oneshot::channel();
        self.shared.state().waiting.insert(id.clone(), answered);
        let to = to.map(|to| format!(" to='{to}'")).unwrap_or_default();
        self.send(&format!("<iq type='{kind}' id='{id}'{to}>{payload}</iq>"))
            .await;
        timeout(PATIENCE, answer).await.ok()?.ok()
    }

    /// Directed presence, sent on bind by a phone that has registrations.
    pub async fn announce(&self, service: &str) {
        self.send(&format!("<presence to='{service}'/>")).await;
    }

    /// Anything, well-formed or not.
    pub async fn send(&self, xml: &str) {
        self.shared.send(xml).await;
    }

    /// Awaits the first stanza beside pushes and answers that is as wanted; skips the others.
    pub async fn stanza(&mut self, wanted: impl Fn(&Element) -> bool) -> Element {
        let search = async {
            loop {
                let stanza = self.stanzas.recv().await.expect("an open connection");
                if wanted(&stanza) {
                    return stanza;
                }
            }
        };
        timeout(PATIENCE, search).await.expect("a stanza in time")
    }

    /// Awaits that the server ends the connection.
    pub async fn closed(&mut self) {
        let closed = timeout(PATIENCE, self.closed.wait_for(|closed| *closed)).await;
        closed.expect("the server closes").expect("a reading task");
    }

    /// Whether the connection still stands, as far as the phone can know.
    pub fn is_online(&self) -> bool {
        !*self.closed.borrow()
    }

    /// Goes offline in order.
    pub async fn log_out(mut self) {
        self.send("</stream:stream>").await;
        self.closed().await;
    }

    /// Loses its connection without a word.
    pub async fn vanish(mut self) -> Vanished {
        self.reading.abort();
        let _ = (&mut self.reading).await;
        let state = std::mem::take(&mut *self.shared.state());
        Vanished {
            jid: self.jid.clone(),
            resumption: self.resumption.take(),
            handled: state.handled,
            known: state.apps.known,
            log: state.log,
        }
    }
}

impl Drop for Phone {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

/// A phone whose connection is gone.
pub struct Vanished {
    jid: String,
    resumption: Option<String>,
    handled: u32,
    known: Vec<Pair>,
    log: Option<Log>,
}

impl Vanished {
    /// Comes back to the session that its server kept.
    pub async fn resume(self, server: &Server) -> Phone {
        let resumed = self.try_resume(server).await;
        resumed.expect("the server kept the session")
    }

    /// None when the server keeps the session no longer.
    pub async fn try_resume(self, server: &Server) -> Option<Phone> {
        let user = self.jid.split('@').next().expect("a full JID");
        let id = self.resumption.expect("a resumable session");
        let mut stream = Stream::log_in(server, user).await;
        if !stream.resume(&id, self.handled).await {
            return None;
        }
        let mut state = State::with(self.known, self.log);
        state.handled = self.handled;
        Some(Phone::start(stream, self.jid, Some(id), state))
    }
}
