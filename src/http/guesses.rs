//! Who asks for what does not exist: made-up endpoints and made-up messages. Everybody may a few times.

use std::{sync::Arc, time::Duration};

use axum::response::Response;
use tokio::{sync::Semaphore, time::sleep};

use crate::{
    http::{answer, client::ClientKey},
    metrics::PushResult,
    model::rate::Limiter,
};

/// How late a refusal comes: whoever asks on one connection, one question at a time, is slowed down.
const LATE: Duration = Duration::from_secs(1);
/// How many refusals are late at a time. Beyond it they come at once.
const LATE_AT_ONCE: usize = 256;

pub struct Guesses {
    /// Its owner calls [`forget_idle`](Limiter::forget_idle) now and then.
    limiter: Arc<Limiter>,
    late: Semaphore,
}

impl Guesses {
    pub fn new(limiter: Arc<Limiter>) -> Self {
        Self {
            limiter,
            late: Semaphore::new(LATE_AT_ONCE),
        }
    }

    /// Counts a guess. None: the client may go on. Otherwise it is refused, late, and its connection ends.
    pub async fn refuse(&self, client: &ClientKey) -> Option<(PushResult, Response)> {
        if self.limiter.admit(client) {
            return None;
        }
        if let Ok(_late) = self.late.try_acquire() {
            sleep(LATE).await;
        }
        let (result, response) = answer::guessing();
        Some((result, answer::closing(response)))
    }
}
