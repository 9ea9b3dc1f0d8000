//! The store of several daemons that share one name: PostgreSQL 13 or newer.
//!
//! What comes in together is done together, by [`Workers`]; the rest gets a connection by [`Work`].

mod abandoned;
mod account;
mod ahead;
mod batch;
mod claim;
mod clock;
mod columns;
mod counting;
mod endpoints;
mod engine;
mod enqueue;
mod examine;
pub(super) mod failure;
mod floors;
mod issuers;
mod listen;
mod open;
mod open_error;
mod opened;
mod pool;
mod pooler;
mod queue;
mod registrations;
mod remedy;
mod revocations;
mod schema;
mod source;
mod tables;
mod tally;
mod tell;
mod tls;
mod unsure;
mod upkeep;
mod url;
mod work;
mod worker;

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering::Relaxed},
};

use futures::FutureExt;
use tokio_util::task::AbortOnDropHandle;

use self::{
    batch::Arrival,
    clock::DatabaseClock,
    columns::as_i64,
    counting::Counting,
    listen::Listener,
    opened::LatelyFound,
    pool::{Pool, Purpose},
    source::Source,
    tell::Teller,
    unsure::Unsure,
    work::Work,
    worker::Workers,
};
pub use self::{
    examine::{PostgresExamined, examine},
    open::PostgresSettings,
    open_error::PostgresOpenError,
    tables::PostgresTables,
    tls::TlsSetupError,
    url::{PostgresUrl, PostgresUrlError},
};
use super::{
    error::StoreResult,
    messages::{Claim, Enqueued, Silence},
    refusals::Refusals,
    registrations::{Found, TokenHash},
};
use crate::model::{message::MessageKey, time::Clock, timekeeper::Timekeeper};

pub struct Postgres {
    pub(super) url: PostgresUrl,
    source: Source,
    work: Arc<Work>,
    finds: Workers<TokenHash, Option<Found>>,
    lately: LatelyFound,
    enqueues: Workers<Arrival, Enqueued>,
    claims: Workers<claim::Asked, (bool, Claim)>,
    unsure: Unsure,
    acknowledgements: Workers<MessageKey, bool>,
    listener: Listener,
    teller: Teller,
    /// The last change of revocations that this replica knows.
    changes: AtomicI64,
    counting: Counting,
    refusals: Refusals,
    _idle: AbortOnDropHandle<()>,
}

impl Postgres {
    /// The database's clock.
    pub async fn clock(&self, own: Arc<Timekeeper>) -> StoreResult<Arc<dyn Clock>> {
        Ok(Arc::new(
            DatabaseClock::start(own, self.work.clone()).await?,
        ))
    }

    /// Goes on with the user, the password and the certificates of a URL. One of another database
    /// changes nothing.
    pub async fn renew(&self, url: &PostgresUrl) -> Result<(), PostgresOpenError> {
        if !url.is_same_database(&self.url) {
            return Ok(());
        }
        let renewed = self.source.renew(url).await;
        renewed.map_err(|failure| open_error::failed(failure, url))
    }

    /// Why what other replicas say does not arrive; None until it is tried.
    pub fn silence(&self) -> Option<Silence> {
        self.listener.silence()
    }
}

/// Workers that do this with the jobs and a connection.
macro_rules! workers {
    ($work:expr, |$own:ident, $db:ident, $jobs:ident| $done:expr) => {{
        let work = $work.clone();
        Workers::start(move |jobs| {
            let $own = work.clone();
            async move {
                let $jobs = &jobs[..];
                $own.single(async |$db| $done.await).await
            }
            .boxed()
        })
    }};
}

impl Postgres {
    /// Brings the schema to the present version first.
    pub async fn connect(
        url: &PostgresUrl,
        settings: PostgresSettings,
    ) -> Result<Self, PostgresOpenError> {
        let source = Source::new(url).map_err(|failure| open_error::failed(failure, url))?;
        // One listens.
        let pool = Pool::new(
            &source,
            settings.connections.saturating_sub(1).max(1),
            Purpose::Serve,
        );
        let start = open::open(&source, &pool, url, settings).await?;
        let idle = AbortOnDropHandle::new(tokio::spawn(pool.clone().give_back_idle()));
        let work = Arc::new(Work::new(pool, as_i64(start.queued_bytes)));
        let by = account::number_of_daemon(&start.replica);
        Ok(Self {
            url: url.clone(),
            source: source.clone(),
            finds: workers!(work, |work, db, ids| registrations::find(db, ids)),
            lately: LatelyFound::default(),
            enqueues: workers!(work, |work, db, arrivals| {
                let waiting = u64::try_from(work.queued_bytes.load(Relaxed)).unwrap_or(0);
                let work = &work;
                async move {
                    let (answers, swept) = enqueue::enqueue(db, arrivals, waiting).await?;
                    work.swept.fetch_add(swept, Relaxed);
                    Ok(answers)
                }
            }),
            claims: workers!(work, |work, db, asked| claim::claim(db, by, asked)),
            unsure: Unsure::default(),
            acknowledgements: workers!(work, |work, db, keys| queue::acknowledge(db, keys)),
            listener: Listener::new(source, start.replica.clone(), work.clone()),
            teller: Teller::start(work.clone(), start.replica),
            work,
            changes: AtomicI64::new(start.changes),
            counting: Counting::default(),
            refusals: Refusals::default(),
            _idle: idle,
        })
    }
}
