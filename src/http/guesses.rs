//! Who asks for what does not exist: made-up endpoints and made-up messages. Everybody may a few times.

use std::sync::Arc;

use axum::response::Response;

use crate::{
    http::{answer, client::ClientKey, late::Late},
    metrics::PushResult,
    model::rate::Limiter,
};

/// How many refusals are late at a time.
const LATE_AT_ONCE: u32 = 256;

pub struct Guesses {
    /// Its owner calls [`forget_idle`](Limiter::forget_idle) now and then.
    limiter: Arc<Limiter>,
    late: Late,
}

impl Guesses {
    pub fn new(limiter: Arc<Limiter>) -> Self {
        Self {
            limiter,
            late: Late::new(LATE_AT_ONCE),
        }
    }

    /// Counts a guess. None: the client may go on. Otherwise it is refused, after a [wait](Self::wait), and
    /// its connection ends.
    pub fn refuse(&self, client: &ClientKey) -> Option<(PushResult, Response)> {
        if self.limiter.admit(client) {
            return None;
        }
        let (result, response) = answer::guessing();
        Some((result, answer::closing(response)))
    }

    pub async fn wait(&self) {
        self.late.wait().await;
    }
}
