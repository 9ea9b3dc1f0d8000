//! A phone of a run, on whichever server: it comes, goes, and says what it got.

use std::{sync::Arc, time::Duration};

use testbed::{Behaviour, Pair, Phone, app::Log, phone::Vanished, server::DOMAIN};

use crate::{
    host::{Host, Place},
    ledger::Ledger,
};

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
    pub endpoints: Vec<String>,
    jid: String,
    binds: usize,
    known: Vec<Pair>,
    host: Arc<Host>,
    ledger: Arc<Ledger>,
    line: Line,
}

/// Of a real server.
enum Line {
    Away,
    Online(Phone),
    Asleep(Vanished),
}

impl Device {
    pub fn new(index: usize, profile: Profile, host: Arc<Host>, ledger: Arc<Ledger>) -> Self {
        let account = format!("{}@{DOMAIN}", profile.user);
        ledger.inner().accounts.push(account);
        Self {
            index,
            profile,
            endpoints: Vec::new(),
            jid: String::new(),
            binds: 0,
            known: Vec::new(),
            host,
            ledger,
            line: Line::Away,
        }
    }

    /// Logs in anew, whatever was before, and announces itself as Conversations does.
    pub async fn bind(&mut self) {
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
        if !self.profile.bystander && self.endpoints.len() == self.profile.apps {
            self.announce().await;
        }
    }

    /// Logs in for the first time, or once more at the end, and registers its apps.
    pub async fn set_up(&mut self) {
        self.leave().await;
        self.endpoints.clear();
        self.known.clear();
        self.bind().await;
        self.register().await;
        if !self.profile.bystander {
            self.announce().await;
        }
    }

    /// What it does when it notices that its connection is gone.
    pub async fn come_back(&mut self) {
        if !self.is_online() {
            self.bind().await;
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

    /// The apps of its profile.
    async fn register(&mut self) {
        let host = self.host.clone();
        if self.profile.apps > 0 {
            self.ledger.announced(&self.jid);
        }
        for app in 0..self.profile.apps {
            let pair = Pair::of(self.profile.user, &format!("{}-{app}", self.index));
            let endpoint = match (&host.place, &mut self.line) {
                (Place::Loopback(loopback), _) => loopback.register(&self.jid, &pair).await,
                (Place::Real(_), Line::Online(phone)) => {
                    let registered = phone.register(&host.account.domain, &pair).await;
                    registered.unwrap().endpoint
                }
                (Place::Real(_), _) => panic!("only who is online registers"),
            };
            self.known.push(pair);
            self.endpoints.push(endpoint);
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
