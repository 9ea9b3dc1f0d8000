//! The link comes and goes, and with it what was sent lately.

use std::sync::Arc;

use jid::Jid;
use tokio::time::Instant;

use super::{Delivery, phones::Held};
use crate::{model::time::Timestamp, store::Overtaken};

impl Delivery {
    /// The link is up: the phones that messages wait for are tried.
    pub fn link_up(&self) {
        self.phones.link_up(Instant::now());
        if self.queue.is_shared() {
            // Who has no link need not know all that waits.
            self.queue.ask_for_rescan();
        }
    }

    /// The link is gone: whoever waits is told at once.
    pub fn link_down(self: &Arc<Self>) {
        self.attempts.link_down();
        let (lost, doubtful) = self.phones.link_down(Instant::now(), self.clock.now());
        self.release(lost, doubtful);
    }

    /// What this phone was sent then, and left unanswered, is in the store now, held. It is released if the
    /// link was lost meanwhile, when it was not there yet.
    pub(super) fn held(self: &Arc<Self>, phone: &Jid, sent: Timestamp, links_lost: u64) {
        if self.phones.links_lost() != links_lost {
            let doubtful = Held::doubtful(sent);
            self.release(vec![(phone.clone(), Vec::new())], doubtful);
        }
    }

    /// The link may be another replica's for as long as this one has none.
    fn release(self: &Arc<Self>, lost: Vec<(Jid, Vec<Overtaken>)>, held: Held) {
        if self.queue.is_shared() && !lost.is_empty() {
            let this = Arc::clone(self);
            self.tasks
                .spawn(async move { this.queue.release_all(&lost, held.sent()).await });
        }
    }
}
