//! Whether the daemon can do its work, for `/readyz`, the metrics and systemd.

use std::sync::{
    Arc, PoisonError, RwLock,
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
    store_silence: Arc<RwLock<Option<&'static str>>>,
    clock_ok: Arc<AtomicBool>,
    stopping: Arc<AtomicBool>,
}

impl Health {
    pub fn new(link: watch::Receiver<LinkState>) -> Self {
        Self {
            link,
            store_ok: Arc::new(AtomicBool::new(true)),
            store_silence: Arc::default(),
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

    /// Why notifications from other daemons do not arrive.
    pub fn store_silence(&self) -> Option<&'static str> {
        *self
            .store_silence
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes it; they arrive until it is said otherwise.
    pub fn set_store_silence(&self, why: Option<&'static str>) {
        *self
            .store_silence
            .write()
            .unwrap_or_else(PoisonError::into_inner) = why;
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
