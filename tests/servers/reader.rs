//! A phone's reading task: answers pushes as told, hands out the rest.

use std::{sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use tokio::{
    net::tcp::OwnedReadHalf,
    sync::{mpsc, watch},
    time::sleep,
};

use crate::{
    login::SM,
    phone::{Behaviour, NS, Pair, Push, Shared, Taken},
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
        } else if self.shared.state().log.is_none() {
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
            Some(Ok(delay)) => {
                let result = format!("<iq type='result' id='{id}' to='{to}'/>");
                match delay {
                    None => self.shared.send(&result).await,
                    Some(delay) => {
                        // A phone that is gone by then answers no more.
                        let shared = Arc::downgrade(&self.shared);
                        tokio::spawn(async move {
                            sleep(delay).await;
                            if let Some(shared) = shared.upgrade() {
                                shared.send(&result).await;
                            }
                        });
                    }
                }
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

    /// None: no answer at all. A result may have a delay.
    fn pushed(
        &self,
        iq: &Element,
        from: &str,
        push: &Element,
    ) -> Option<Result<Option<Duration>, Error>> {
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
        let (behaviour, known, log) = {
            let state = self.shared.state();
            let known = state.known.contains(&pair);
            (state.behaviour, known, state.log.clone())
        };
        let verdict = match behaviour {
            Behaviour::Silent => None,
            Behaviour::Refuse { kind, condition } => Some(Err((kind, condition))),
            _ if !known => Some(Err(UNKNOWN)),
            Behaviour::Late(delay) => Some(Ok(Some(delay))),
            Behaviour::Conversations => Some(Ok(None)),
        };
        let seen = Push {
            from: from.to_owned(),
            id: iq.attr("id").expect("an id").to_owned(),
            payload,
            taken: match verdict {
                Some(Ok(_)) => Taken::Acknowledged,
                Some(Err(_)) => Taken::Refused,
                None => Taken::Silently,
            },
        };
        match log {
            Some(log) => log(seen),
            None => self.pushes.try_send(seen).expect("a test that reads"),
        }
        verdict
    }
}

/// Type and condition.
type Error = (&'static str, &'static str);
