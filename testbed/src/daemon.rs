//! The daemon under test: the real program, driven through its interfaces alone.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    sync::Mutex,
};

use rustix::process::Signal;
use serde_json::Value;

use crate::{
    Config, PATIENCE, Process, eventually,
    http::{get, try_get},
};

pub struct Daemon {
    pub config: Config,
    log: PathBuf,
    command: Mutex<Command>,
    process: Mutex<Option<Process>>,
}

impl Daemon {
    /// One that does not run yet.
    pub fn new(config: &Config) -> Self {
        Self::with_command(config, config.serve())
    }

    /// The same, started by this command, which has the configuration.
    pub fn with_command(config: &Config, command: Command) -> Self {
        let log = config.fresh("log");
        File::create(&log).unwrap();
        Self {
            config: config.clone(),
            log,
            command: Mutex::new(command),
            process: Mutex::new(None),
        }
    }

    /// What it is started by from now on.
    pub fn replace(&self, command: Command) {
        *self.command.lock().unwrap() = command;
    }

    /// Starts it, also after it ended, and awaits nothing.
    pub fn spawn(&self) {
        let mut command = self.command.lock().unwrap();
        let process = Process::start_with(&mut command, &self.log).unwrap();
        *self.process.lock().unwrap() = Some(process);
    }

    /// Starts it and awaits that it is ready, whatever its link does.
    pub async fn start(&self) {
        self.spawn();
        eventually("the daemon is ready", PATIENCE, async || {
            self.assert_runs();
            (self.try_readiness().await?.0 == 200).then_some(())
        })
        .await;
    }

    /// Starts it and awaits its link.
    pub async fn start_linked(&self) {
        self.start().await;
        self.link("up").await;
    }

    /// The component's domain, which is what phones register with.
    pub fn service(&self) -> &str {
        self.config.get("component.domain")
    }

    pub fn url(&self, path: &str) -> String {
        self.config.url(path)
    }

    pub fn admin(&self, path: &str) -> String {
        self.config.admin(path)
    }

    /// None while nobody answers.
    pub async fn try_readiness(&self) -> Option<(u16, Value)> {
        let answer = try_get(&self.admin("/readyz")).await?;
        Some((answer.status, serde_json::from_slice(&answer.body).ok()?))
    }

    pub async fn readiness(&self) -> (u16, Value) {
        self.try_readiness().await.expect("readiness as JSON")
    }

    pub async fn has_link(&self) -> bool {
        let readiness = self.try_readiness().await;
        readiness.is_some_and(|(_, json)| json["link"] == "up")
    }

    /// Awaits a state of the link, for which the link may have to wait before it tries again.
    pub async fn link(&self, state: &str) {
        eventually(&format!("the link is {state}"), 3 * PATIENCE, async || {
            self.assert_runs();
            let (_, readiness) = self.try_readiness().await?;
            (readiness["link"] == state).then_some(())
        })
        .await;
    }

    /// Awaits that the daemon is ready and says so of its store; whoever started the daemon sees to it
    /// that it runs.
    pub async fn store(&self, state: &str) {
        eventually(&format!("the store is {state}"), PATIENCE, async || {
            let (status, readiness) = self.try_readiness().await?;
            (status == 200 && readiness["store"] == state).then_some(())
        })
        .await;
    }

    pub async fn metrics(&self) -> String {
        get(&self.admin("/metrics")).await.text()
    }

    /// The sum over a metric's labels. With a label, such as `state="up"`, of those children only.
    pub async fn metric(&self, name: &str, label: &str) -> f64 {
        let text = self.metrics().await;
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
        eventually(&what, 2 * PATIENCE, async || {
            (self.metric(name, label).await == value).then_some(())
        })
        .await;
    }

    /// The file of its log, which outlives it.
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap()).into_owned()
    }

    /// Awaits words in the log.
    pub async fn logged(&self, words: &str) {
        eventually(&format!("{words:?} in the log"), PATIENCE, async || {
            self.assert_runs();
            self.log().contains(words).then_some(())
        })
        .await;
    }

    /// Of the process, which must have been started.
    pub fn pid(&self) -> u32 {
        self.try_pid().unwrap()
    }

    /// None while it is not running.
    pub fn try_pid(&self) -> Option<u32> {
        self.process.lock().unwrap().as_ref().map(Process::id)
    }

    pub fn signal(&self, signal: Signal) {
        self.process
            .lock()
            .unwrap()
            .as_ref()
            .unwrap()
            .signal(signal);
    }

    /// How it ended, if it did and nobody has seen to that.
    pub fn ended(&self) -> Option<ExitStatus> {
        self.process.lock().unwrap().as_mut()?.ended()
    }

    fn assert_runs(&self) {
        if let Some(status) = self.ended() {
            panic!("the daemon ended, {status}: {}", self.log());
        }
    }

    /// The exit code; None after a signal.
    pub async fn exit(&self) -> Option<i32> {
        eventually("the daemon ends", PATIENCE, async || self.ended())
            .await
            .code()
    }

    pub async fn end(&self, signal: Signal) -> ExitStatus {
        let process = self.process.lock().unwrap().take();
        let mut process = process.expect("the daemon was started");
        process.signal(signal);
        process.exit(PATIENCE).await
    }

    /// Without a word to anybody.
    pub async fn kill(&self) {
        assert_eq!(self.end(Signal::KILL).await.code(), None, "{}", self.log());
    }

    /// As systemd stops it.
    pub async fn stop(&self) {
        assert_eq!(
            self.end(Signal::TERM).await.code(),
            Some(0),
            "{}",
            self.log()
        );
    }
}
