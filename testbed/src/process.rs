//! Child processes, their ports and their waiting: everything bounded, everything stopped by pid.

use std::{
    fs::File,
    io,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        LazyLock,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

/// A child process whose output goes to a file; dropping it kills it.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    pub fn start(command: &mut Command, log: &Path) -> io::Result<Self> {
        let output = File::options().create(true).append(true).open(log)?;
        Self::start_with(command.stdin(Stdio::null()).stdout(output), log)
    }

    /// With the standard input and output that the command has; only the errors go to the file.
    pub fn start_with(command: &mut Command, log: &Path) -> io::Result<Self> {
        let errors = File::options().create(true).append(true).open(log)?;
        Ok(Self {
            child: command.stderr(errors).spawn()?,
            log: log.to_owned(),
        })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> String {
        let bytes = std::fs::read(&self.log).expect("the log was created at the start");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub fn signal(&self, signal: Signal) {
        // It may have ended by itself; whoever waits for its exit sees how.
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }

    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child
            .try_wait()
            .expect("the child is ours to wait for")
    }

    pub async fn exit(&mut self, within: Duration) -> ExitStatus {
        eventually("the process ends", within, async || self.ended()).await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Polls until there is an answer, or fails the test.
pub async fn eventually<T>(
    what: &str,
    within: Duration,
    mut poll: impl AsyncFnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = poll().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {within:?}: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// The ports that are handed out: below those of outgoing connections.
const FIRST: u16 = 10_000;
const COUNT: u16 = 22_000;

/// How many of them a process begins with.
const OWN: u16 = 500;

/// On the first of this process' own ports, which nobody else begins with while it listens.
static MARK: LazyLock<Option<TcpListener>> = LazyLock::new(|| {
    let parts = u32::from(COUNT / OWN);
    let mut starts = (0..parts).map(|part| (std::process::id() + part) % parts);
    starts.find_map(|start| TcpListener::bind(("127.0.0.1", FIRST + start as u16 * OWN)).ok())
});

/// A loopback port that nobody listens on, and never handed out twice by this process. Each process
/// begins with its own, so that two runs do not race for the same ones.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let mark = MARK.as_ref().and_then(|mark| mark.local_addr().ok());
    let start = mark.map_or(0, |mark| mark.port() - FIRST);
    for _ in 0..COUNT {
        let offset = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        let port = FIRST + (start + offset) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between {FIRST} and {}", FIRST + COUNT);
}
