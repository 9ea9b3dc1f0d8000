//! The daemon as a user runs it, linked to a [`Host`] or to a real server.

use std::{fs, path::Path, process::Command, time::Duration};

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep},
};
use unified_push::token::Backend;

use crate::{
    host::{self, Host},
    measured::Process,
    process::free_port,
};

pub const BACKENDS: [Backend; 3] = [Backend::Paseto, Backend::Jwt, Backend::Storage];

/// What tokens rest on.
pub const SECRET: &str = "the benchmark's secret of at least 32 bytes";

/// For its start, under valgrind too.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Daemon {
    pub process: Process,
    pub http: u16,
    /// From its start to the first "ready".
    pub start: Duration,
    admin: u16,
    _dir: TempDir,
}

/// What a component needs to know of its server.
pub struct Component<'a> {
    pub domain: &'a str,
    pub secret: &'a str,
    pub port: u16,
}

pub struct Start<'a> {
    binary: &'a Path,
    backend: Backend,
    state_dir: Option<&'a Path>,
    settings: &'a str,
    wrapper: &'a [String],
}

impl<'a> Start<'a> {
    pub fn new(binary: &'a Path, backend: Backend) -> Self {
        Self {
            binary,
            backend,
            state_dir: None,
            settings: "",
            wrapper: &[],
        }
    }

    /// A store that is there already.
    pub fn on(self, state_dir: &'a Path) -> Self {
        Self {
            state_dir: Some(state_dir),
            ..self
        }
    }

    /// More lines of the configuration.
    pub fn with(self, settings: &'a str) -> Self {
        Self { settings, ..self }
    }

    /// A command that runs it.
    pub fn under(self, wrapper: &'a [String]) -> Self {
        Self { wrapper, ..self }
    }

    pub async fn run(self) -> (Daemon, Host) {
        let host = Host::start();
        let daemon = self
            .at(&Component {
                domain: host::DOMAIN,
                secret: "component",
                port: host.port,
            })
            .await;
        (daemon, host)
    }

    /// As a component of that server; waits for the link.
    pub async fn at(self, component: &Component<'_>) -> Daemon {
        let dir = tempfile::tempdir().unwrap();
        let (http, admin) = (free_port(), free_port());
        let state_dir = self.state_dir.unwrap_or(dir.path());
        let file = dir.path().join("config.toml");
        let config = config(state_dir, self.backend, component, http, admin);
        fs::write(&file, config + self.settings).unwrap();
        let mut words = self.wrapper.iter().map(AsRef::as_ref);
        let mut command = match words.next() {
            Some(wrapper) => Command::new::<&Path>(wrapper),
            None => Command::new(self.binary),
        };
        if !self.wrapper.is_empty() {
            command.args(words).arg(self.binary);
        }
        let begin = Instant::now();
        let mut daemon = Daemon {
            process: Process::start(command.arg("--config").arg(&file)),
            http,
            start: Duration::ZERO,
            admin,
            _dir: dir,
        };
        while daemon.ready().await.is_none() {
            assert!(begin.elapsed() < PATIENCE, "not ready");
            sleep(Duration::from_micros(200)).await;
        }
        daemon.start = begin.elapsed();
        while !daemon.is_linked().await {
            assert!(begin.elapsed() < PATIENCE, "no link");
            sleep(Duration::from_millis(1)).await;
        }
        daemon
    }
}

impl Daemon {
    pub async fn is_linked(&self) -> bool {
        let answer = self.ready().await;
        answer.is_some_and(|answer| answer.contains(r#""link":"up""#))
    }

    async fn ready(&self) -> Option<String> {
        let answer = self.admin("/readyz").await?;
        answer.starts_with("HTTP/1.1 200 ").then_some(answer)
    }

    /// None when nobody answers.
    async fn admin(&self, path: &str) -> Option<String> {
        let stream = TcpStream::connect(("127.0.0.1", self.admin)).await;
        let mut stream = stream.ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let mut answer = String::new();
        stream.write_all(request.as_bytes()).await.ok()?;
        stream.read_to_string(&mut answer).await.ok()?;
        Some(answer)
    }
}

/// Limits that no load of a benchmark meets, and otherwise the defaults.
fn config(
    state_dir: &Path,
    backend: Backend,
    component: &Component<'_>,
    http: u16,
    admin: u16,
) -> String {
    let Component {
        domain,
        secret,
        port,
    } = component;
    format!(
        "backend = \"{backend}\"\n\
         secret = \"{SECRET}\"\n\
         state_dir = \"{}\"\n\
         component.domain = \"{domain}\"\n\
         component.port = {port}\n\
         component.secret = \"{secret}\"\n\
         http.listen = \"127.0.0.1:{http}\"\n\
         http.public_url = \"http://127.0.0.1:{http}\"\n\
         admin.listen = \"127.0.0.1:{admin}\"\n\
         delivery.ack_timeout = \"5s\"\n\
         limits.endpoint_rate = \"1000000/s, burst 1000000\"\n\
         limits.registration_rate = \"1000000/s, burst 1000000\"\n\
         limits.connections = 20000\n\
         log.level = \"error\"\n",
        state_dir.display(),
    )
}
