//! Notices that the server is gone: silence, then a ping (XEP-0199), then silence again.

use std::time::Duration;

use tokio::time::Instant;

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    Fine,
    /// Nothing was heard for a while: ask.
    Ping,
    /// Nothing came, not even after asking.
    Dead,
}

/// Takes events and the time. Whatever the server sends shows that it lives.
pub struct Keepalive {
    ping_after: Duration,
    pong_within: Duration,
    heard: Instant,
    pinged: Option<Instant>,
}

impl Keepalive {
    pub fn new(ping_after: Duration, pong_within: Duration, now: Instant) -> Self {
        Self {
            ping_after,
            pong_within,
            heard: now,
            pinged: None,
        }
    }

    pub fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.pinged = None;
    }

    /// To be asked regularly. `Ping` is said once per silence.
    pub fn check(&mut self, now: Instant) -> Life {
        match self.pinged {
            Some(pinged) if now - pinged >= self.pong_within => Life::Dead,
            Some(_) => Life::Fine,
            None if now - self.heard >= self.ping_after => {
                self.pinged = Some(now);
                Life::Ping
            }
            None => Life::Fine,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_asked_about_once_and_then_is_death() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let mut life = Keepalive::new(Duration::from_secs(25), Duration::from_secs(15), start);
        assert_eq!(life.check(at(24)), Life::Fine);
        assert_eq!(life.check(at(25)), Life::Ping);
        assert_eq!(life.check(at(39)), Life::Fine);
        assert_eq!(life.check(at(40)), Life::Dead);
    }

    #[test]
    fn whatever_is_heard_starts_the_count_again() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let mut life = Keepalive::new(Duration::from_secs(25), Duration::from_secs(15), start);
        assert_eq!(life.check(at(25)), Life::Ping);
        life.heard(at(39));
        assert_eq!(life.check(at(63)), Life::Fine);
        assert_eq!(life.check(at(64)), Life::Ping);
    }
}
