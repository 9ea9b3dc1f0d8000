//! Says that something is still at work, for as long as it is.

use std::{
    sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel},
    thread,
    time::Duration,
};

/// So long nobody wonders.
const QUIET: Duration = Duration::from_secs(2);

/// From then on, between two times that it is said.
const PAUSE: Duration = Duration::from_secs(5);

/// Whoever waits is told until this is dropped.
#[must_use]
pub struct Patience {
    /// The thread ends with it.
    _held: Option<SyncSender<()>>,
}

impl Patience {
    /// Calls `tell` with the time that has passed, after two seconds and then every five. It does so in
    /// a thread of its own: the work may hold the one that it begins in.
    pub fn new(tell: impl FnMut(Duration) + Send + 'static) -> Self {
        Self::with(QUIET, PAUSE, tell)
    }

    fn with(
        quiet: Duration,
        pause: Duration,
        mut tell: impl FnMut(Duration) + Send + 'static,
    ) -> Self {
        let (held, ended) = sync_channel::<()>(0);
        let told = move || {
            let (mut passed, mut next) = (quiet, quiet);
            while ended.recv_timeout(next) == Err(RecvTimeoutError::Timeout) {
                tell(passed);
                next = pause;
                passed += pause;
            }
        };
        let thread = thread::Builder::new().name("patience".to_owned());
        // Without the thread nothing is told, and the work is done all the same.
        let held = thread.spawn(told).ok().map(|_| held);
        Self { _held: held }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOMENT: Duration = Duration::from_millis(10);

    #[test]
    fn whoever_waits_is_told_until_the_work_is_done() {
        let (told, times) = sync_channel(0);
        let patience = Patience::with(MOMENT, 2 * MOMENT, move |passed| {
            // Nobody listens at the end.
            let _ = told.send(passed);
        });
        let first: Vec<_> = times.iter().take(3).collect();
        assert_eq!(first, [MOMENT, 3 * MOMENT, 5 * MOMENT]);
        drop(patience);
        // It ends when the thread does; one more may have been on its way.
        assert!(times.iter().count() <= 1);
    }

    #[test]
    fn what_is_done_soon_is_not_spoken_of() {
        let (told, times) = sync_channel(0);
        drop(Patience::new(move |passed| {
            let _ = told.send(passed);
        }));
        assert_eq!(times.iter().count(), 0);
    }
}
