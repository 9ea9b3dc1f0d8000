//! The accept loop: HTTP/1 only, every wait bounded, so that no client can hold the daemon.

use std::{
    io::{self, ErrorKind},
    sync::Arc,
    time::Duration,
};

use tokio::time::sleep;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::warn;

use crate::{
    http::{
        Rules, Site,
        client::{ClientKey, is_trusted},
        connection::Connection,
        guests::{Guests, Room},
        listener::{Accepted, Listener},
    },
    metrics::Metrics,
    model::sync::Current,
};

/// How long to wait when the system is short of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub struct ServeSettings {
    pub room: Room,
    /// How many connections a client may have, and who is none. None: as many as there are.
    pub rules: Option<Arc<Current<Rules>>>,
    /// How long a header may take to arrive, a connection may idle between requests, and an answer
    /// may stay unread.
    pub patience: Duration,
    /// How long requests in flight may go on after the shutdown began.
    pub drain: Duration,
    pub metrics: Arc<Metrics>,
}

impl ServeSettings {
    /// For everybody.
    pub fn public(room: Room, rules: Arc<Current<Rules>>, metrics: Arc<Metrics>) -> Self {
        Self {
            room,
            rules: Some(rules),
            patience: Duration::from_secs(30),
            drain: Duration::from_secs(10),
            metrics,
        }
    }

    /// For health checks and scrapes, which come from a few places, ask at once and must always find
    /// a place.
    pub fn admin(connections: usize, metrics: Arc<Metrics>) -> Self {
        Self {
            room: Room {
                connections,
                reading: usize::MAX,
                grace: Duration::ZERO,
            },
            rules: None,
            patience: Duration::from_secs(5),
            drain: Duration::from_secs(10),
            metrics,
        }
    }

    /// Whose share of the connections one takes, and how large it is. A trusted proxy's and a Unix
    /// socket's are many clients', so they take nobody's.
    fn share(&self, accepted: &Accepted) -> (Option<ClientKey>, usize) {
        let (Accepted::Tcp(_, ip), Some(rules)) = (accepted, &self.rules) else {
            return (None, usize::MAX);
        };
        let rules = rules.read();
        let client = (!is_trusted(*ip, &rules.trusted_proxies)).then(|| ClientKey::new(*ip));
        (client, rules.connections_per_client)
    }
}

/// Serves until `shutdown`; then closes the listener and idle connections, and returns when the
/// requests in flight are answered or `drain` is over.
pub async fn serve(
    listener: Listener,
    site: Site,
    settings: ServeSettings,
    shutdown: CancellationToken,
) {
    let tasks = TaskTracker::new();
    let guests = Guests::new(settings.room, settings.metrics.clone());
    let connection = Connection {
        site: Arc::new(site),
        unread: settings.patience,
        drain: settings.drain,
        shutdown: shutdown.clone(),
    };
    // Those who are there at the shutdown have its own time.
    let patience = guests.lose_patience(settings.patience);
    let accept = async {
        loop {
            let accepted = accept(&listener).await;
            let (client, share) = settings.share(&accepted);
            if let Some(guest) = guests.admit(client, share).await {
                tasks.spawn(connection.clone().run(accepted, guest));
            }
        }
    };
    tokio::select! {
        () = accept => {}
        () = patience => {}
        () = shutdown.cancelled() => {}
    }
    drop(listener);
    tasks.close();
    tasks.wait().await;
}

/// Waits for a connection; an error of one client, or of the system's at the moment, is no reason
/// to stop.
async fn accept(listener: &Listener) -> Accepted {
    let mut warned = false;
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if is_clients_own(&error) => {}
            Err(error) => {
                if !warned {
                    warn!(%error, "cannot accept HTTP connections; trying again every second");
                    warned = true;
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_clients_own(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_of_descriptors_is_waited_for_and_a_clients_abort_is_not() {
        const EMFILE: i32 = 24;
        const ECONNABORTED: i32 = 103;
        assert!(!is_clients_own(&io::Error::from_raw_os_error(EMFILE)));
        assert!(is_clients_own(&io::Error::from_raw_os_error(ECONNABORTED)));
    }
}
