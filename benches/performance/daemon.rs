//! The daemon as a user runs it, linked to a [`Host`].

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep},
};
use unified_push::token::Backend;

use crate::{
    host::{DOMAIN, Host},
    process::{Process, free_port},
};

pub const BACKENDS: [Backend; 3] = [Backend::Paseto, Backend::Jwt, Backend::Storage];

/// What tokens rest on.
pub const SECRET: &str = "the benchmark's secret of at least 32 bytes";

/// For its start, under valgrind too.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Daemon {
    pub process: Process,
    pub host: Host,
    pub http: u16,
    /// From its start to the first "ready".
    pub start: Duration,
    _dir: TempDir,
}

pub struct Start<'a> {
    binary: &'a Path,
    backend: Backend,
    state_dir: Option<&'a Path>,
    wrapper: &'a [String],
}

impl<'a> Start<'a> {
    pub fn new(binary: &'a Path, backend: Backend) -> Self {
        Self {
            binary,
            backend,
            state_dir: None,
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

    /// A command that runs it.
    pub fn under(self, wrapper: &'a [String]) -> Self {
        Self { wrapper, ..self }
    }

    pub async fn run(self) -> Daemon {
        let dir = tempfile::tempdir().unwrap();
        let host = Host::start();
        let (http, admin) = (free_port(), free_port());
        let state_dir = self.state_dir.unwrap_or(dir.path());
        let file = config(dir.path(), state_dir, self.backend, host.port, http, admin);
        let mut words = self.wrapper.iter().map(AsRef::as_ref);
        let mut command = match words.next() {
            Some(wrapper) => Command::new::<&Path>(wrapper),
            None => Command::new(self.binary),
        };
        if !self.wrapper.is_empty() {
            command.args(words).arg(self.binary);
        }
        let begin = Instant::now();
        let process = Process::start(command.arg("--config").arg(&file));
        while !ready(admin).await {
            assert!(begin.elapsed() < PATIENCE, "not ready");
            sleep(Duration::from_micros(200)).await;
        }
        let start = begin.elapsed();
        while !host.has_admitted() {
            assert!(begin.elapsed() < PATIENCE, "no link");
            sleep(Duration::from_millis(1)).await;
        }
        Daemon {
            process,
            host,
            http,
            start,
            _dir: dir,
        }
    }
}

/// Limits that no load of a benchmark meets, and otherwise the defaults.
fn config(
    dir: &Path,
    state_dir: &Path,
    backend: Backend,
    component: u16,
    http: u16,
    admin: u16,
) -> PathBuf {
    let file = dir.join("config.toml");
    let toml = format!(
        "backend = \"{backend}\"\n\
         secret = \"{SECRET}\"\n\
         state_dir = \"{}\"\n\
         component.domain = \"{DOMAIN}\"\n\
         component.port = {component}\n\
         component.secret = \"component\"\n\
         http.listen = \"127.0.0.1:{http}\"\n\
         http.public_url = \"http://127.0.0.1:{http}\"\n\
         admin.listen = \"127.0.0.1:{admin}\"\n\
         delivery.ack_timeout = \"5s\"\n\
         limits.endpoint_rate = \"1000000/s, burst 1000000\"\n\
         limits.registration_rate = \"1000000/s, burst 1000000\"\n\
         limits.connections = 20000\n\
         log.level = \"error\"\n",
        state_dir.display(),
    );
    fs::write(&file, toml).unwrap();
    file
}

async fn ready(admin: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", admin)).await else {
        return false;
    };
    let request = b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let mut answer = Vec::new();
    stream.write_all(request).await.is_ok()
        && stream.read_to_end(&mut answer).await.is_ok()
        && answer.starts_with(b"HTTP/1.1 200 ")
}
