//! What has to be done now and then: check the store and the clock, delete what has expired, count.

use std::{sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, info, warn};

use super::services::Services;
use crate::{
    metrics::QueueEvent,
    model::{
        time::{Clock, RELEASED},
        timekeeper::Kept,
    },
    runtime::lifecycle,
    store::{Silence, StoreError},
};

/// How soon a failing store, a clock that was set, or what the command line revokes, is noticed.
const LOOK: Duration = Duration::from_secs(1);
/// Seconds between countings, and between purges.
const COUNT: u64 = 15;
const PURGE: u64 = 60;

/// Nothing can be kept any more.
struct StoreStopped;

impl Services {
    /// Looks after them. Ends only with the store: then the daemon is of no use.
    pub async fn keep_up(self: Arc<Self>) {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut kept = None;
        for second in 0.. {
            ticks.tick().await;
            if let Err(StoreStopped) = self.look().await {
                return;
            }
            self.look_at_clock();
            self.keep_time(&mut kept).await;
            if second % COUNT == 0 {
                self.count().await;
            }
            if second % PURGE == 0 && self.clock.has_begun() {
                self.purge().await;
            }
        }
    }

    async fn look(&self) -> Result<(), StoreStopped> {
        let silence = self.store.silence();
        self.health.set_store_silence(silence.map(Silence::reason));
        self.metrics.store_deaf.set(i64::from(silence.is_some()));
        let found = match self.store.ping().await {
            Ok(()) => self.tokens.refresh().await,
            Err(error) => Err(error),
        };
        match found {
            Ok(()) if !self.health.store_ok() => info!("the store works again"),
            Ok(()) => {}
            // Busy is not broken.
            Err(StoreError::Busy) => return Ok(()),
            Err(StoreError::Stopped) => return Err(StoreStopped),
            Err(StoreError::Failed(why)) => {
                if self.health.store_ok() {
                    error!(store = ?self.store, "the store fails; check the disk or the database: {why}");
                }
                self.health.set_store_ok(false);
                self.metrics.store_failing.set(1);
                return Ok(());
            }
        }
        self.health.set_store_ok(true);
        self.metrics.store_failing.set(0);
        Ok(())
    }

    /// Sees whether the system's clock may be right. What depends on it goes on by itself then.
    pub fn look_at_clock(&self) {
        self.keeper.begin();
        let ok = self.keeper.wall().is_some();
        if self.keeper.has_begun() {
            self.begun.cancel();
        }
        match (self.health.clock_ok(), ok) {
            (true, false) => {
                let says = self.keeper.wall_as_it_is();
                let until = match self.keeper.has_begun() {
                    false => "pushes are answered with 503 and registrations are refused",
                    true => "registrations are refused",
                };
                error!(
                    "the system's clock says {says}, which is before this version of unified-push \
                     was released ({RELEASED}): until the clock is set, {until}. Set it, and turn on \
                     time synchronisation (`timedatectl set-ntp true`)"
                );
                lifecycle::notify_status(&format!(
                    "Waiting for the system's clock to be set: it says {says}"
                ));
            }
            (false, true) => {
                info!("the system's clock is set");
                lifecycle::notify_status("");
            }
            (true, true) | (false, false) => {}
        }
        self.health.set_clock_ok(ok);
    }

    /// Keeps the time for the next start. `kept` is what was kept last.
    pub async fn keep_time(&self, kept: &mut Option<Kept>) {
        let Some(time) = self.keeper.kept() else {
            return;
        };
        let before = kept.as_ref();
        if before.is_some_and(|before| time.knows_more_leads_than(before)) {
            self.tokens.clock_was_set();
        }
        if before.is_none_or(|before| time.is_news_after(before))
            && self.store.keep_time(&time).await.is_ok()
        {
            *kept = Some(time);
        }
    }

    async fn count(&self) {
        let metrics = &self.metrics;
        metrics
            .stored_revocations
            .set(as_gauge(self.tokens.revocations()));
        let Ok(sizes) = self.store.sizes().await else {
            return;
        };
        let now = self.clock.now();
        let age = sizes.oldest.map(|oldest| oldest.until(now).as_secs());
        metrics
            .stored_registrations
            .set(as_gauge(sizes.registrations));
        metrics.store_bytes.set(as_gauge(sizes.bytes));
        metrics.queued.set(as_gauge(sizes.queued));
        metrics.queued_bytes.set(as_gauge(sizes.queued_bytes));
        metrics.queue_oldest.set(as_gauge(age.unwrap_or(0)));
    }

    async fn purge(&self) {
        self.delivery.forget_idle();
        self.registrar.forget_idle();
        self.guesses.forget_idle();
        match self.tokens.purge().await {
            Ok(messages) => self.metrics.queue_events.add(QueueEvent::Expired, messages),
            Err(error) => {
                warn!(%error, "expired entries could not be deleted; trying again in a minute");
            }
        }
    }
}

fn as_gauge(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}
