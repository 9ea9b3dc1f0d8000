//! A phone's reading task: answers pushes as told, hands out the rest.

use std::{sync::Arc, time::Duration};

use tokio::{
    net::tcp::OwnedReadHalf,
    sync::{mpsc, watch},
    time::sleep,
};

use super::{Shared, login::SM};
use crate::{
    app::Push,
    xml::{Element, Received, StreamReader},
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
        if iq.attr("from").is_none() {
            // The server's own, such as a roster push, which it awaits no answer to.
            return;
        }
        let (push, reply, log) = {
            let state = self.shared.state();
            let (push, reply) = state.apps.take(iq);
            (push, reply, state.log.clone())
        };
        match (push, log) {
            (Some(push), Some(log)) => log(push),
            (Some(push), None) => self.pushes.try_send(push).expect("a test that reads"),
            (None, _) => {}
        }
        match reply {
            None => {}
            Some((Duration::ZERO, reply)) => self.shared.send(&reply).await,
            Some((delay, reply)) => {
                // A phone that is gone by then answers no more.
                let shared = Arc::downgrade(&self.shared);
                tokio::spawn(async move {
                    sleep(delay).await;
                    if let Some(shared) = shared.upgrade() {
                        shared.send(&reply).await;
                    }
                });
            }
        }
    }
}
