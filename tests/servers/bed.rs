//! What a test gets: its server, names of its own, a directory, and its logs on failure.

use std::{
    cell::RefCell,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tempfile::TempDir;
use testbed::{Config, Daemon, Kind, Server};
use tokio::sync::OnceCell;

/// The servers that tests share, each started by the first test that needs it.
#[derive(Default)]
pub struct Servers {
    prosody: OnceCell<Arc<Server>>,
    ejabberd: OnceCell<Arc<Server>>,
}

pub struct Bed {
    pub kind: Kind,
    servers: Arc<Servers>,
    dir: TempDir,
    logs: RefCell<Vec<PathBuf>>,
}

impl Bed {
    pub fn new(kind: Kind, servers: Arc<Servers>) -> Self {
        Self {
            kind,
            servers,
            dir: testbed::directory("test"),
            logs: RefCell::default(),
        }
    }

    /// A running server, with other tests on it at the same time.
    pub async fn server(&self) -> Arc<Server> {
        let cell = match self.kind {
            Kind::Prosody => &self.servers.prosody,
            Kind::Ejabberd => &self.servers.ejabberd,
        };
        let start = async || {
            let server = Arc::new(Server::prepare(self.kind, 128));
            self.keep_log(&server.log_path());
            server.start().await;
            server
        };
        let server = cell.get_or_init(start).await.clone();
        self.keep_log(&server.log_path());
        server
    }

    /// A server that this test may stop; it is not running yet.
    pub fn own_server(&self) -> Server {
        let server = Server::prepare(self.kind, 4);
        self.keep_log(&server.log_path());
        server
    }

    /// For a daemon that is a component which no other test uses.
    pub fn config(&self, server: &Server) -> Config {
        let config = Config::new(self.dir(), &server.component(), server.layout.components);
        let config = config
            .text("component.host", "127.0.0.1")
            .text("limits.endpoint_rate", "1000/s, burst 1000")
            .text("log.level", "debug");
        self.twin(&config)
    }

    /// The same with a directory and ports of its own.
    pub fn twin(&self, config: &Config) -> Config {
        config.twin(&self.dir().join(self.user("daemon")))
    }

    /// Starts a daemon and awaits that it is ready, whatever its link does.
    pub async fn start(&self, config: &Config) -> Daemon {
        let daemon = Daemon::new(config);
        self.keep_log(daemon.log_path());
        daemon.start().await;
        daemon
    }

    /// Starts a daemon and awaits its link.
    pub async fn start_linked(&self, config: &Config) -> Daemon {
        let daemon = self.start(config).await;
        daemon.link("up").await;
        daemon
    }

    /// A user name that no other test has.
    pub fn user(&self, name: &str) -> String {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Shown when the test fails.
    pub fn keep_log(&self, path: &Path) {
        let mut logs = self.logs.borrow_mut();
        if !logs.iter().any(|known| known == path) {
            logs.push(path.to_owned());
        }
    }

    /// What the processes of a failed test said. Its directory stays.
    pub fn report(mut self) -> String {
        const LINES: usize = 60;
        self.dir.disable_cleanup(true);
        let section = |path: &PathBuf| {
            let text = std::fs::read(path).unwrap_or_default();
            let end = tail(&String::from_utf8_lossy(&text), LINES);
            format!("--- {}\n{end}\n", path.display())
        };
        self.logs.get_mut().iter().map(section).collect()
    }
}

/// The end of a log, for a failed test.
fn tail(text: &str, lines: usize) -> String {
    let skip = text.lines().count().saturating_sub(lines);
    text.lines().skip(skip).collect::<Vec<_>>().join("\n")
}
