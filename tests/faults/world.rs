//! All that a run is made of: the server, the daemons with their network and disks, the phones.

use std::{
    cell::{Cell, RefCell},
    fs,
    path::Path,
    sync::Arc,
    time::Duration,
};

use tempfile::TempDir;
use testbed::{Config, Kind, MovedClock, PATIENCE, Random, eventually, program};
use tokio::sync::Mutex;

use crate::{
    SHORT,
    daemon::Daemon,
    database::Database,
    device::{Device, Profile},
    host::{Host, On},
    ledger::Ledger,
    measures::Measures,
    proxy::Proxy,
    upkeep::issues,
};

/// How far the daemons' clock is ahead when it is right, so that a jump does not take it before the
/// date of the program, which the daemon would not believe.
pub const AHEAD: Duration = Duration::from_secs(86_400);

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Store {
    Sqlite,
    Postgres,
}

#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub on: On,
    pub store: Store,
    pub replicas: usize,
    pub faults: usize,
    /// When it is over, there are no more of them.
    pub limit: Option<Duration>,
    /// Each daemon is one process to the end.
    pub lasting: bool,
    pub seed: u64,
    /// Each duplicate, not only the figures.
    pub tell: bool,
    /// The program that the daemons begin with, of an earlier version.
    pub old: Option<&'static Path>,
}

impl Setup {
    /// Whether there are poolers, as in a long run: every other daemon comes through them.
    pub fn is_pooled(self) -> bool {
        self.store == Store::Postgres && self.replicas > 1 && self.faults > SHORT
    }

    /// How far the clock that endpoints go by is ahead of the phones'. PostgreSQL's is right.
    pub fn ahead(self) -> Duration {
        match self.store {
            Store::Sqlite => AHEAD,
            Store::Postgres => Duration::ZERO,
        }
    }
}

pub struct World {
    pub setup: Setup,
    pub host: Arc<Host>,
    /// Held while it is restarted.
    pub server: Arc<Mutex<()>>,
    pub database: Option<Database>,
    pub replicas: Vec<Replica>,
    /// How the path of a push is altered on its way.
    pub path_altered: Cell<Option<usize>>,
    /// Held while it is.
    pub front: Arc<Mutex<()>>,
    pub devices: Vec<Arc<Mutex<Device>>>,
    pub ledger: Arc<Ledger>,
    pub dir: TempDir,
}

pub struct Replica {
    pub daemon: Daemon,
    /// Its configuration as it is now.
    pub settings: RefCell<Config>,
    pub proxy: Proxy,
    /// Of the machine that it runs on.
    pub clock: MovedClock,
    /// Each held while it has a fault.
    pub time: Arc<Mutex<()>>,
    pub process: Arc<Mutex<()>>,
    pub link: Arc<Mutex<()>>,
    pub disk: Arc<Mutex<()>>,
    pub disk_fails: Cell<bool>,
    /// Links cut before they were of use, since the daemon started or one was.
    pub early_cuts: Cell<u32>,
    pub measures: Measures,
}

const fn profile(user: &'static str, resource: &'static str, apps: usize) -> Profile {
    Profile {
        user,
        resource,
        roams: false,
        bystander: false,
        apps,
    }
}

const PROFILES: &[Profile] = &[
    // As Bind 2 (XEP-0386) names it.
    profile("juliet", "Conversations.v/8+Qm2LxA", 2),
    profile("romeo", "phone", 2),
    profile("romeo", "tablet", 1),
    Profile {
        roams: true,
        ..profile("nurse", "phone", 2)
    },
    profile("tybalt", "phone", 1),
    profile("mercutio", "phone", 2),
    Profile {
        bystander: true,
        ..profile("romeo", "watch", 0)
    },
    Profile {
        bystander: true,
        ..profile("benvolio", "phone", 0)
    },
];

