//! Daemons that share a database, and phones that are away until they are called back.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::future::join_all;
use tempfile::TempDir;
use testbed::{Account, Config, Daemon, FakeServer, Pair, eventually, http};

/// Longer than anything takes that the daemon does by itself.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Group {
    pub daemons: Vec<Daemon>,
    pub server: FakeServer,
    /// What reached a phone.
    arrived: Arc<Mutex<HashSet<String>>>,
    dir: TempDir,
}

/// Where pushes to one phone go.
#[derive(Clone, Debug)]
pub struct Endpoint {
    jid: String,
    pair: Pair,
    path: String,
}

impl Group {
    /// So many daemons, each with a link; they run.
    pub async fn start(url: &str, count: usize) -> Self {
        let group = Self::new(FakeServer::for_many(account(), 7).await, url, count);
        for daemon in &group.daemons {
            daemon.start_linked().await;
        }
        group
    }

    /// Two that run, of which the first one has a link.
    pub async fn with_one_link(url: &str) -> Self {
        let group = Self::new(FakeServer::start(account()).await, url, 2);
        group.daemons[0].start_linked().await;
        group.daemons[1].start().await;
        group
    }

    /// None of them runs yet. Each is known to the server by a name of its own.
    pub fn new(server: FakeServer, url: &str, count: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let first = Config::new(dir.path(), &account(), server.port).text("backend", "storage");
        let join = if url.contains('?') { '&' } else { '?' };
        let daemon = |number: usize| {
            let config = first.twin(&dir.path().join(number.to_string()));
            let url = format!("{url}{join}application_name={}", name(number));
            Daemon::new(&config.text("store.url", &url))
        };
        Self {
            daemons: (0..count).map(daemon).collect(),
            server,
            arrived: Arc::default(),
            dir,
        }
    }

    /// One more that does not run yet, with another option.
    pub fn one_more(&self, key: &'static str, value: &str) -> Daemon {
        let config = self.daemons[0].config.twin(&self.dir.path().join("more"));
        Daemon::new(&config.value(key, value))
    }

    /// New phones, registered, which are there.
    pub async fn present(&self, count: usize) -> Vec<Endpoint> {
        static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let all = (0..count).map(async |_| {
            let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let jid = format!("user{number}@example.org/phone");
            let pair = Pair::of(&jid, "app");
            self.bind(&jid, Vec::new());
            let endpoint = self.server.register(&jid, &pair).await;
            let path = endpoint.find("/push/").map(|at| endpoint[at..].to_owned());
            let path = path.expect("the path of an endpoint");
            Endpoint { jid, pair, path }
        });
        join_all(all).await
    }

    /// New phones, registered, which have left.
    pub async fn away(&self, count: usize) -> Vec<Endpoint> {
        let endpoints = self.present(count).await;
        for endpoint in &endpoints {
            self.server.leave(&endpoint.jid);
        }
        endpoints
    }

    /// The status of a push by this daemon; 0 when none comes.
    pub async fn push(&self, daemon: usize, to: &Endpoint, payload: &str) -> u16 {
        push(&self.daemons[daemon].url(&to.path), payload).await
    }

    pub fn url(&self, daemon: usize, to: &Endpoint) -> String {
        self.daemons[daemon].url(&to.path)
    }

    /// Awaits that this daemon stores what comes for a phone that is away, and returns how long that
    /// took.
    pub async fn stores(&self, daemon: usize, to: &Endpoint) -> Duration {
        let begun = tokio::time::Instant::now();
        eventually("a push is stored", PATIENCE, async || {
            (self.push(daemon, to, "again").await == 201).then_some(())
        })
        .await;
        begun.elapsed()
    }

    /// The phones come back, and everything that was accepted arrives; returns how long that took.
    pub async fn call_back(&self, phones: &[Endpoint], accepted: &[String]) -> Duration {
        for Endpoint { jid, pair, .. } in phones {
            self.bind(jid, vec![pair.clone()]);
            self.server.announce(jid);
        }
        self.arrive(accepted).await
    }

    /// Awaits that all of these are where they should be.
    pub async fn arrive(&self, accepted: &[String]) -> Duration {
        let begun = tokio::time::Instant::now();
        let missing = || {
            let arrived = self.arrived.lock().unwrap();
            let missing = accepted.iter().filter(|text| !arrived.contains(*text));
            missing.count()
        };
        let deadline = begun + PATIENCE;
        while missing() > 0 {
            let (missing, all) = (missing(), accepted.len());
            let in_time = tokio::time::Instant::now() < deadline;
            assert!(in_time, "{missing} of {all} did not arrive");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        begun.elapsed()
    }

    fn bind(&self, jid: &str, known: Vec<Pair>) {
        let arrived = self.arrived.clone();
        let log = move |push: testbed::Push| {
            let text = String::from_utf8_lossy(&push.payload).into_owned();
            arrived.lock().unwrap().insert(text);
        };
        self.server.bind(jid, known, Arc::new(log));
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for (number, daemon) in self.daemons.iter().enumerate() {
                println!("daemon {number}:\n{}", daemon.log());
            }
        }
    }
}

/// What a daemon of a group calls itself at PostgreSQL.
pub fn name(daemon: usize) -> String {
    format!("daemon-{daemon}")
}

/// The status, or 0 when none comes.
pub async fn push(url: &str, payload: &str) -> u16 {
    let answer = http::try_post(url, &[("TTL", "3600")], payload.as_bytes()).await;
    answer.map_or(0, |answer| answer.status)
}

pub fn account() -> Account {
    Account {
        domain: "up.example.org".to_owned(),
        secret: "the secret of the component".to_owned(),
    }
}
