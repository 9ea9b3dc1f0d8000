//! Notices that the server is gone, or reads no more: pings (XEP-0199) that nothing comes of.

use std::time::Duration;

use tokio::time::Instant;

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    Fine,
    /// It was not shown for a while that the server reads what we send: ask, so many times.
    Ping(u32),
    /// Nothing came of it.
    Dead,
}

/// At once, when the first was not answered: of several connections with one name, ejabberd gives
/// ping and answer to any.
const AGAIN: u32 = 4;

/// How many times longer than silence it may last that the server talks, but no ping comes back.
const DEAF: u32 = 2;

/// Takes events and the time.
pub struct Keepalive {
    ping_after: Duration,
    pong_within: Duration,
    /// When anything came.
    heard: Instant,
    /// When one of our pings came back, or its answer.
    echoed: Instant,
    /// That one ever did: a server may always give them to another connection.
    echoes: bool,
    /// When the first ping since then went out.
    pinged: Option<Instant>,
}

impl Keepalive {
    pub fn new(ping_after: Duration, pong_within: Duration, now: Instant) -> Self {
        Self {
            ping_after,
            pong_within,
            heard: now,
            echoed: now,
            echoes: false,
            pinged: None,
        }
    }

    /// The server talks; whether it listens is another matter.
    pub fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// The server has read one of our pings.
    pub fn echoed(&mut self, now: Instant) {
        self.echoed = now;
        self.echoes = true;
        self.pinged = None;
    }

    /// To be asked regularly.
    pub fn check(&mut self, now: Instant) -> Life {
        if now - self.echoed < self.ping_after {
            return Life::Fine;
        }
        let Some(pinged) = self.pinged else {
            self.pinged = Some(now);
            return Life::Ping(1);
        };
        let silent = now - pinged.max(self.heard) >= self.pong_within;
        let deaf = self.echoes && now - pinged >= self.pong_within * DEAF;
        if silent || deaf {
            Life::Dead
        } else {
            Life::Ping(AGAIN)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keepalive(start: Instant) -> Keepalive {
        Keepalive::new(Duration::from_secs(25), Duration::from_secs(15), start)
    }

    #[test]
    fn silence_is_asked_about_and_then_is_death() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let mut life = keepalive(start);
        assert_eq!(life.check(at(24)), Life::Fine);
        assert_eq!(life.check(at(25)), Life::Ping(1));
        assert_eq!(life.check(at(39)), Life::Ping(AGAIN));
        assert_eq!(life.check(at(40)), Life::Dead);
    }

    #[test]
    fn a_server_that_talks_has_longer_to_show_that_it_listens() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let mut life = keepalive(start);
        assert_eq!(life.check(at(25)), Life::Ping(1));
        life.echoed(at(26));
        assert_eq!(life.check(at(51)), Life::Ping(1));
        for secs in 52..81 {
            life.heard(at(secs));
            assert_eq!(life.check(at(secs)), Life::Ping(AGAIN));
        }
        assert_eq!(life.check(at(81)), Life::Dead);
    }

    #[test]
    fn a_server_that_gives_every_ping_to_another_connection_lives_while_it_talks() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let mut life = keepalive(start);
        for secs in 0..1000 {
            life.heard(at(secs));
            assert_ne!(life.check(at(secs)), Life::Dead);
        }
        assert_eq!(life.check(at(1014)), Life::Dead);
    }

    #[test]
    fn a_ping_that_comes_back_starts_the_count_again() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let mut life = keepalive(start);
        assert_eq!(life.check(at(25)), Life::Ping(1));
        life.echoed(at(39));
        assert_eq!(life.check(at(63)), Life::Fine);
        assert_eq!(life.check(at(64)), Life::Ping(1));
    }
}
