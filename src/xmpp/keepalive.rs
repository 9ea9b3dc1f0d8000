//! Notices that the server is gone: silence, then pings (XEP-0199), then silence still.

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
    /// When the first ping of this silence went out.
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

    /// To be asked regularly. `Ping` is said each time while there is silence, because the answer
    /// to one may go astray: of several connections with one name, ejabberd gives it to any.
    pub fn check(&mut self, now: Instant) -> Life {
        if now - self.heard < self.ping_after {
            return Life::Fine;
        }
        let pinged = *self.pinged.get_or_insert(now);
        if now - pinged < self.pong_within {
            Life::Ping
        } else {
            Life::Dead
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_asked_about_and_then_is_death() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let mut life = Keepalive::new(Duration::from_secs(25), Duration::from_secs(15), start);
        assert_eq!(life.check(at(24)), Life::Fine);
        assert_eq!(life.check(at(25)), Life::Ping);
        assert_eq!(life.check(at(39)), Life::Ping);
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
