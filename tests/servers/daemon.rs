//! The daemon under test: the real binary with a configuration of its own, driven through its
//! fixed interface only.

use std::{collections::BTreeMap, path::PathBuf, process::Command, time::Duration};

use rustix::process::Signal;
use serde_json::Value;

use crate::{
    bed::Bed,
    http::{Response, get, post, try_get},
    process::{Process, eventually, free_port},
    server::{Account, Server},
};

const START: Duration = Duration::from_secs(20);

/// The link's backoff included.
const LINK: Duration = Duration::from_secs(40);

/// How long it may take until a metric is right.
const COUNTED: Duration = Duration::from_secs(40);

/// What tokens rest on; looked for in logs and answers.
pub const SECRET: &str = "the-daemon-s-token-secret-of-more-than-32-bytes";

/// The daemon's settings by dotted key, as written to its configuration file.
#[derive(Clone)]
pub struct Settings {
    pub component: Account,
    dir: PathBuf,
    http: u16,
    admin: u16,
    values: BTreeMap<&'static str, String>,
}

impl Settings {
    pub fn new(bed: &Bed, server: &Server) -> Self {
        let settings = Self {
            component: server.component(),
            dir: PathBuf::new(),
            http: 0,
            admin: 0,
            values: BTreeMap::new(),
        };
        let component = settings.component.clone();
        settings
            .text("secret", SECRET)
            .text("component.host", "127.0.0.1")
            .value("component.port", server.layout.components)
            .text("limits.endpoint_rate", "1000/s, burst 1000")
            .text("log.level", "debug")
            .component(&component)
            .twin(bed)
    }

    /// The same with a directory and ports of its own.
    pub fn twin(&self, bed: &Bed) -> Self {
        let (http, admin) = (free_port(), free_port());
        let dir = bed.dir().join(format!("daemon-{http}"));
        std::fs::create_dir(&dir).unwrap();
        let twin = Self {
            dir: dir.clone(),
            http,
            admin,
            ..self.clone()
        };
        twin.text("state_dir", &dir.join("state").display().to_string())
            .text("http.listen", &format!("127.0.0.1:{http}"))
            .text("http.public_url", &format!("http://127.0.0.1:{http}"))
            .text("admin.listen", &format!("127.0.0.1:{admin}"))
    }

    pub fn text(self, key: &'static str, value: &str) -> Self {
        self.value(key, format!("{value:?}"))
    }

    /// A value as TOML writes it.
    pub fn value(mut self, key: &'static str, value: impl ToString) -> Self {
        self.values.insert(key, value.to_string());
        self
    }

    pub fn component(self, account: &Account) -> Self {
        let settings = self.text("component.domain", &account.domain);
        Self {
            component: account.clone(),
            ..settings.text("component.secret", &account.secret)
        }
    }

    /// Runs a subcommand with these settings.
    pub fn command(&self, subcommand: &str) -> Command {
        let file = self.dir.join("config.toml");
        let line = |(key, value): (&&str, &String)| format!("{key} = {value}\n");
        std::fs::write(&file, self.values.iter().map(line).collect::<String>()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_unified-push"));
        command.env_clear();
        command.args([subcommand, "--config"]);
        command.arg(file);
        command
    }

    /// Starts the daemon and awaits that it is ready, whatever its link does.
    pub async fn start(&self, bed: &Bed) -> Daemon {
        let log = self.dir.join("daemon.log");
        bed.keep_log(&log);
        let process = Process::start(&mut self.command("serve"), &log).unwrap();
        let mut daemon = Daemon {
            settings: self.clone(),
            process,
        };
        eventually("the daemon is ready", START, async || {
            let ended = daemon.process.ended();
            assert!(ended.is_none(), "the daemon ended: {ended:?}");
            let answer = try_get(&daemon.admin("/readyz")).await?;
            (answer.status == 200).then_some(())
        })
        .await;
        daemon
    }

    /// Starts the daemon and awaits its link.
    pub async fn start_linked(&self, bed: &Bed) -> Daemon {
        let daemon = self.start(bed).await;
        daemon.link("up").await;
        daemon
    }
}

pub struct Daemon {
    pub settings: Settings,
    process: Process,
}

impl Daemon {
    /// The component's domain, which is what phones register with.
    pub fn service(&self) -> &str {
        &self.settings.component.domain
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.settings.http)
    }

    pub fn admin(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.settings.admin)
    }

    pub async fn readiness(&self) -> (u16, Value) {
        let answer = get(&self.admin("/readyz")).await;
        let json = serde_json::from_slice(&answer.body).expect("JSON");
        (answer.status, json)
    }

    /// Awaits a state of the link.
    pub async fn link(&self, state: &str) {
        eventually(&format!("the link is {state}"), LINK, async || {
            let (_, readiness) = self.readiness().await;
            (readiness["link"] == state).then_some(())
        })
        .await;
    }

    pub async fn metrics(&self) -> Response {
        get(&self.admin("/metrics")).await
    }

    /// The sum over a metric's labels. With a label, such as `state="up"`, of those children only.
    pub async fn metric(&self, name: &str, label: &str) -> f64 {
        let text = self.metrics().await.text();
        let lines = text.lines().filter(|line| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with(['{', ' ']) && rest.contains(label))
        });
        let values = lines.map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        let values: Option<Vec<f64>> = values.collect();
        let values = values.expect("numbers");
        assert!(!values.is_empty(), "no metric {name} {label}");
        values.iter().sum()
    }

    /// Awaits a value of a metric; what is counted in the store is counted now and then.
    pub async fn becomes(&self, name: &str, label: &str, value: f64) {
        let what = format!("{name} {label} is {value}");
        eventually(&what, COUNTED, async || {
            (self.metric(name, label).await == value).then_some(())
        })
        .await;
    }

    pub fn log(&self) -> String {
        self.process.log()
    }

    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// The exit code; None after a signal.
    pub async fn exit(mut self) -> Option<i32> {
        self.process.exit(Duration::from_secs(20)).await.code()
    }

    /// Without a word to anybody.
    pub async fn kill(self) {
        self.signal(Signal::KILL);
        assert_eq!(self.exit().await, None, "exit code");
    }

    /// As systemd stops it.
    pub async fn stop(self) {
        self.signal(Signal::TERM);
        assert_eq!(self.exit().await, Some(0), "exit code");
    }
}

/// A push with a TTL of a minute.
pub async fn push(endpoint: &str, body: &[u8]) -> Response {
    post(endpoint, &[("TTL", "60")], body).await
}
