//! What each daemon's process holds: its own memory, and its open files.

use std::{cell::RefCell, fs, rc::Rc, time::Duration};

use tokio::{
    select,
    time::{Instant, interval},
};
use tokio_util::sync::CancellationToken;

use crate::{
    growth::{Allowed, Growth, Series},
    world::World,
};

/// In KiB. A quarter of an hour on Prosody raised what is held at rest by 30 KiB; ten minutes on the
/// loopback server, at the end of which more messages waited than before, by 560 KiB.
pub const MEMORY: Allowed = Allowed {
    rise: 1536.0,
    share: 0.25,
};

/// At rest they did not rise by more than one.
pub const DESCRIPTORS: Allowed = Allowed {
    rise: 6.0,
    share: 0.2,
};

/// Of one daemon, all its processes.
#[derive(Default)]
pub struct Measures(RefCell<Vec<Life>>);

/// A process.
struct Life {
    pid: u32,
    began: Instant,
    /// In KiB. What the allocator and the caches hold; files that are mapped are not among it.
    memory: Series,
    descriptors: Series,
}

/// How what the longest-lived process holds grew.
#[derive(Clone, Copy)]
pub struct Longest {
    pub memory: Growth,
    pub descriptors: Growth,
}

impl Measures {
    fn sample(&self, pid: u32) {
        // It may have ended meanwhile.
        let (Some(memory), Some(descriptors)) = (own_memory(pid), descriptors(pid)) else {
            return;
        };
        let mut lives = self.0.borrow_mut();
        if lives.last().is_none_or(|life| life.pid != pid) {
            lives.push(Life {
                pid,
                began: Instant::now(),
                memory: Series::default(),
                descriptors: Series::default(),
            });
        }
        let life = lives.last_mut().expect("one was pushed");
        let age = life.began.elapsed();
        life.memory.push(age, memory);
        life.descriptors.push(age, descriptors);
    }

    /// None if no process lived for long enough to say anything.
    pub fn longest(&self) -> Option<Longest> {
        let lives = self.0.borrow();
        let life = lives.iter().max_by_key(|life| life.memory.lasted())?;
        Some(Longest {
            memory: life.memory.growth()?,
            descriptors: life.descriptors.growth()?,
        })
    }
}

/// Every second, until it is told to stop.
pub async fn measure(world: Rc<World>, stop: CancellationToken) {
    let mut seconds = interval(Duration::from_secs(1));
    loop {
        select! {
            () = stop.cancelled() => return,
            _ = seconds.tick() => {}
        }
        for replica in &world.replicas {
            if let Some(pid) = replica.daemon.try_pid() {
                replica.measures.sample(pid);
            }
        }
    }
}

fn own_memory(pid: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("RssAnon:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn descriptors(pid: u32) -> Option<f64> {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    Some(open.count() as f64)
}
