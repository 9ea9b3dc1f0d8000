//! A phone of a run, on whichever server: it comes, goes, and says what it got.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use testbed::{
    Behaviour, PATIENCE, Pair, Phone, Refusal, Registered, app::Log, eventually, phone::Vanished,
    server::DOMAIN,
};
use tokio::time::timeout;

use crate::{
    host::{Host, Place},
    ledger::Ledger,
};

/// How long a phone waits for the answer when it renews.
const RENEWAL: Duration = Duration::from_secs(2);

/// Who a device is.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    pub user: &'static str,
    pub resource: &'static str,
    /// Its server gives it another resource each time.
    pub roams: bool,
    /// It never registers and never announces itself: nothing may reach it.
    pub bystander: bool,
    pub apps: usize,
}

pub struct Device {
    pub index: usize,
    pub profile: Profile,
    jid: String,
    binds: usize,
    known: Vec<Pair>,
    apps: Vec<App>,
    host: Arc<Host>,
    ledger: Arc<Ledger>,
    /// How far the clock that its endpoints go by is ahead of the real one.
    ahead: Duration,
    line: Line,
}

/// What a phone knows of an app's registration.
struct App {
    subscription: usize,
    /// None: it has to be registered.
    expires: Option<SystemTime>,
}

/// Of a real server.
enum Line {
    Away,
    Online(Phone),
    Asleep(Vanished),
}

impl Device {
    pub fn new(
        index: usize,
        profile: Profile,
        host: Arc<Host>,
        ledger: Arc<Ledger>,
        ahead: Duration,
    ) -> Self {
        let account = format!("{}@{DOMAIN}", profile.user);
        ledger.inner().accounts.push(account);
        let pair = |app| Pair::of(profile.user, &format!("{index}-{app}"));
        let app = |_| App {
            subscription: ledger.subscribe(index),
            expires: None,
        };
        Self {
            index,
            profile,
            jid: String::new(),
            binds: 0,
            known: (0..profile.apps).map(pair).collect(),
            apps: (0..profile.apps).map(app).collect(),
            host,
            ledger,
            ahead,
            line: Line::Away,
        }
    }

    /// Logs in anew, whatever was before, announces itself as Conversations does, and renews.
    pub async fn bind(&mut self) {
        self.log_in().await;
        if !self.profile.bystander && self.has_registered() {
            self.announce().await;
            self.renew().await;
        }
    }

    async fn log_in(&mut self) {
        let host = self.host.clone();
        let _steady = host.steady.read().await;
        let Profile { user, resource, .. } = self.profile;
        self.binds += 1;
        let resource = match self.profile.roams {
            true => format!("{resource}-{}", self.binds),
            false => resource.to_owned(),
        };
        self.jid = format!("{user}@{DOMAIN}/{resource}");
        match &host.place {
            Place::Loopback(loopback) => loopback.bind(&self.jid, self.known.clone(), self.log()),
            Place::Real(server) => {
                let known = self.known.clone();
                let phone = Phone::come_back(server, user, &resource, known, self.log()).await;
                assert_eq!(phone.jid, self.jid);
                self.line = Line::Online(phone);
            }
        }
    }

    fn has_registered(&self) -> bool {
        self.apps.iter().all(|app| app.expires.is_some())
    }

    /// Logs in for the first time, or once more at the end, and registers its apps.
    pub async fn set_up(&mut self) {
        self.leave().await;
        for app in &mut self.apps {
            app.expires = None;
        }
        self.log_in().await;
        eventually("a phone can register", 2 * PATIENCE, async || {
            self.renew().await;
            self.has_registered().then_some(())
        })
        .await;
        if !self.profile.bystander {
            self.announce().await;
        }
    }

    /// What it does when it notices that its connection is gone, or an expiry is near.
    pub async fn come_back(&mut self) {
        match self.is_online() {
            true => self.renew().await,
            false => self.bind().await,
        }
    }

    pub async fn announce(&mut self) {
        self.ledger.announced(&self.jid);
        match (&self.host.place, &self.line) {
            (Place::Loopback(loopback), _) => loopback.announce(&self.jid),
            (Place::Real(_), Line::Online(phone)) => {
                phone.announce(&self.host.account.domain).await;
            }
            (Place::Real(_), _) => {}
        }
    }

