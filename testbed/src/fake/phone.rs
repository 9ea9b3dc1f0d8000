//! A phone of a server within the test.

use std::sync::{Arc, Mutex};

use tokio::{sync::mpsc, time::timeout};

use super::{State, ask, register};
use crate::{
    PATIENCE,
    app::{Behaviour, Pair, Push, Refusal, Registered},
    xml::Element,
};

/// A phone of a [`FakeServer`](super::FakeServer), online for as long as nothing else is said.
pub struct FakePhone {
    pub(super) jid: String,
    pub(super) pushes: mpsc::Receiver<Push>,
    pub(super) state: Arc<Mutex<State>>,
}

impl FakePhone {
    pub async fn register(&self, application: &str) -> Result<Registered, Refusal> {
        register(&self.state, &self.jid, &Pair::of(&self.jid, application)).await
    }

    /// Sends an IQ to the component and awaits its answer.
    pub async fn ask(&self, kind: &str, content: &str) -> Element {
        ask(&self.state, &self.jid, kind, content).await
    }

    pub fn announce(&self) {
        self.state.lock().unwrap().announce(&self.jid);
    }

    pub fn behave(&self, behaviour: Behaviour) {
        self.state.lock().unwrap().behave(&self.jid, behaviour);
    }

    /// Forgets its apps, as after they were uninstalled.
    pub fn forget(&self) {
        let mut state = self.state.lock().unwrap();
        let session = state.sessions.get_mut(&self.jid);
        session.expect("it is online").apps.known.clear();
    }

    /// The next push that arrives, acknowledged or not.
    pub async fn push(&mut self) -> Push {
        let push = timeout(PATIENCE, self.pushes.recv()).await;
        push.expect("a push in time").expect("an open connection")
    }
}