impl World {
    /// Everything runs, and every app is registered.
    pub async fn start(setup: Setup) -> Self {
        let dir = testbed::directory("faults");
        let host = Arc::new(Host::start(setup.on, setup.seed).await);
        let ledger = Arc::new(Ledger::default());
        let database = match setup.store {
            Store::Sqlite => None,
            Store::Postgres => Some(Database::start(dir.path(), setup.is_pooled()).await),
        };
        let mut replicas = Vec::new();
        for number in 0..setup.replicas {
            replicas
                .push(Replica::start(dir.path(), number, &host, database.as_ref(), setup).await);
        }
        let device = |(index, profile): (usize, &Profile)| {
            let ahead = setup.ahead();
            let device = Device::new(index, *profile, host.clone(), ledger.clone(), ahead);
            Arc::new(Mutex::new(device))
        };
        let devices = PROFILES.iter().enumerate().map(device).collect();
        let world = Self {
            setup,
            host,
            server: Arc::default(),
            database,
            replicas,
            path_altered: Cell::new(None),
            front: Arc::default(),
            devices,
            ledger,
            dir,
        };
        world.linked().await;
        for device in &world.devices {
            device.lock().await.set_up().await;
        }
        world
    }

    /// The phones that have apps.
    pub fn phones(&self) -> &[Arc<Mutex<Device>>] {
        let count = PROFILES.iter().take_while(|it| !it.bystander).count();
        &self.devices[..count]
    }

    /// Whoever can have a link has one: all of them, or one where the server admits only one.
    pub async fn linked(&self) {
        eventually("the link is up", 4 * PATIENCE, async || {
            self.has_link().await.then_some(())
        })
        .await;
    }

    async fn has_link(&self) -> bool {
        let mut linked = 0;
        for replica in &self.replicas {
            linked += usize::from(replica.daemon.has_link().await);
        }
        match self.setup.on {
            On::Real(Kind::Prosody) => linked >= 1,
            _ => linked == self.replicas.len(),
        }
    }
}

impl Replica {
    /// Whether there is a link to cut. The daemon waits longer each time that a new one is lost
    /// soon; the harness does not wait for it more than a few times.
    pub fn has_link_to_cut(&self) -> bool {
        /// A connection that lasted so long is replaced at once.
        const OF_USE: Duration = Duration::from_secs(10);
        let linked = self.proxy.connections() > 0;
        if linked && self.proxy.age() > OF_USE {
            self.early_cuts.set(0);
        }
        linked && self.early_cuts.get() < 3
    }

    async fn start(
        dir: &Path,
        number: usize,
        host: &Host,
        database: Option<&Database>,
        setup: Setup,
    ) -> Self {
        /// Between the clocks of two daemons, in seconds.
        const APART: i64 = 400;
        let dir = dir.join(format!("daemon-{number}"));
        let proxy = Proxy::start(host.port()).await;
        let mut config = config(&dir, host, &proxy, setup);
        if let Some(database) = database {
            config = config.text("store.url", &database.url(number));
        }
        fs::create_dir_all(&dir).unwrap();
        let clock = MovedClock::new(&dir);
        clock.set_offset(AHEAD.as_secs() as i64 + APART * number as i64);
        let daemon = Daemon::new(&config, setup.old.unwrap_or(program()), &clock);
        daemon.start(|| false).await.expect("the daemon starts");
        Self {
            daemon,
            settings: RefCell::new(config),
            proxy,
            clock,
            time: Arc::default(),
            process: Arc::default(),
            link: Arc::default(),
            disk: Arc::default(),
            disk_fails: Cell::new(false),
            early_cuts: Cell::new(0),
            measures: Measures::default(),
        }
    }
}

fn config(dir: &Path, host: &Host, proxy: &Proxy, setup: Setup) -> Config {
    let ack_timeout = match setup.on {
        On::Loopback => "150ms",
        On::Real(_) => "400ms",
    };
    // An old version knows no grace: its endpoints are not over before it is replaced.
    let registration_ttl = match setup.old {
        Some(_) => 3600,
        None => host.registration_ttl().as_secs(),
    };
    let config = Config::new(dir, &host.account, proxy.port());
    issues(config, Random::new(setup.seed, 4).below(3), 0)
        .value("registration_ttl", registration_ttl)
        .text("delivery.ack_timeout", ack_timeout)
        // Nothing gives way: whatever is accepted must arrive.
        .value("delivery.max_queued_per_endpoint", 100_000)
        .value("delivery.max_queued_per_jid", 100_000)
        .text("limits.endpoint_rate", "1000/s, burst 1000")
        .text("limits.registration_rate", "1000/s, burst 1000")
        .text("log.level", "debug")
}
