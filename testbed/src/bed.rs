//! What most tests work with: an XMPP server and a phone in this process, and the daemon and the
//! commands beside it, with a directory of their own.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use tempfile::TempDir;

use crate::{Account, Config, Daemon, FakePhone, FakeServer, PATIENCE, Process, Push, http};

pub const DOMAIN: &str = "up.example.org";
pub const OWNER: &str = "juliet@example.org";
pub const COMPONENT_SECRET: &str = "the secret of the component";
pub const BACKENDS: [&str; 3] = ["paseto", "jwt", "storage"];

pub struct Bed {
    dir: TempDir,
    pub server: FakeServer,
    pub phone: FakePhone,
    pub config: Config,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    /// None after a signal.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Bed {
    /// With a secret for tokens; nothing runs yet but the XMPP server.
    pub async fn new() -> Self {
        let account = Account {
            domain: DOMAIN.to_owned(),
            secret: COMPONENT_SECRET.to_owned(),
        };
        let dir = tempfile::tempdir().unwrap();
        let server = FakeServer::start(account.clone()).await;
        let config = Config::new(dir.path(), &account, server.port);
        Self {
            phone: server.phone(&format!("{OWNER}/phone")),
            config: config.text("secret", &secret_of('a')),
            dir,
            server,
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn state_dir(&self) -> PathBuf {
        self.path("state")
    }

    pub fn database(&self) -> PathBuf {
        self.state_dir().join("unified-push.db")
    }

    pub fn text(&mut self, key: &'static str, value: &str) {
        self.value(key, format!("{value:?}"));
    }

    /// Sets an option, as TOML writes it.
    pub fn value(&mut self, key: &'static str, value: impl ToString) {
        self.config.set(key, value);
    }

    /// What a URL with this path is, where pushes are taken.
    pub fn url(&self, path: &str) -> String {
        self.config.url(path)
    }

    /// The binary with the configuration and nothing in its environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.config.command(arguments)
    }

    /// Runs a command to its end.
    pub async fn run(&self, arguments: &[&str]) -> Ended {
        self.run_within(PATIENCE, arguments).await
    }

    /// Runs one that may take so long.
    pub async fn run_within(&self, limit: Duration, arguments: &[&str]) -> Ended {
        self.run_to_its_end(self.command(arguments), b"", limit)
            .await
    }

    pub async fn run_with(&self, command: Command, input: &[u8]) -> Ended {
        self.run_to_its_end(command, input, PATIENCE).await
    }

    async fn run_to_its_end(&self, mut command: Command, input: &[u8], limit: Duration) -> Ended {
        let [stdin, stdout, stderr] = ["in", "out", "err"].map(|ending| self.config.fresh(ending));
        fs::write(&stdin, input).unwrap();
        command.stdin(File::open(stdin).unwrap());
        command.stdout(File::create(&stdout).unwrap());
        let mut process = Process::start_with(&mut command, &stderr).unwrap();
        let status = process.exit(limit).await;
        Ended {
            code: status.code(),
            stdout: fs::read_to_string(stdout).unwrap(),
            stderr: process.log(),
        }
    }

    /// Starts the daemon and awaits its link.
    pub async fn start(&self) -> Daemon {
        self.start_with(self.config.serve()).await
    }

    pub async fn start_with(&self, command: Command) -> Daemon {
        let daemon = self.spawn(command);
        daemon.link("up").await;
        daemon
    }

    /// Starts the daemon and awaits nothing.
    pub fn spawn(&self, command: Command) -> Daemon {
        let daemon = Daemon::with_command(&self.config, command);
        daemon.spawn();
        daemon
    }

    /// The endpoint that the phone gets for an app.
    pub async fn register(&self, application: &str) -> String {
        let registered = self.phone.register(application).await;
        registered.expect("accepted").endpoint
    }

    pub async fn arrived(&mut self) -> Push {
        self.phone.push().await
    }
}

impl Ended {
    /// Fails the test unless the command ended so; returns all that it said.
    pub fn with(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{self:?}");
        self.stdout + &self.stderr
    }
}

/// A secret for tokens.
pub fn secret_of(letter: char) -> String {
    String::from(letter).repeat(32)
}

/// The status of a push.
pub async fn push(endpoint: &str) -> u16 {
    http::push(endpoint, b"a message").await.status
}

/// What a directory holds.
pub fn names_in(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
    let mut names: Vec<_> = entries
        .map(|entry| name(entry).into_string().unwrap())
        .collect();
    names.sort();
    names
}
