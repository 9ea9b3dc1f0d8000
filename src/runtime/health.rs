//! Whether the daemon can do its work, for `/readyz`, the metrics and systemd.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::watch;

use crate::metrics::LinkState;

/// Ready means: pushes are answered. The link, the store and the clock are reported beside it, never
/// part of it: an XMPP server that restarts, a disk that is full or a clock that is not set yet must not
/// take the daemon out of its load balancer, where a 404 would make senders forget their subscriptions.
#[derive(Clone)]
pub struct Health {
    link: watch::Receiver<LinkState>,
    store_ok: Arc<AtomicBool>,
    store_hears: Arc<AtomicBool>,
    clock_ok: Arc<AtomicBool>,
    stopping: Arc<AtomicBool>,
}

impl Health {
    pub fn new(link: watch::Receiver<LinkState>) -> Self {
        Self {
            link,
            store_ok: Arc::new(AtomicBool::new(true)),
            store_hears: Arc::new(AtomicBool::new(true)),
            clock_ok: Arc::new(AtomicBool::new(true)),
            stopping: Arc::new(AtomicBool::new(false)),
        }
    }

    pub fn link(&self) -> LinkState {
        *self.link.borrow()
    }

    pub fn store_ok(&self) -> bool {
        self.store_ok.load(Ordering::Relaxed)
    }

    /// Notes whether the store works; it does until it is said not to.
    pub fn set_store_ok(&self, ok: bool) {
        self.store_ok.store(ok, Ordering::Relaxed);
    }

    pub fn store_hears(&self) -> bool {
        self.store_hears.load(Ordering::Relaxed)
    }

    /// Notes whether notifications from other daemons arrive; they do until it is said otherwise.
    pub fn set_store_hears(&self, hears: bool) {
        self.store_hears.store(hears, Ordering::Relaxed);
    }

    pub fn clock_ok(&self) -> bool {
        self.clock_ok.load(Ordering::Relaxed)
    }

    /// Notes whether the system's clock may be right; it may until it is said to be wrong.
    pub fn set_clock_ok(&self, ok: bool) {
        self.clock_ok.store(ok, Ordering::Relaxed);
    }

    /// From now on the daemon is not ready: its stop has begun.
    pub fn set_stopping(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// The daemon does not stop; nothing else counts.
    pub fn ready(&self) -> bool {
        !self.stopping.load(Ordering::Relaxed)
    }
}
