//! A server with one component: passes stanzas between it and the phones, answers pings, and
//! bounces the rest.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, MutexGuard},
};

use jid::{BareJid, Jid};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use xmpp_parsers::{minidom::Element, ns};

use super::{
    phone::{Phone, PhoneState},
    wire::{Host, Wire},
};
use crate::model::sync::Mutex;
use crate::{model::secret::Secret, xmpp::writer};

/// How many stanzas may wait for the component.
const QUEUE: usize = 1024;

/// Ends when it is dropped.
pub struct Server {
    port: u16,
    router: Arc<Router>,
    _task: AbortOnDropHandle<()>,
}

/// Passes stanzas between the component and the phones, which it knows by full JID.
pub(super) struct Router {
    pub component: BareJid,
    pub to_component: mpsc::Sender<String>,
    phones: Mutex<HashMap<Jid, PhoneState>>,
}

impl Server {
    /// Listens on a free port of 127.0.0.1 for the component, and for the next one when
    /// that has gone.
    pub async fn start(component: BareJid, secret: Secret) -> io::Result<Self> {
        let host = Host::bind().await?;
        let (to_component, outgoing) = mpsc::channel(QUEUE);
        let router = Arc::new(Router {
            component,
            to_component,
            phones: Mutex::default(),
        });
        let port = host.port();
        let task = tokio::spawn(serve(host, secret, Arc::clone(&router), outgoing));
        Ok(Self {
            port,
            router,
            _task: AbortOnDropHandle::new(task),
        })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// A phone with this full JID goes online.
    pub fn phone(&self, jid: Jid) -> Phone {
        let (phone, state) = Phone::new(jid.clone(), Arc::clone(&self.router));
        self.router.phones().insert(jid, state);
        phone
    }

    /// Sends raw XML to the component, as any stranger's server might pass it on.
    pub async fn inject(&self, xml: &str) {
        // The task lives as long as we do.
        let _ = self.router.to_component.send(xml.to_owned()).await;
    }
}

impl Router {
    pub fn phones(&self) -> MutexGuard<'_, HashMap<Jid, PhoneState>> {
        self.phones.lock()
    }

    /// What comes back for a stanza of the component.
    fn route(self: &Arc<Self>, xml: &str) -> Option<String> {
        let stanza =
            Element::from_reader_with_prefixes(xml.as_bytes(), ns::COMPONENT.to_owned()).ok()?;
        let to = stanza.attr("to").and_then(|to| Jid::new(to).ok())?;
        if let Some(state) = self.phones().get_mut(&to) {
            return state.take(&stanza, self);
        }
        if to == self.component {
            return Some(xml.to_owned());
        }
        match stanza.attr("type") {
            Some("get") if stanza.has_child("ping", ns::PING) => {
                Some(answer(&stanza, "result", ""))
            }
            Some("get" | "set") => Some(error(&stanza, "service-unavailable")),
            _ => None,
        }
    }
}

async fn serve(
    host: Host,
    secret: Secret,
    router: Arc<Router>,
    mut outgoing: mpsc::Receiver<String>,
) {
    loop {
        // Whatever ends a connection, the component will be back.
        if let Ok(mut wire) = host.accept().await
            && let Ok(true) = wire.admit(&secret).await
        {
            let _ = exchange(&mut wire, &router, &mut outgoing).await;
        }
    }
}

async fn exchange(
    wire: &mut Wire,
    router: &Arc<Router>,
    outgoing: &mut mpsc::Receiver<String>,
) -> io::Result<()> {
    loop {
        tokio::select! {
            stanza = wire.receive() => {
                let Some(xml) = stanza? else { return Ok(()) };
                if let Some(reply) = router.route(&xml) {
                    wire.send(&reply).await?;
                }
            }
            Some(xml) = outgoing.recv() => wire.send(&xml).await?,
        }
    }
}

/// An iq that answers another one.
pub(super) fn answer(request: &Element, kind: &str, content: &str) -> String {
    let attribute = |name: &str| escape(request.attr(name).unwrap_or_default());
    format!(
        "<iq type='{kind}' id='{}' from='{}' to='{}'>{content}</iq>",
        attribute("id"),
        attribute("to"),
        attribute("from"),
    )
}

pub(super) fn error(request: &Element, condition: &str) -> String {
    let content = format!(
        "<error type='cancel'><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
    );
    answer(request, "error", &content)
}

pub(super) fn escape(text: &str) -> String {
    let mut out = Vec::new();
    writer::escaped(&mut out, text);
    String::from_utf8(out).expect("escaped text is text")
}
