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

use tokio::time::sleep;
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
        timekeeper::Timekeeper,
    },
    store::error::StoreResult,
};

/// Between two measurements.
const PAUSE: Duration = Duration::from_secs(5);

/// A difference that is not corrected: so much is uncertain, and time should not go back and forth.
const TOLERATED: u64 = 200;

/// What a person should know of. Both in milliseconds.
const REMARKABLE: u64 = 1000;

/// The database's time when it was last asked, and what has passed since then. The system's clock
/// only shows whether a person should know that it is wrong: whoever sets it changes nothing here.
pub struct DatabaseClock {
    own: Arc<Timekeeper>,
    /// What the database's clock said when this computer was started, in milliseconds since 1970.
    at_boot: Arc<AtomicI64>,
    /// They change only while no daemon runs.
    leads: Leads,
    _measures: AbortOnDropHandle<()>,
}

impl DatabaseClock {
    /// Measures first, and again and again as long as it lives.
    pub async fn start(own: Arc<Timekeeper>, work: Arc<Work>) -> StoreResult<Self> {
        let measured = Arc::new(AtomicI64::new(0));
        let mut measure = Measure {
            own: own.clone(),
            work,
            at_boot: measured.clone(),
            told: 0,
        };
        measure.take().await?;
        let leads = measure.work.single(leads).await?;
        let measures = tokio::spawn(async move {
            loop {
                sleep(PAUSE).await;
                if let Err(error) = measure.take().await {
                    debug!(%error, "the database's clock could not be read");
                }
            }
        });
        Ok(Self {
            own,
            at_boot: measured,
            leads,
            _measures: AbortOnDropHandle::new(measures),
        })
    }
}

impl Clock for DatabaseClock {
    fn now(&self) -> Timestamp {
        self.databases_now().shifted(self.leads.last())
    }

    fn has_begun(&self) -> bool {
        self.own.has_begun()
    }

    fn wall(&self) -> Option<Timestamp> {
        self.own.wall().map(|_| self.databases_now())
    }

    fn to_wall(&self, time: Timestamp) -> Timestamp {
        time.shifted(-self.leads.at(time))
    }

    fn to_ours(&self, told: Timestamp, told_at: Timestamp) -> Timestamp {
        told.shifted(self.leads.at(told_at))
    }
}

impl DatabaseClock {
    fn databases_now(&self) -> Timestamp {
        after_boot(&self.own).shifted(self.at_boot.load(Relaxed))
    }
}

struct Measure {
    own: Arc<Timekeeper>,
    work: Arc<Work>,
    at_boot: Arc<AtomicI64>,
    /// By how much the database's clock was ahead of the system's when a person was last told.
    told: i64,
}

impl Measure {
    async fn take(&mut self) -> StoreResult<()> {
        let read = self.work.single(async |db| {
            // Not before there is a connection.
            let asked = after_boot(&self.own);
            let theirs = database_time(db).await?;
            Ok((asked, theirs))
        });
        let (asked, theirs) = read.await?;
        let answered = after_boot(&self.own);
        let half = asked.until(answered).as_millis() as u64 / 2;
        let at_boot = theirs - as_i64(asked.as_millis() + half);
        let before = self.at_boot.load(Relaxed);
        if before.abs_diff(at_boot) > TOLERATED + half {
            self.at_boot.store(at_boot, Relaxed);
        }
        self.tell(theirs - as_i64(self.own.wall_as_it_is().as_millis()));
        Ok(())
    }

    fn tell(&mut self, ahead: i64) {
        if ahead.abs_diff(self.told) <= REMARKABLE {
            return;
        }
        self.told = ahead;
        if ahead.unsigned_abs() > REMARKABLE {
            warn!(
                milliseconds = ahead,
                "the database's clock is ahead of this machine's, or behind it if negative. The daemon \
                 goes by the database's. Synchronise both, as with NTP"
            );
        }
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

/// As an instant since the computer was started, the time that it slept included.
fn after_boot(own: &Timekeeper) -> Timestamp {
    Timestamp::from_millis(0).saturating_add(own.since_boot())
}
