//! The XMPP server of a run: one of this process, or a real one.

use std::{fmt, time::Duration};

use testbed::{Account, FakeServer, Kind, Missing, Server, fake, server};
use tokio::{sync::RwLock, time::sleep};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    Loopback,
    Real(Kind),
}

impl On {
    pub const ALL: [Self; 3] = [
        Self::Loopback,
        Self::Real(Kind::Prosody),
        Self::Real(Kind::Ejabberd),
    ];

    pub fn missing(self) -> Option<Missing> {
        match self {
            Self::Loopback => None,
            Self::Real(kind) => kind.missing(),
        }
    }
}

impl fmt::Display for On {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loopback => f.write_str("loopback"),
            Self::Real(kind) => kind.fmt(f),
        }
    }
}

pub enum Place {
    Loopback(FakeServer),
    Real(Box<Server>),
}

pub struct Host {
    pub place: Place,
    pub account: Account,
    /// Whoever logs in reads; whoever stops it writes. A login is not interrupted: it is no part
    /// of what is tested.
    pub steady: RwLock<()>,
}

impl Host {
    pub async fn start(on: On, seed: u64) -> Self {
        let (place, account) = match on {
            On::Loopback => {
                let account = Account::numbered(0);
                let loopback = FakeServer::for_many(account.clone(), seed).await;
                (Place::Loopback(loopback), account)
            }
            On::Real(kind) => {
                let server = Server::prepare(kind, 1);
                server.start().await;
                let account = server.component();
                (Place::Real(Box::new(server)), account)
            }
        };
        Self {
            place,
            account,
            steady: RwLock::new(()),
        }
    }

    /// Where components connect.
    pub fn port(&self) -> u16 {
        match &self.place {
            Place::Loopback(loopback) => loopback.port,
            Place::Real(server) => server.layout.components,
        }
    }

    /// How long a phone without a connection is kept.
    pub fn hibernation(&self) -> Duration {
        match self.place {
            Place::Loopback(_) => fake::HIBERNATION,
            Place::Real(_) => server::HIBERNATION,
        }
    }

    /// As the daemons are configured: short enough for phones to miss it, and long enough for a
    /// registration not to expire at once.
    pub fn registration_ttl(&self) -> Duration {
        match self.place {
            Place::Loopback(_) => Duration::from_secs(6),
            Place::Real(_) => Duration::from_secs(12),
        }
    }

    /// In order, or by SIGKILL. Every session is lost, and every phone has to log in again.
    pub async fn restart(&self, in_order: bool, down: Duration) {
        let _alone = self.steady.write().await;
        match &self.place {
            Place::Loopback(loopback) => {
                loopback.stop();
                sleep(down).await;
                loopback.run();
            }
            Place::Real(server) => {
                if in_order {
                    server.stop().await;
                } else {
                    server.kill().await;
                }
                sleep(down).await;
                server.start().await;
            }
        }
    }
}
