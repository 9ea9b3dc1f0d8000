//! Refusals that come late: whoever sends one request after the other is slowed down by them, on however
//! many connections.

use std::time::Duration;

use tokio::{
    sync::Semaphore,
    time::{Instant, sleep_until},
};

use crate::model::sync::Mutex;

/// How late, at least; at most by another [`PACE`] for each of those that may be late at a time.
pub const LATE: Duration = Duration::from_secs(1);

/// Between two of them. Were all that were refused together told together, they would come back together,
/// and others wait behind them.
const PACE: Duration = Duration::from_millis(1);

/// So many at a time may be late. Beyond it they come at once.
pub struct Late {
    at_once: u32,
    places: Semaphore,
    /// When the last of them comes.
    last: Mutex<Option<Instant>>,
}

impl Late {
    pub fn new(at_once: u32) -> Self {
        Self {
            at_once,
            places: Semaphore::new(at_once as usize),
            last: Mutex::default(),
        }
    }

    /// Waits before a refusal.
    pub async fn wait(&self) {
        if let Ok(_late) = self.places.try_acquire() {
            sleep_until(self.next()).await;
        }
    }

    fn next(&self) -> Instant {
        let mut last = self.last.lock();
        let earliest = Instant::now() + LATE;
        // Those who leave before it is their turn do not make it later for the rest.
        let latest = earliest + PACE * self.at_once;
        let next = last.map_or(earliest, |last| (last + PACE).clamp(earliest, latest));
        *last = Some(next);
        next
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, StreamExt, stream::FuturesUnordered};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_refused_together_is_told_one_after_the_other() {
        let late = Late::new(100);
        let begun = Instant::now();
        let mut refusals: FuturesUnordered<_> = (0..100).map(|_| late.wait()).collect();
        let mut told = begun;
        assert!(refusals.next().await.is_some());
        assert!(begun.elapsed() >= LATE);
        while refusals.next().await.is_some() {
            assert!(told < Instant::now());
            told = Instant::now();
        }
        assert!(begun.elapsed() < 2 * LATE);
        late.wait().await;
        assert!(told.elapsed() >= LATE);
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_wait_makes_nobody_else_wait_longer() {
        let late = Late::new(100);
        for _ in 0..10_000 {
            assert!(late.wait().now_or_never().is_none());
        }
        let begun = Instant::now();
        late.wait().await;
        assert!(begun.elapsed() < 2 * LATE);
    }
}
