//! Refusals that come late: whoever sends one request after the other is slowed down by them, on however
//! many connections.

use std::time::Duration;

use tokio::{sync::Semaphore, time::sleep};

/// How late.
pub const LATE: Duration = Duration::from_secs(1);

/// So many at a time may be late. Beyond it they come at once.
pub struct Late(Semaphore);

impl Late {
    pub fn new(at_once: usize) -> Self {
        Self(Semaphore::new(at_once))
    }

    /// Waits before a refusal.
    pub async fn wait(&self) {
        if let Ok(_late) = self.0.try_acquire() {
            sleep(LATE).await;
        }
    }
}
