//! A phone's reading task: answers pushes as told, hands out the rest.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use tokio::{
    net::tcp::OwnedReadHalf,
    sync::{mpsc, watch},
};

use crate::{
    login::SM,
    phone::{Behaviour, NS, Pair, Push, Shared},
    xml::{Element, Received, StreamReader, escape},
};

pub struct Reader {
    pub shared: Arc<Shared>,
    pub pushes: mpsc::Sender<Push>,
    pub stanzas: mpsc::Sender<Element>,
    pub closed: watch::Sender<bool>,
}

impl Reader {
    pub async fn run(self, mut stream: StreamReader, mut socket: OwnedReadHalf) {
        while let Received::Stanza(stanza) = stream.next(&mut socket).await {
            self.take(stanza).await;
        }
        self.closed.send_replace(true);
    }

    async fn take(&self, stanza: Element) {
        if stanza.namespace == SM {
            if stanza.name == "r" {
                let handled = self.shared.state().handled;
                let ack = format!("<a xmlns='{SM}' h='{handled}'/>");
                self.shared.send(&ack).await;
            }
            return;
        }
        self.shared.state().handled += 1;
        let answer_to_us = stanza.is("iq", "result") || stanza.is("iq", "error");
        if answer_to_us && let Some(id) = stanza.attr("id") {
            let waiting = self.shared.state().waiting.remove(id);
            if let Some(waiting) = waiting {
                let _ = waiting.send(stanza);
                return;
            }
        }
        if stanza.is("iq", "set") {
            self.answer(&stanza).await;
        } else {
            self.stanzas.try_send(stanza).expect("a test that reads");
        }
    }

    async fn answer(&self, iq: &Element) {
        let Some(from) = iq.attr("from") else {
            // The server's own, such as a roster push, which it awaits no answer to.
            return;
        };
        let to = escape(from);
        let verdict = match iq.child("push", NS) {
            Some(push) => self.pushed(iq, from, push),
            None => Some(Err(("cancel", "feature-not-implemented"))),
        };
        let id = escape(iq.attr("id").expect("an id"));
        match verdict {
            None => {}
            Some(Ok(())) => {
                let result = format!("<iq type='result' id='{id}' to='{to}'/>");
                self.shared.send(&result).await;
            }
            Some(Err((kind, condition))) => {
                let error = format!(
                    "<iq type='error' id='{id}' to='{to}'><error type='{kind}'>\
                     <{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"
                );
                self.shared.send(&error).await;
            }
        }
    }

    /// None: no answer at all.
    fn pushed(&self, iq: &Element, from: &str, push: &Element) -> Option<Result<(), Error>> {
        const UNKNOWN: Error = ("cancel", "item-not-found");
        if iq.children.len() > 1 {
            return Some(Err(("modify", "bad-request")));
        }
        let pair = push.attr("application").zip(push.attr("instance"));
        let Some((application, instance)) = pair else {
            return Some(Err(UNKNOWN));
        };
        let pair = Pair {
            application: application.to_owned(),
            instance: instance.to_owned(),
        };
        let Ok(payload) = STANDARD.decode(&push.text) else {
            return Some(Err(UNKNOWN));
        };
        let (behaviour, known) = {
            let state = self.shared.state();
            (state.behaviour, state.known.contains(&pair))
        };
        let seen = Push {
            from: from.to_owned(),
            id: iq.attr("id").expect("an id").to_owned(),
            payload,
        };
        self.pushes.try_send(seen).expect("a test that reads");
        match behaviour {
            Behaviour::Silent => None,
            Behaviour::Refuse { kind, condition } => Some(Err((kind, condition))),
            Behaviour::Conversations if known => Some(Ok(())),
            Behaviour::Conversations => Some(Err(UNKNOWN)),
        }
    }
}

/// Type and condition.
type Error = (&'static str, &'static str);
