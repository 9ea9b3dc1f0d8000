//! Where the XMPP server is, and how patient the link is with it.

use std::{sync::Arc, time::Duration};

use jid::BareJid;
use tokio::sync::watch;

use super::backoff::Pauses;
use crate::{
    link::Extensions,
    model::{host::Host, secret::Secret, sync::Current},
    tls::Trust,
};

#[derive(Debug)]
pub struct LinkSettings {
    pub domain: BareJid,
    /// Looked at for each connection; a change ends the pause before the next one.
    pub login: watch::Receiver<Login>,
    /// As they are at the moment.
    pub extensions: Arc<Current<Extensions>>,
    pub timings: Timings,
}

/// Where the server is and how to log in there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    pub host: Host,
    /// Not used with a Unix socket.
    pub port: u16,
    /// None: without TLS.
    pub tls: Option<Trust>,
    pub secret: Secret,
}

#[derive(Clone, Debug)]
pub struct Timings {
    /// For resolving the host and for connecting to each of its addresses.
    pub connect: Duration,
    /// For TLS, and then for the component's handshake.
    pub handshake: Duration,
    /// After a ping that came back: when the next one goes out.
    pub ping_after: Duration,
    /// Silence after that which means that the server is gone. One that talks has twice as long.
    pub pong_within: Duration,
    /// How long the server may take no byte although some are waiting.
    pub write: Duration,
    /// A connection that lasted so long had been of use: its successor is not held back.
    pub of_use_after: Duration,
    pub pauses: Pauses,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            handshake: Duration::from_secs(10),
            ping_after: Duration::from_secs(25),
            pong_within: Duration::from_secs(15),
            write: Duration::from_secs(10),
            of_use_after: Duration::from_secs(10),
            pauses: Pauses::default(),
        }
    }
}
