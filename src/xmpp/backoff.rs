//! When to connect again.

use std::time::Duration;

use crate::{
    metrics::LinkState,
    model::random::{Random, random_array},
};

/// The pauses between two attempts.
#[derive(Clone, Debug)]
pub struct Pauses {
    /// The first and the longest of a growing series.
    pub shortest: Duration,
    pub longest: Duration,
    /// When an administrator has to act first.
    pub misconfigured: Duration,
    /// When another connection holds the name: a standby takes over within this.
    pub conflict: Duration,
}

impl Default for Pauses {
    fn default() -> Self {
        Self {
            shortest: Duration::from_secs(1),
            longest: Duration::from_secs(15),
            misconfigured: Duration::from_secs(30),
            conflict: Duration::from_secs(12),
        }
    }
}

pub struct Backoff {
    pauses: Pauses,
    failures: u32,
}

impl Backoff {
    pub fn new(pauses: Pauses) -> Self {
        Self {
            pauses,
            failures: 0,
        }
    }

    /// How long to wait after a loss. A connection that had been of use is replaced at once; what
    /// then still fails, waits twice as long each time, spread so that replicas do not come
    /// together.
    pub fn pause(&mut self, cause: LinkState, was_of_use: bool, random: &dyn Random) -> Duration {
        let growing = if was_of_use {
            self.failures = 0;
            Duration::ZERO
        } else {
            let factor = 2_u32.saturating_pow(self.failures);
            self.failures = self.failures.saturating_add(1);
            let pause = self.pauses.shortest.saturating_mul(factor);
            pause.min(self.pauses.longest)
        };
        let pause = match cause {
            LinkState::NotAuthorized | LinkState::HostUnknown | LinkState::TlsFailed => {
                self.pauses.misconfigured
            }
            LinkState::Conflict => self.pauses.conflict,
            LinkState::Connecting
            | LinkState::Up
            | LinkState::ConnectionRefused
            | LinkState::Unreachable
            | LinkState::ServerShutdown
            | LinkState::DeadPeer
            | LinkState::StreamError => growing,
        };
        jittered(pause, random)
    }
}

/// Between three quarters of the pause and all of it.
fn jittered(pause: Duration, random: &dyn Random) -> Duration {
    let [byte] = random_array::<1>(random);
    pause - pause / 4 * u32::from(byte) / 255
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Always this byte.
    struct Fixed(u8);

    impl Random for Fixed {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(self.0);
        }
    }

    fn secs(pause: Duration) -> f64 {
        pause.as_secs_f64()
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut backoff = Backoff::new(Pauses::default());
        let mut next = || secs(backoff.pause(LinkState::ConnectionRefused, false, &Fixed(0)));
        let pauses: Vec<_> = (0..9).map(|_| next()).collect();
        assert_eq!(pauses, [1.0, 2.0, 4.0, 8.0, 15.0, 15.0, 15.0, 15.0, 15.0]);
        for _ in 0..100 {
            assert_eq!(next(), 15.0);
        }
    }

    #[test]
    fn a_connection_that_was_of_use_is_replaced_at_once() {
        let mut backoff = Backoff::new(Pauses::default());
        for _ in 0..9 {
            backoff.pause(LinkState::ConnectionRefused, false, &Fixed(0));
        }
        let mut next =
            |was_of_use| secs(backoff.pause(LinkState::ServerShutdown, was_of_use, &Fixed(0)));
        assert_eq!([next(true), next(false), next(false)], [0.0, 1.0, 2.0]);
    }

    #[test]
    fn what_an_administrator_has_to_cure_is_tried_calmly() {
        let mut backoff = Backoff::new(Pauses::default());
        let mut next = |cause| secs(backoff.pause(cause, true, &Fixed(0)));
        assert_eq!(next(LinkState::NotAuthorized), 30.0);
        assert_eq!(next(LinkState::HostUnknown), 30.0);
        assert_eq!(next(LinkState::TlsFailed), 30.0);
        assert_eq!(next(LinkState::Conflict), 12.0);
    }

    #[test]
    fn replicas_are_spread() {
        let pause = Duration::from_secs(60);
        assert_eq!(jittered(pause, &Fixed(255)), Duration::from_secs(45));
        assert_eq!(jittered(pause, &Fixed(0)), pause);
    }
}
