//! What passes stanzas between the component and the phones, answers pings, and bounces the rest.

use std::{collections::HashMap, sync::MutexGuard};

use jid::{BareJid, Jid};
use tokio::sync::mpsc;
use xmpp_parsers::{minidom::Element, ns};

use super::state::{PhoneState, answer, error};
use crate::model::sync::Mutex;

/// Knows the phones by full JID.
pub struct Router {
    pub component: BareJid,
    pub to_component: mpsc::Sender<String>,
    phones: Mutex<HashMap<Jid, PhoneState>>,
}

impl Router {
    pub fn new(component: BareJid, to_component: mpsc::Sender<String>) -> Self {
        Self {
            component,
            to_component,
            phones: Mutex::default(),
        }
    }

    pub fn phones(&self) -> MutexGuard<'_, HashMap<Jid, PhoneState>> {
        self.phones.lock()
    }

    /// What comes back for a stanza of the component.
    pub fn route(&self, xml: &str) -> Option<String> {
        let stanza =
            Element::from_reader_with_prefixes(xml.as_bytes(), ns::COMPONENT.to_owned()).ok()?;
        let to = stanza.attr("to").and_then(|to| Jid::new(to).ok())?;
        if let Some(state) = self.phones().get_mut(&to) {
            return state.take(&stanza, &self.to_component);
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
