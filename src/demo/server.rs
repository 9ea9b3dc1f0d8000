//! A server with one component, which it serves again whenever it comes back.

use std::{io, sync::Arc};

use jid::{BareJid, Jid};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::{
    phone::Phone,
    router::Router,
    wire::{Host, Wire},
};
use crate::model::secret::Secret;

/// How many stanzas may wait for the component.
const QUEUE: usize = 1024;

/// Ends when it is dropped.
pub struct Server {
    port: u16,
    router: Arc<Router>,
    _task: AbortOnDropHandle<()>,
}

impl Server {
    /// Listens on a free port of 127.0.0.1 for the component, and for the next one when
    /// that has gone.
    pub async fn start(component: BareJid, secret: Secret) -> io::Result<Self> {
        let host = Host::bind().await?;
        let (to_component, outgoing) = mpsc::channel(QUEUE);
        let router = Arc::new(Router::new(component, to_component));
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
        Phone::new(jid, Arc::clone(&self.router))
    }

    /// Sends raw XML to the component, as any stranger's server might pass it on.
    pub async fn inject(&self, xml: &str) {
        // The task lives as long as we do.
        let _ = self.router.to_component.send(xml.to_owned()).await;
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
