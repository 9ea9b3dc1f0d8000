//! A process that is measured: started, watched through /proc, stopped.

use std::{
    fs, io,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{net::TcpStream, time::sleep};

/// Of `/proc/stat`, the same on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

pub struct Process(Child);

/// Bytes in memory.
#[derive(Clone, Copy)]
pub struct Resident {
    /// With the parts of the binary that were needed.
    pub all: u64,
    /// The process's own data.
    pub own: u64,
}

impl Process {
    pub fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).spawn().unwrap())
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }

    pub async fn listening(&self, port: u16) {
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// CPU seconds used so far, by all threads, in the kernel too.
    pub fn cpu_seconds(&self) -> f64 {
        cpu_seconds(&self.0.id().to_string())
    }

    pub fn resident(&self) -> Resident {
        resident(&self.0.id().to_string())
    }

    /// Asks it to end and waits for that.
    pub fn stop(mut self) {
        let pid = Pid::from_child(&self.0);
        kill_process(pid, Signal::TERM).unwrap();
        self.0.wait().unwrap();
    }
}

/// A run that fails leaves nothing behind.
impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Of all threads that there are, to the nanosecond; `pid` may be `self`.
pub fn cpu_seconds(pid: &str) -> f64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let of_thread = |thread: io::Result<fs::DirEntry>| {
        // A thread may end meanwhile.
        let stat = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        stat.split(' ').next()?.parse::<f64>().ok()
    };
    threads.filter_map(of_thread).sum::<f64>() / 1e9
}

/// CPU seconds that the whole machine has used.
pub fn machine_cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap();
    let fields = stat.lines().next().unwrap().split_whitespace().skip(1);
    let ticks: Vec<f64> = fields.map(|field| field.parse().unwrap()).collect();
    // user, nice, system, (idle, iowait,) irq, softirq
    (ticks[0] + ticks[1] + ticks[2] + ticks[5] + ticks[6]) / TICKS_PER_SECOND
}

pub fn resident(pid: &str) -> Resident {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let bytes = |name| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<u64>()
            .unwrap()
            << 10
    };
    Resident {
        all: bytes("VmRSS:"),
        own: bytes("RssAnon:"),
    }
}