    /// Registers what is not registered or about to expire, as phones do. What fails is tried when it
    /// binds next.
    async fn renew(&mut self) {
        for number in 0..self.apps.len() {
            let App {
                subscription,
                expires,
            } = self.apps[number];
            let soon = now() + self.ahead + self.host.registration_ttl() / 4;
            if expires.is_some_and(|expires| expires > soon) {
                continue;
            }
            self.ledger.announced(&self.jid);
            let answer = timeout(RENEWAL, self.register(number)).await;
            let answer = answer.ok().flatten();
            let silence = answer.is_none();
            let registered = answer.and_then(Result::ok);
            if let Some(registered) = &registered {
                self.apps[number].expires = Some(registered.expires);
            }
            let endpoint = registered.map(|registered| registered.endpoint);
            self.ledger.registered(subscription, endpoint);
            if silence {
                return;
            }
        }
    }

    async fn register(&mut self, app: usize) -> Option<Result<Registered, Refusal>> {
        let pair = &self.known[app];
        match (&self.host.place, &mut self.line) {
            (Place::Loopback(loopback), _) => loopback.renew(&self.jid, pair).await,
            (Place::Real(_), Line::Online(phone)) => {
                phone.renew(&self.host.account.domain, pair).await
            }
            (Place::Real(_), _) => None,
        }
    }

    pub fn is_online(&self) -> bool {
        match (&self.host.place, &self.line) {
            (Place::Loopback(loopback), _) => loopback.is_online(&self.jid),
            (Place::Real(_), Line::Online(phone)) => phone.is_online(),
            (Place::Real(_), _) => false,
        }
    }

    pub fn behave(&self, behaviour: Behaviour) {
        match (&self.host.place, &self.line) {
            (Place::Loopback(loopback), _) => loopback.behave(&self.jid, behaviour),
            (Place::Real(_), Line::Online(phone)) => phone.behave(behaviour),
            (Place::Real(_), _) => {}
        }
    }

    /// Goes offline in order.
    pub async fn leave(&mut self) {
        let host = self.host.clone();
        let _steady = host.steady.read().await;
        match (&host.place, std::mem::replace(&mut self.line, Line::Away)) {
            (Place::Loopback(loopback), _) => loopback.leave(&self.jid),
            (Place::Real(_), Line::Online(phone)) => phone.log_out().await,
            (Place::Real(_), _) => {}
        }
    }

    /// Loses its connection without a word; its server keeps the session for a while.
    pub async fn hibernate(&mut self) {
        match (
            &self.host.place,
            std::mem::replace(&mut self.line, Line::Away),
        ) {
            (Place::Loopback(loopback), _) => loopback.hibernate(&self.jid),
            (Place::Real(_), Line::Online(phone)) => {
                self.line = Line::Asleep(phone.vanish().await);
            }
            (Place::Real(_), line) => self.line = line,
        }
    }

    /// Takes its session up again, or binds anew when there is none any more.
    pub async fn resume(&mut self) {
        let host = self.host.clone();
        {
            let _steady = host.steady.read().await;
            match (&host.place, std::mem::replace(&mut self.line, Line::Away)) {
                (Place::Loopback(loopback), _) => {
                    if loopback.resume(&self.jid) {
                        return;
                    }
                }
                (Place::Real(server), Line::Asleep(vanished)) => {
                    if let Some(phone) = vanished.try_resume(server).await {
                        self.line = Line::Online(phone);
                        return;
                    }
                }
                (Place::Real(_), line) => self.line = line,
            }
        }
        self.come_back().await;
    }

    fn log(&self) -> Log {
        let (ledger, jid, index) = (self.ledger.clone(), self.jid.clone(), self.index);
        Arc::new(move |push| ledger.delivered(&jid, index, &push))
    }
}

/// By the phones' clocks, which are right.
#[expect(clippy::disallowed_methods, reason = "the phones are real")]
fn now() -> SystemTime {
    SystemTime::now()
}

/// How a phone is at odds with its pushes for a while.
pub fn odd(kind: usize, delay: Duration) -> Behaviour {
    const REFUSALS: [(&str, &str); 3] = [
        ("wait", "resource-constraint"),
        ("cancel", "service-unavailable"),
        ("wait", "recipient-unavailable"),
    ];
    match kind {
        0 => Behaviour::Silent,
        1 => Behaviour::Late(delay),
        other => {
            let (kind, condition) = REFUSALS[other % REFUSALS.len()];
            Behaviour::Refuse { kind, condition }
        }
    }
}
