//! The database's clock, which all daemons go by: leases, expiry and the order of messages of one
//! topic must not depend on whose clock is wrong.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, warn};

use super::{columns::as_i64, work::Work};
use crate::{
    model::time::{Clock, Timestamp},
    store::error::StoreResult,
};

/// Between two measurements.
const PAUSE: Duration = Duration::from_secs(5);

/// A difference that is not corrected: so much is uncertain, and time should not go back and forth.
const TOLERATED: u64 = 200;

/// What a person should know of. Both in milliseconds.
const REMARKABLE: u64 = 1000;

/// The own clock, corrected by what the database's was ahead when it was last measured.
pub struct DatabaseClock {
    own: Arc<dyn Clock>,
    ahead: Arc<AtomicI64>,
    _measures: AbortOnDropHandle<()>,
}

impl DatabaseClock {
    /// Measures first, and again and again as long as it lives.
    pub async fn start(own: Arc<dyn Clock>, work: Arc<Work>) -> StoreResult<Self> {
        let ahead = Arc::new(AtomicI64::new(0));
        measure(&*own, &work, &ahead).await?;
        let (clock, measured) = (own.clone(), ahead.clone());
        let measures = tokio::spawn(async move {
            loop {
                sleep(PAUSE).await;
                if let Err(error) = measure(&*clock, &work, &measured).await {
                    debug!(%error, "the database's clock could not be read");
                }
            }
        });
        Ok(Self {
            own,
            ahead,
            _measures: AbortOnDropHandle::new(measures),
        })
    }
}

impl Clock for DatabaseClock {
    fn now(&self) -> Timestamp {
        self.own.now().shifted(self.ahead.load(Relaxed))
    }

    fn has_begun(&self) -> bool {
        self.own.has_begun()
    }

    fn wall(&self) -> Option<Timestamp> {
        let wall = self.own.wall()?;
        Some(wall.shifted(self.ahead.load(Relaxed)))
    }

    // What is kept and what others are told are the same.

    fn to_wall(&self, time: Timestamp) -> Timestamp {
        time
    }

    fn to_ours(&self, told: Timestamp, _told_at: Timestamp) -> Timestamp {
        told
    }
}

async fn measure(own: &dyn Clock, work: &Work, ahead: &AtomicI64) -> StoreResult<()> {
    let read = work.single(async |db| {
        // Not before there is a connection.
        let (ours, asked) = (own.now(), Instant::now());
        let sql = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint";
        let theirs: i64 = db.value(sql, &[]).await?;
        Ok((ours, theirs, asked.elapsed()))
    });
    let (ours, theirs, took) = read.await?;
    let half = u64::try_from(took.as_millis() / 2).unwrap_or(u64::MAX);
    let (before, now) = (
        ahead.load(Relaxed),
        theirs - as_i64(ours.as_millis() + half),
    );
    if before.abs_diff(now) <= TOLERATED + half {
        return Ok(());
    }
    ahead.store(now, Relaxed);
    if now.unsigned_abs() > REMARKABLE && before.abs_diff(now) > REMARKABLE {
        warn!(
            milliseconds = now,
            "the database's clock is ahead of this machine's, or behind it if negative. The daemon goes \
             by the database's. Synchronise both, as with NTP"
        );
    }
    Ok(())
}
