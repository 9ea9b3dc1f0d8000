//! The database's clock, which all daemons go by: leases, expiry and the order of messages of one
//! topic must not depend on whose clock is wrong. What was copied here from another store goes on by
//! the time of that store, which then leads the database's clock or lags behind it.

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

use super::{
    columns::as_i64,
    failure::{PostgresFailure, Result},
    pool::Connection,
    work::Work,
};
use crate::{
    model::{
        leads::Leads,
        time::{Clock, Timestamp},
    },
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
    /// They change only while no daemon runs.
    leads: Leads,
    _measures: AbortOnDropHandle<()>,
}

impl DatabaseClock {
    /// Measures first, and again and again as long as it lives.
    pub async fn start(own: Arc<dyn Clock>, work: Arc<Work>) -> StoreResult<Self> {
        let ahead = Arc::new(AtomicI64::new(0));
        measure(&*own, &work, &ahead).await?;
        let leads = work.single(leads).await?;
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
            leads,
            _measures: AbortOnDropHandle::new(measures),
        })
    }
}

impl Clock for DatabaseClock {
    fn now(&self) -> Timestamp {
        let ahead = self.ahead.load(Relaxed) + self.leads.last();
        self.own.now().shifted(ahead)
    }

    fn has_begun(&self) -> bool {
        self.own.has_begun()
    }

    fn wall(&self) -> Option<Timestamp> {
        let wall = self.own.wall()?;
        Some(wall.shifted(self.ahead.load(Relaxed)))
    }

    fn to_wall(&self, time: Timestamp) -> Timestamp {
        time.shifted(-self.leads.at(time))
    }

    fn to_ours(&self, told: Timestamp, told_at: Timestamp) -> Timestamp {
        told.shifted(self.leads.at(told_at))
    }
}

/// What the time here is ahead of the database's clock, and was.
pub async fn leads(db: &Connection) -> Result<Leads> {
    let sql = "SELECT leads FROM unified_push_clock";
    let leads: Option<String> = db.find(sql, &[], |row| Ok(row.try_get(0)?)).await?;
    match leads {
        Some(leads) => serde_json::from_str(&leads).map_err(PostgresFailure::Clock),
        None => Ok(Leads::default()),
    }
}

/// What the database's clock says, in milliseconds.
pub async fn database_time(db: &Connection) -> Result<i64> {
    let sql = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint";
    db.value(sql, &[]).await
}

async fn measure(own: &dyn Clock, work: &Work, ahead: &AtomicI64) -> StoreResult<()> {
    let read = work.single(async |db| {
        // Not before there is a connection.
        let (ours, asked) = (own.now(), Instant::now());
        let theirs = database_time(db).await?;
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
