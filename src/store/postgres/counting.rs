//! When to count again: that reads whole tables, with all that PostgreSQL cannot remove from them.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    model::sync::Mutex,
    store::{
        error::{Failure, StoreError, StoreResult},
        registrations::Sizes,
    },
};

#[derive(Default)]
pub struct Counting(Mutex<Option<Counted>>);

#[derive(Clone, Copy)]
struct Counted {
    sizes: Sizes,
    again: Instant,
}

/// Beyond this, counting is slow.
const QUICK: Duration = Duration::from_secs(1);

/// How much of the time slow counting may take: one part of so many.
const SHARE: u32 = 100;

/// How long what was known last is said when the server takes too long to count.
const AFTER_TIMEOUT: Duration = Duration::from_secs(60);

impl Counting {
    /// What was counted last, while it is too soon to count again.
    pub fn spared(&self, now: Instant) -> Option<Sizes> {
        let counted = *self.0.lock();
        let counted = counted.filter(|counted| now < counted.again)?;
        Some(counted.sizes)
    }

    /// It was counted from `begun` on.
    pub fn note(&self, sizes: &StoreResult<Sizes>, begun: Instant) {
        let took = begun.elapsed();
        let (sizes, pause) = match sizes {
            Ok(sizes) if took > QUICK => (*sizes, took * SHARE),
            Err(StoreError::Failed(Failure::Postgres(failure))) if failure.is_timeout() => {
                let counted = *self.0.lock();
                let Some(counted) = counted else { return };
                (counted.sizes, AFTER_TIMEOUT)
            }
            Ok(sizes) => (*sizes, Duration::ZERO),
            Err(_) => return,
        };
        let again = Instant::now() + pause;
        *self.0.lock() = Some(Counted { sizes, again });
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const SIZES: Sizes = Sizes {
        registrations: 0,
        queued: 1,
        queued_bytes: 600,
        oldest: None,
        bytes: 8192,
    };

    #[tokio::test(start_paused = true)]
    async fn what_is_quick_is_counted_each_time() {
        let (counting, begun) = (Counting::default(), Instant::now());
        advance(QUICK).await;
        counting.note(&Ok(SIZES), begun);
        assert_eq!(counting.spared(Instant::now()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_slow_is_counted_seldom_and_known_meanwhile() {
        let (counting, begun) = (Counting::default(), Instant::now());
        advance(2 * QUICK).await;
        counting.note(&Ok(SIZES), begun);
        let (begun, pause) = (Instant::now(), 2 * QUICK * SHARE);
        let soon = begun + pause - Duration::from_millis(1);
        assert_eq!(counting.spared(soon), Some(SIZES));
        assert_eq!(counting.spared(begun + pause), None);
        advance(pause).await;
        counting.note(&Err(StoreError::Busy), begun);
        assert_eq!(
            counting.spared(Instant::now()),
            None,
            "a failure is no news"
        );
    }
}
