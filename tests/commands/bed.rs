//! What a test works with: an XMPP server and a phone in this process, and the daemon and the
//! commands beside it, with a directory of their own.

use std::{
    cell::Cell,
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use jid::{BareJid, Jid};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::time::timeout;
use unified_push::{
    demo::{Phone, Push, Server},
    model::secret::Secret,
};

use crate::{
    http::{Response, get, post, try_get},
    process::{Process, eventually, free_port},
};

pub const BIN: &str = env!("CARGO_BIN_EXE_unified-push");
pub const DOMAIN: &str = "up.example.org";
pub const OWNER: &str = "juliet@example.org";
pub const BACKENDS: [&str; 3] = ["paseto", "jwt", "storage"];

/// Longer than anything takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub const COMPONENT_SECRET: &str = "the secret of the component";

pub struct Bed {
    dir: TempDir,
    pub server: Server,
    pub phone: Phone,
    values: BTreeMap<&'static str, String>,
    files: Cell<u32>,
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
        let domain = BareJid::new(DOMAIN).unwrap();
        let secret = Secret::new(COMPONENT_SECRET);
        let server = Server::start(domain, secret).await.unwrap();
        let phone = server.phone(Jid::new(&format!("{OWNER}/phone")).unwrap());
        let mut bed = Self {
            dir: tempfile::tempdir().unwrap(),
            phone,
            values: BTreeMap::new(),
            files: Cell::new(0),
            server,
        };
        let (http, admin) = (free_port(), free_port());
        bed.text("component.domain", DOMAIN);
        bed.value("component.port", bed.server.port());
        bed.text("component.secret", COMPONENT_SECRET);
        bed.text("secret", &secret_of('a'));
        bed.text("state_dir", bed.state_dir().to_str().unwrap());
        bed.text("http.listen", &format!("127.0.0.1:{http}"));
        bed.text("http.public_url", &format!("http://127.0.0.1:{http}"));
        bed.text("admin.listen", &format!("127.0.0.1:{admin}"));
        bed
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
        self.values.insert(key, value.to_string());
    }

    pub fn unset(&mut self, key: &'static str) {
        self.values.remove(key);
    }

    /// What a URL with this path is, where pushes are taken.
    pub fn url(&self, path: &str) -> String {
        let public = self.values["http.public_url"].trim_matches('"');
        format!("{public}{path}")
    }

    /// The configuration as a file, as it is now.
    pub fn config(&self) -> PathBuf {
        let file = self.path("config.toml");
        let line = |(key, value): (&&str, &String)| format!("{key} = {value}\n");
        let text: String = self.values.iter().map(line).collect();
        fs::write(&file, text).unwrap();
        file
    }

    /// The binary with the configuration and nothing in its environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(BIN);
        command.env_clear().args(arguments);
        command.arg("--config").arg(self.config());
        command
    }

    /// Runs a command to its end.
    pub async fn run(&self, arguments: &[&str]) -> Ended {
        self.run_with(self.command(arguments), b"").await
    }

    pub async fn run_with(&self, mut command: Command, input: &[u8]) -> Ended {
        let [stdin, stdout, stderr] = ["in", "out", "err"].map(|ending| self.fresh(ending));
        fs::write(&stdin, input).unwrap();
        command.stdin(File::open(stdin).unwrap());
        command.stdout(File::create(&stdout).unwrap());
        let mut process = Process::start_with(&mut command, &stderr).unwrap();
        let status = process.exit(PATIENCE).await;
        Ended {
            code: status.code(),
            stdout: fs::read_to_string(stdout).unwrap(),
            stderr: process.log(),
        }
    }

    /// Starts the daemon and awaits its link.
    pub async fn start(&self) -> Daemon {
        self.start_with(&mut self.command(&["serve"])).await
    }

    pub async fn start_with(&self, command: &mut Command) -> Daemon {
        let mut daemon = self.spawn(command.stdin(Stdio::null()).stdout(Stdio::null()));
        daemon.link("up").await;
        daemon
    }

    /// Starts the daemon and awaits nothing.
    pub fn spawn(&self, command: &mut Command) -> Daemon {
        let log = self.fresh("log");
        let admin = self.values["admin.listen"].trim_matches('"');
        Daemon {
            process: Process::start_with(command, &log).unwrap(),
            log,
            admin: format!("http://{admin}"),
        }
    }

    /// A name for a file that is not there yet.
    fn fresh(&self, ending: &str) -> PathBuf {
        let number = self.files.replace(self.files.get() + 1);
        self.path(&format!("{number}.{ending}"))
    }

    /// The endpoint that the phone gets for an app.
    pub async fn register(&self, application: &str) -> String {
        let registered = timeout(PATIENCE, self.phone.register(application, "1")).await;
        registered.expect("an answer").expect("accepted").url
    }

    pub async fn arrived(&mut self) -> Push {
        let push = timeout(PATIENCE, self.phone.push()).await;
        push.expect("a push arrives")
    }
}

impl Ended {
    /// Fails the test unless the command ended so; returns all that it said.
    pub fn with(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{self:?}");
        self.stdout + &self.stderr
    }
}

pub struct Daemon {
    process: Process,
    /// Its log, which outlives it.
    pub log: PathBuf,
    admin: String,
}

impl Daemon {
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Awaits words in the log.
    pub async fn logged(&mut self, words: &str) {
        eventually(&format!("{words:?} in the log"), PATIENCE, async || {
            let log = self.log();
            assert!(self.process.ended().is_none(), "the daemon ended: {log}");
            log.contains(words).then_some(())
        })
        .await;
    }

    pub fn admin(&self, path: &str) -> String {
        format!("{}{path}", self.admin)
    }

    /// Awaits a state of the link.
    pub async fn link(&mut self, state: &str) {
        eventually(&format!("the link is {state}"), PATIENCE, async || {
            if let Some(status) = self.process.ended() {
                panic!("the daemon ended, {status}: {}", self.log());
            }
            let readiness = try_get(&self.admin("/readyz")).await?.text();
            readiness
                .contains(&format!(r#""link":"{state}""#))
                .then_some(())
        })
        .await;
    }

    pub async fn metrics(&self) -> String {
        get(&self.admin("/metrics")).await.text()
    }

    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// The exit code; None after a signal.
    pub async fn exit(&mut self) -> Option<i32> {
        self.process.exit(PATIENCE).await.code()
    }

    /// As systemd stops it.
    pub async fn stop(mut self) {
        self.signal(Signal::TERM);
        assert_eq!(self.exit().await, Some(0), "{}", self.log());
    }
}

/// A secret for tokens.
pub fn secret_of(letter: char) -> String {
    String::from(letter).repeat(32)
}

/// The status of a push.
pub async fn push(endpoint: &str) -> u16 {
    answer_to(endpoint, b"a message").await.status
}

pub async fn answer_to(endpoint: &str, body: &[u8]) -> Response {
    post(endpoint, &[("TTL", "60")], body).await
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
