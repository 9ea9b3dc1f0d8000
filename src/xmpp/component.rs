//! The one task that owns the connection: connects for ever, and tells how the link is. What it
//! does while connected is `up`'s.

use std::{sync::Arc, time::Duration};

use jid::BareJid;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

pub use super::backoff::Pauses;
use super::{
    backoff::Backoff,
    loss::Loss,
    report::Reporter,
    stream::{self, Connection},
    up::Up,
};
use crate::{
    link::{Inbound, PushStanza, RegisterReply},
    metrics::{LinkState, Metrics},
    model::{random::Random, secret::Secret},
};

/// How many pushes may wait for the writer.
const PUSHES: usize = 1024;

/// How many answers to registrations may wait for the writer.
const REPLIES: usize = 64;

#[derive(Debug)]
pub struct LinkSettings {
    pub domain: BareJid,
    /// Looked at for each connection; a change ends the pause before the next one.
    pub login: watch::Receiver<Login>,
    pub timings: Timings,
}

/// Where the server is and how to log in there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// A name or an IP address.
    pub host: String,
    pub port: u16,
    pub secret: Secret,
}

#[derive(Clone, Debug)]
pub struct Timings {
    /// For resolving the host and for connecting to each of its addresses.
    pub connect: Duration,
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

/// What the rest of the daemon holds of the link.
#[derive(Clone)]
pub struct LinkHandle {
    /// Whose sender waits uses `try_send`: a full queue is an answer.
    pub pushes: mpsc::Sender<PushStanza>,
    /// Goes out before any push.
    pub replies: mpsc::Sender<RegisterReply>,
    pub state: watch::Receiver<LinkState>,
}

/// The link before it runs.
pub struct LinkTask {
    pub(super) settings: LinkSettings,
    pub(super) metrics: Arc<Metrics>,
    pub(super) random: Arc<dyn Random>,
    pub(super) pushes: mpsc::Receiver<PushStanza>,
    pub(super) replies: mpsc::Receiver<RegisterReply>,
    state: watch::Sender<LinkState>,
}

/// Makes the two ends. They are apart because what takes the link's answers needs the handle.
pub fn channel(
    settings: LinkSettings,
    metrics: Arc<Metrics>,
    random: Arc<dyn Random>,
) -> (LinkHandle, LinkTask) {
    let (push_sender, pushes) = mpsc::channel(PUSHES);
    let (reply_sender, replies) = mpsc::channel(REPLIES);
    let (state, state_receiver) = watch::channel(LinkState::Connecting);
    metrics.link_state.set(LinkState::Connecting);
    let handle = LinkHandle {
        pushes: push_sender,
        replies: reply_sender,
        state: state_receiver,
    };
    let task = LinkTask {
        settings,
        metrics,
        random,
        pushes,
        replies,
        state,
    };
    (handle, task)
}

impl LinkTask {
    /// Keeps the link up until the shutdown, which first sends what is queued.
    pub async fn run(mut self, inbound: Arc<dyn Inbound>, shutdown: CancellationToken) {
        let mut backoff = Backoff::new(self.settings.timings.pauses.clone());
        let mut reporter = Reporter::new(&self.settings);
        loop {
            let connection = tokio::select! {
                () = shutdown.cancelled() => return,
                connection = self.connect() => connection,
            };
            let (loss, was_of_use) = match connection {
                Err(loss) => {
                    self.set_state(loss.state());
                    (loss, false)
                }
                Ok(connection) => {
                    reporter.up(connection.peer);
                    let since = Instant::now();
                    let end = self.serve(connection, inbound.as_ref(), &shutdown).await;
                    let Err(loss) = end else { return };
                    (loss, since.elapsed() >= self.settings.timings.of_use_after)
                }
            };
            let pause = backoff.pause(loss.state(), was_of_use, self.random.as_ref());
            self.metrics.link_losses.inc(loss.state());
            reporter.lost(&loss, pause);
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = sleep(pause) => (),
                Ok(()) = self.settings.login.changed() => (),
                // Whoever sent it was, or is about to be, told that the link is down.
                () = discard(&mut self.pushes) => (),
            }
        }
    }

    fn set_state(&self, state: LinkState) {
        self.metrics.link_state.set(state);
        self.state.send_replace(state);
    }

    async fn connect(&mut self) -> Result<Connection, Loss> {
        let LinkSettings {
            domain,
            login,
            timings,
        } = &mut self.settings;
        let Login { host, port, secret } = login.borrow_and_update().clone();
        let stream = stream::connect(&host, port, timings.connect).await?;
        let login = stream::authenticate(stream, domain, &secret);
        match timeout(timings.handshake, login).await {
            Ok(connection) => connection,
            Err(_) => Err(Loss::HandshakeTimeout),
        }
    }

    /// One connection, from up to down. Ok: the shutdown ended it.
    async fn serve(
        &mut self,
        connection: Connection,
        inbound: &dyn Inbound,
        shutdown: &CancellationToken,
    ) -> Result<(), Loss> {
        self.discard_queued();
        self.set_state(LinkState::Up);
        inbound.link_up();
        let end = Up::new(self, connection, inbound).run(shutdown).await;
        // In this order: who still sees the link up and sends is told by link_down.
        let state = match &end {
            Ok(()) => LinkState::Connecting,
            Err(loss) => loss.state(),
        };
        self.set_state(state);
        self.discard_queued();
        inbound.link_down();
        end
    }

    fn discard_queued(&mut self) {
        while self.pushes.try_recv().is_ok() {}
    }
}

/// Never ends, whether or not anything is sent.
async fn discard(pushes: &mut mpsc::Receiver<PushStanza>) {
    while pushes.recv().await.is_some() {}
    std::future::pending().await
}

#[cfg(test)]
mod tests;
