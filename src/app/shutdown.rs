//! The order of a stop.

use std::time::Duration;

use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::warn;

use crate::delivery::Delivery;

/// How long what is in flight may take to end, and then the link and the admin listener to close:
/// longer than the longest wait for a phone.
const PATIENCE: Duration = Duration::from_secs(7);

/// The daemon stops in two phases, so that no push that was taken goes unanswered: the intake ends,
/// which answers and stores what is in flight, and only then the rest takes its farewell. Until
/// then the link is up and hears the answers of phones, and the admin listener tells how it goes.
pub struct Shutdown {
    /// The public listener. Its token is the caller's, for whom the stop begins with it.
    pub intake: Phase,
    /// The link and the admin listener.
    pub farewell: Phase,
}

/// What is stopped together.
pub struct Phase {
    /// Tells the tasks to end.
    pub token: CancellationToken,
    /// Those that are waited for.
    pub tasks: TaskTracker,
}

impl Shutdown {
    pub fn new(begins: CancellationToken) -> Self {
        Self {
            intake: Phase::new(begins),
            farewell: Phase::new(CancellationToken::new()),
        }
    }

    pub async fn run(self, delivery: &Delivery) {
        self.intake.token.cancel();
        delivery.stop();
        self.intake.ended().await;
        if timeout(PATIENCE, delivery.finish()).await.is_err() {
            warn!("the store did not accept the last updates, so some messages may arrive twice");
        }
        self.farewell.token.cancel();
        if timeout(PATIENCE, self.farewell.ended()).await.is_err() {
            warn!("the link to the XMPP server was not closed cleanly");
        }
    }
}

impl Phase {
    fn new(token: CancellationToken) -> Self {
        Self {
            token,
            tasks: TaskTracker::new(),
        }
    }

    async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}
