//! A daemon that is killed, stopped and started again, on a disk that can fail.

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::Mutex,
    time::Duration,
};

use rustix::process::Signal;
use serde_json::Value;

use crate::{
    disk::Disk,
    http::try_get,
    process::{Process, eventually, free_port},
};

/// Longer than anything takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Daemon {
    pub disk: Disk,
    dir: PathBuf,
    http: u16,
    admin: u16,
    process: Mutex<Option<Process>>,
}

impl Daemon {
    /// With these settings, by dotted key, as TOML writes them. It does not run yet.
    pub fn new(dir: &Path, settings: &[(&str, String)]) -> Self {
        let (http, admin) = (free_port(), free_port());
        let state = dir.join("state");
        std::fs::create_dir_all(&state).unwrap();
        let mut config = format!(
            "state_dir = {state:?}\nhttp.listen = \"127.0.0.1:{http}\"\n\
             http.public_url = \"http://127.0.0.1:{http}\"\nadmin.listen = \"127.0.0.1:{admin}\"\n"
        );
        for (key, value) in settings {
            config += &format!("{key} = {value}\n");
        }
        std::fs::write(dir.join("config.toml"), config).unwrap();
        Self {
            disk: Disk::new(&state),
            dir: dir.to_owned(),
            http,
            admin,
            process: Mutex::new(None),
        }
    }

    pub fn log_path(&self) -> PathBuf {
        self.dir.join("daemon.log")
    }

    /// Where this daemon takes what was registered with any of its replicas.
    pub fn url(&self, endpoint: &str) -> String {
        let rest = endpoint.strip_prefix("http://").expect("an http URL");
        let path = rest.find('/').map_or("", |start| &rest[start..]);
        format!("http://127.0.0.1:{}{path}", self.http)
    }

    pub fn spawn(&self) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_unified-push"));
        command.env_clear().arg("serve").arg("--config");
        command.arg(self.dir.join("config.toml"));
        self.disk.attach(&mut command);
        command.stdin(Stdio::null());
        let process = Process::start(&mut command, &self.log_path()).unwrap();
        *self.process.lock().unwrap() = Some(process);
    }

    /// How it ended, if it did.
    pub fn ended(&self) -> Option<ExitStatus> {
        self.process.lock().unwrap().as_mut()?.ended()
    }

    /// Starts it and awaits that it answers. What `may_fail` excuses is tried again, as a service
    /// manager does.
    pub async fn start(&self, may_fail: impl Fn() -> bool) -> Result<(), ExitStatus> {
        let mut excused = may_fail();
        self.spawn();
        eventually("the daemon answers", 4 * PATIENCE, async || {
            if let Some(status) = self.ended() {
                if !excused && !may_fail() {
                    return Some(Err(status));
                }
                excused = may_fail();
                self.spawn();
            }
            let answer = try_get(&self.admin("/healthz")).await?;
            (answer.status == 200).then_some(Ok(()))
        })
        .await
    }

    pub async fn kill(&self) {
        self.end(Signal::KILL).await;
    }

    /// As systemd stops it.
    pub async fn stop(&self) -> ExitStatus {
        self.end(Signal::TERM).await
    }

    async fn end(&self, signal: Signal) -> ExitStatus {
        let process = self.process.lock().unwrap().take();
        let mut process = process.expect("the daemon was started");
        process.signal(signal);
        process.exit(PATIENCE).await
    }

    /// The answer of `/readyz`; None while it does not run.
    pub async fn readiness(&self) -> Option<(u16, Value)> {
        let answer = try_get(&self.admin("/readyz")).await?;
        Some((answer.status, serde_json::from_slice(&answer.body).ok()?))
    }

    pub async fn has_link(&self) -> bool {
        let readiness = self.readiness().await;
        readiness.is_some_and(|(_, json)| json["link"] == "up")
    }

    pub async fn linked(&self) {
        eventually("the link is up", 3 * PATIENCE, async || {
            self.has_link().await.then_some(())
        })
        .await;
    }

    /// Awaits that it is ready with this status.
    pub async fn ready(&self, status: u16) {
        eventually(&format!("/readyz is {status}"), PATIENCE, async || {
            let readiness = self.readiness().await?;
            (readiness.0 == status).then_some(())
        })
        .await;
    }

    fn admin(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.admin)
    }
}
