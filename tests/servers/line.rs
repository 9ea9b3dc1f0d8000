//! What most tests start from: a linked daemon, a phone and its endpoint; and what it becomes when
//! the phone goes away.

use testbed::{
    Config, Daemon, PATIENCE, Pair, Phone, Server, eventually,
    http::{Response, get, post, push, request},
    phone::Vanished,
};

use crate::bed::Bed;

pub const MINUTE: (&str, &str) = ("TTL", "60");

/// A linked daemon, a phone and its endpoint.
pub struct Line {
    pub daemon: Daemon,
    pub phone: Phone,
    pub pair: Pair,
    pub endpoint: String,
}

impl Line {
    pub async fn with(bed: &Bed, settings: Config, mut phone: Phone) -> Self {
        let daemon = bed.start_linked(&settings).await;
        let pair = Pair::of(&phone.jid, "app");
        let registered = phone.register(daemon.service(), &pair).await.unwrap();
        assert!(registered.endpoint.starts_with(&daemon.url("/push/")));
        Self {
            daemon,
            phone,
            pair,
            endpoint: registered.endpoint,
        }
    }

    pub async fn new(bed: &Bed) -> Self {
        let server = bed.server().await;
        Self::with_settings(bed, bed.config(&server)).await
    }

    pub async fn with_settings(bed: &Bed, settings: Config) -> Self {
        let server = bed.server().await;
        let phone = Phone::log_in(&server, &bed.user("romeo")).await;
        Self::with(bed, settings, phone).await
    }

    /// With a phone that its server keeps for a while when the connection is lost. It has
    /// announced itself, so that the daemon learns when the server gives it up.
    pub async fn resumable(bed: &Bed) -> Self {
        let server = bed.server().await;
        let phone = Phone::log_in_resumable(&server, &bed.user("romeo")).await;
        let line = Self::with(bed, bed.config(&server), phone).await;
        line.announce().await;
        line.daemon
            .becomes("unified_push_phones_available", "", 1.0)
            .await;
        line
    }

    pub async fn push(&self, body: &[u8]) -> Response {
        push(&self.endpoint, body).await
    }

    /// One more push arrives, and nothing before it.
    pub async fn works(&mut self) {
        let answer = self.push(b"still there?").await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        self.gets(&[b"still there?"]).await;
    }

    /// The next pushes, and none beside them so far.
    pub async fn gets(&mut self, payloads: &[&[u8]]) {
        for expected in payloads {
            let payload = self.phone.push().await.payload;
            let got = String::from_utf8_lossy(&payload);
            assert_eq!(got, String::from_utf8_lossy(expected));
        }
        let more = self.phone.pushed_already();
        assert!(more.is_none(), "one too many: {more:?}");
    }

    pub async fn announce(&self) {
        self.phone.announce(self.daemon.service()).await;
    }

    /// The phone goes offline in order.
    pub async fn leave(self) -> Away {
        let jid = self.phone.jid.clone();
        self.phone.log_out().await;
        Away {
            daemon: self.daemon,
            pair: self.pair,
            endpoint: self.endpoint,
            jid,
        }
    }

    /// The phone loses its connection without a word.
    pub async fn vanish(self) -> (Away, Vanished) {
        let jid = self.phone.jid.clone();
        let vanished = self.phone.vanish().await;
        let away = Away {
            daemon: self.daemon,
            pair: self.pair,
            endpoint: self.endpoint,
            jid,
        };
        (away, vanished)
    }
}

/// A line whose phone is not there.
pub struct Away {
    pub daemon: Daemon,
    pub pair: Pair,
    pub endpoint: String,
    pub jid: String,
}

impl Away {
    pub fn user(&self) -> &str {
        user_of(&self.jid)
    }

    /// A push that is kept for a minute. Gives its resource.
    pub async fn store(&self, body: &[u8]) -> String {
        self.store_with(&[MINUTE], body).await
    }

    pub async fn store_with(&self, headers: &[(&str, &str)], body: &[u8]) -> String {
        let kept = location(&post(&self.endpoint, headers, body).await);
        assert!(waits(&kept).await, "{}", String::from_utf8_lossy(body));
        kept
    }

    pub fn with(self, phone: Phone) -> Line {
        Line {
            daemon: self.daemon,
            phone,
            pair: self.pair,
            endpoint: self.endpoint,
        }
    }

    /// The phone binds the same resource. The daemon does not know yet.
    pub async fn bind(self, server: &Server) -> Line {
        let phone = Phone::log_in_again(server, self.user(), &self.pair).await;
        assert_eq!(phone.jid, self.jid);
        self.with(phone)
    }

    /// The phone binds the same resource and says so, as phones do.
    pub async fn back(self, server: &Server) -> Line {
        let line = self.bind(server).await;
        line.announce().await;
        line
    }
}

pub fn user_of(jid: &str) -> &str {
    jid.split('@').next().expect("a JID")
}

pub fn assert_try_again(answer: &Response) {
    assert_eq!(answer.status, 503, "{}", answer.text());
    let wait = answer.header("retry-after").expect("Retry-After");
    assert!(wait.parse::<u32>().is_ok(), "{wait}");
}

/// The resource of a message that was accepted.
pub fn location(answer: &Response) -> String {
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.header("location").expect("Location").to_owned()
}

/// Whether a message waits, as its resource says.
pub async fn waits(location: &str) -> bool {
    match get(location).await.status {
        200 => true,
        404 => false,
        other => panic!("{other}"),
    }
}

/// Awaits that a message waits no longer.
pub async fn is_over(location: &str) {
    eventually("it waits no longer", PATIENCE, async || {
        (!waits(location).await).then_some(())
    })
    .await;
}

/// Gives the status.
pub async fn delete(location: &str) -> u16 {
    let answer = request("DELETE", location, &[], b"").await;
    answer.expect("an HTTP answer").status
}
