//! The one task that owns the connection: connects for ever, and tells how the link is. What it
//! does while connected is `up`'s.

use std::sync::Arc;

use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    backoff::Backoff,
    loss::Loss,
    report::Reporter,
    session::Session,
    settings::LinkSettings,
    socket::{self, Peer, speaks_tls},
    stream::{self, Connection},
    up::{Queues, Up},
};
use crate::{
    link::{Inbound, PushStanza, RegisterReply},
    metrics::{LinkState, Metrics},
    model::random::{Random, random_array},
};

/// How many pushes may wait for the writer.
const PUSHES: usize = 1024;

/// How many answers to registrations may wait for the writer.
const REPLIES: usize = 64;

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
    settings: LinkSettings,
    metrics: Arc<Metrics>,
    random: Arc<dyn Random>,
    pushes: mpsc::Receiver<PushStanza>,
    replies: mpsc::Receiver<RegisterReply>,
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
        let mut reporter = Reporter::new(self.settings.domain.to_string());
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
                    reporter.up(&connection.peer);
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
            ..
        } = &mut self.settings;
        let login = login.borrow_and_update().clone();
        let socket = socket::open(&login, timings).await?;
        let peer = socket.peer.clone();
        let handshake = stream::authenticate(socket, domain, &login.secret);
        let connection = timeout(timings.handshake, handshake).await;
        match (connection.unwrap_or(Err(Loss::HandshakeTimeout)), peer) {
            (Err(loss), Peer::Tcp(address))
                if loss.may_be_tls() && speaks_tls(address, timings.handshake).await =>
            {
                Err(Loss::OnlyTls { address })
            }
            (connection, _) => connection,
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
        let queues = Queues {
            pushes: &mut self.pushes,
            replies: &mut self.replies,
        };
        let session = Session::new(
            self.settings.domain.clone(),
            Arc::clone(&self.metrics),
            Arc::clone(&self.settings.extensions),
            hex(random_array(self.random.as_ref())),
        );
        let up = Up::new(&self.settings, queues, session, connection, inbound);
        let end = up.run(shutdown).await;
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

fn hex(bytes: [u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(bytes))
}

/// Never ends, whether or not anything is sent.
async fn discard(pushes: &mut mpsc::Receiver<PushStanza>) {
    while pushes.recv().await.is_some() {}
    std::future::pending().await
}

#[cfg(test)]
mod tests;
