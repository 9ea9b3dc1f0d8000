//! The daemon as a user runs it, linked to a [`Host`] or to a real server.

use std::{path::Path, process::Command, time::Duration};

use rustix::process::Signal;
use tempfile::TempDir;
use testbed::{Account, Config, PATIENCE};
use tokio::time::{Instant, sleep};
use unified_push::token::Backend;

use crate::host::{self, Host};

pub const BACKENDS: [Backend; 3] = [Backend::Paseto, Backend::Jwt, Backend::Storage];

pub struct Daemon {
    daemon: testbed::Daemon,
    /// From its start to the first "ready".
    pub start: Duration,
    _dir: TempDir,
}

pub struct Start<'a> {
    binary: &'a Path,
    config: Config,
    wrapper: &'a [String],
    dir: TempDir,
}

impl<'a> Start<'a> {
    /// Limits that no load of a benchmark meets, and otherwise the defaults.
    pub fn new(binary: &'a Path, backend: Backend) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let component = Account {
            domain: host::DOMAIN.to_owned(),
            secret: "component".to_owned(),
        };
        let config = Config::new(dir.path(), &component, 0)
            .text("backend", &backend.to_string())
            .text("delivery.ack_timeout", "5s")
            .text("limits.endpoint_rate", "1000000/s, burst 1000000")
            .text("limits.registration_rate", "1000000/s, burst 1000000")
            .value("limits.connections", 20_000)
            .text("log.level", "error");
        Self {
            binary,
            config,
            wrapper: &[],
            dir,
        }
    }

    /// A store that is there already.
    pub fn on(self, state_dir: &Path) -> Self {
        self.with(|config| config.path("state_dir", state_dir))
    }

    /// With other options.
    pub fn with(self, change: impl FnOnce(Config) -> Config) -> Self {
        Self {
            config: change(self.config),
            ..self
        }
    }

    /// A command that runs it.
    pub fn under(self, wrapper: &'a [String]) -> Self {
        Self { wrapper, ..self }
    }

    pub async fn run(self) -> (Daemon, Host) {
        let host = Host::start();
        let port = host.port;
        let start = self.with(|config| config.value("component.port", port));
        (start.linked().await, host)
    }

    /// As this component of a server that has components at that port.
    pub async fn at(self, component: &Account, port: u16) -> Daemon {
        let start = self.with(|config| config.component(component).value("component.port", port));
        start.linked().await
    }

    async fn linked(self) -> Daemon {
        let mut words = self.wrapper.iter().map(AsRef::as_ref).chain([self.binary]);
        let mut command = Command::new(words.next().unwrap());
        command.args(words).arg("--config").arg(self.config.file());
        let daemon = testbed::Daemon::with_command(&self.config, command);
        let begin = Instant::now();
        daemon.spawn();
        while !matches!(daemon.try_readiness().await, Some((200, _))) {
            // Under valgrind it takes longer.
            assert!(begin.elapsed() < 2 * PATIENCE, "not ready");
            sleep(Duration::from_micros(200)).await;
        }
        let start = begin.elapsed();
        daemon.link("up").await;
        Daemon {
            daemon,
            start,
            _dir: self.dir,
        }
    }
}

impl Daemon {
    pub fn pid(&self) -> u32 {
        self.daemon.pid()
    }

    /// Where it takes pushes.
    pub fn port(&self) -> u16 {
        let (_, port) = self
            .daemon
            .config
            .get("http.listen")
            .rsplit_once(':')
            .unwrap();
        port.parse().unwrap()
    }

    pub async fn stop(self) {
        self.daemon.end(Signal::TERM).await;
    }
}
