//! A daemon that is killed, stopped and started again, on a disk that can fail, with a clock that may
//! jump.

use std::{
    ops::Deref,
    path::Path,
    process::{Command, ExitStatus, Stdio},
};

use testbed::{Config, MovedClock, PATIENCE, eventually, http::try_get};

use crate::disk::Disk;

pub struct Daemon {
    pub disk: Disk,
    daemon: testbed::Daemon,
}

impl Deref for Daemon {
    type Target = testbed::Daemon;

    fn deref(&self) -> &testbed::Daemon {
        &self.daemon
    }
}

impl Daemon {
    /// It does not run yet.
    pub fn new(config: &Config, program: &Path, clock: &MovedClock) -> Self {
        let state = Path::new(config.get("state_dir"));
        std::fs::create_dir_all(state).unwrap();
        let disk = Disk::new(state);
        let command = serve(config, program, &disk, clock);
        Self {
            daemon: testbed::Daemon::with_command(config, command),
            disk,
        }
    }

    /// Another program is started from now on.
    pub fn upgrade(&self, program: &Path, clock: &MovedClock) {
        self.replace(serve(&self.config, program, &self.disk, clock));
    }

    /// Where this daemon takes what was registered with any of its replicas.
    pub fn at(&self, endpoint: &str) -> String {
        let rest = endpoint.strip_prefix("http://").expect("an http URL");
        self.url(rest.find('/').map_or("", |start| &rest[start..]))
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
}

fn serve(config: &Config, program: &Path, disk: &Disk, clock: &MovedClock) -> Command {
    let mut command = config.command_of(program, &["serve"]);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    disk.attach(&mut command);
    clock.attach(&mut command);
    command
}
