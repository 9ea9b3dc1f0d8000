//! What the system counts of a process, in /proc.

use std::{fs, io};

/// Of `/proc/stat`, the same on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// Bytes in memory.
#[derive(Clone, Copy)]
pub struct Resident {
    /// With the parts of the binary that were needed.
    pub all: u64,
    /// The process's own data.
    pub own: u64,
}

/// CPU seconds that a process has used so far, to the nanosecond, in the kernel too. Of all threads
/// that there are.
pub fn cpu_seconds(pid: u32) -> f64 {
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

pub fn resident(pid: u32) -> Resident {
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
