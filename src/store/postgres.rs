//! The store of several daemons that share one name: PostgreSQL 13 or newer.
//!
//! What comes in together is done together, by [`Workers`]; the rest gets a connection by [`Work`].

mod account;
mod batch;
mod clock;
mod columns;
mod enqueue;
pub(super) mod failure;
mod issuers;
mod listen;
mod open;
mod opened;
mod pool;
mod pooler;
mod queue;
mod registrations;
mod remedy;
mod revocations;
mod source;
mod tell;
mod tls;
mod upkeep;
mod url;
mod work;
mod worker;

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering::Relaxed},
};

use futures::FutureExt;
use jid::{BareJid, Jid};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use self::{
    batch::Arrival, clock::DatabaseClock, columns::as_i64, failure::PostgresFailure,
    listen::Listener, opened::LatelyFound, pool::Pool, source::Source, tell::Teller, work::Work,
    worker::Workers,
};
pub use self::{
    open::{PostgresOpenError, PostgresSettings},
    tls::TlsSetupError,
    url::{PostgresUrl, PostgresUrlError},
};
use super::{
    engine::{Engine, in_steps},
    error::{StoreError, StoreResult},
    messages::{Caps, Claim, Enqueued, NewMessage, News, Waiting},
    registrations::{Found, Issuer, NewRegistration, Owned, Registered, Revoked, Sizes, TokenHash},
};
use crate::{
    link::Answer,
    model::{
        message::{Hold, MessageId, MessageKey},
        registration::Registration,
        revocation::{Revocation, Scope},
        secret::KeyId,
        time::{Clock, Timestamp},
        timekeeper::Timekeeper,
    },
};

pub struct Postgres {
    pub(super) url: PostgresUrl,
    source: Source,
    work: Arc<Work>,
    finds: Workers<TokenHash, Option<Found>>,
    lately: LatelyFound,
    enqueues: Workers<Arrival, Enqueued>,
    claims: Workers<queue::Asked, (bool, Claim)>,
    acknowledgements: Workers<MessageKey, bool>,
    listener: Listener,
    teller: Teller,
    /// The last change of revocations that this replica knows.
    changes: AtomicI64,
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
        renewed.map_err(|failure| open::failed(failure, url))
    }

    /// Whether what other replicas say arrives; true until it is tried.
    pub fn hears(&self) -> bool {
        self.listener.hears()
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
        let source = Source::new(url).map_err(|failure| open::failed(failure, url))?;
        // One listens.
        let pool = Pool::new(&source, settings.connections.saturating_sub(1).max(1));
        let start = open::open(&source, &pool, url, settings).await?;
        let idle = AbortOnDropHandle::new(tokio::spawn(pool.clone().give_back_idle()));
        let work = Arc::new(Work::new(pool, as_i64(start.queued_bytes)));
        Ok(Self {
            url: url.clone(),
            source: source.clone(),
            finds: workers!(work, |work, db, ids| registrations::find(db, ids)),
            lately: LatelyFound::default(),
            enqueues: workers!(work, |work, db, arrivals| {
                let waiting = u64::try_from(work.queued_bytes.load(Relaxed)).unwrap_or(0);
                enqueue::enqueue(db, arrivals, waiting)
            }),
            claims: workers!(work, |work, db, asked| queue::claim(db, asked)),
            acknowledgements: workers!(work, |work, db, keys| queue::acknowledge(db, keys)),
            listener: Listener::new(source, start.replica.clone(), work.clone()),
            teller: Teller::start(work.clone(), start.replica),
            work,
            changes: AtomicI64::new(start.changes),
            _idle: idle,
        })
    }
}

impl Engine for Postgres {
    async fn register(&self, new: NewRegistration) -> StoreResult<Registered> {
        let account = new.registration.owner.to_bare();
        let registered = self
            .work
            .account(&account, async |db| registrations::register(db, &new).await)
            .await;
        self.lately.forget_all();
        registered
    }

    async fn find(&self, id: TokenHash) -> StoreResult<Option<Found>> {
        let asked = Instant::now();
        let changes = match self.lately.get(&id, asked) {
            Ok(found) => return Ok(Some(found)),
            Err(changes) => changes,
        };
        let found = self.finds.perform(id.as_bytes(), id);
        let found = self.work.by_others(found).await?;
        if let Some(found) = &found {
            self.lately.put(&id, found, asked, changes);
        }
        Ok(found)
    }

    async fn longest_unrenewed(
        &self,
        owner: &BareJid,
        now: Timestamp,
    ) -> StoreResult<Option<Registration>> {
        self.work
            .single(async |db| registrations::longest_unrenewed(db, owner, now).await)
            .await
    }

    async fn owners(&self, now: Timestamp) -> StoreResult<Vec<Owned>> {
        self.work
            .long(async |db| registrations::owners(db, now).await)
            .await
    }

    async fn revoke(
        &self,
        scope: Scope,
        at: Timestamp,
        min_until: Timestamp,
    ) -> StoreResult<Revoked> {
        let account = match &scope {
            Scope::Registration(key) => key.owner.clone(),
            Scope::Owner(owner) => owner.clone(),
        };
        let revoked = self.work.account(&account, async |db| {
            let revoked = revocations::revoke(db, scope, at, min_until).await?;
            Ok((revoked, revocations::note_change(db).await?))
        });
        let revoked = revoked.await;
        self.lately.forget_all();
        let (revoked, change) = revoked?;
        // News only if another's came in between.
        let changes = &self.changes;
        let _ = changes.compare_exchange(change - 1, change, Relaxed, Relaxed);
        Ok(revoked)
    }

    async fn revocations(&self) -> StoreResult<Vec<Revocation>> {
        self.work.long(async |db| revocations::all(db).await).await
    }

    async fn revocations_if_changed(&self) -> StoreResult<Option<Vec<Revocation>>> {
        let known = self.changes.load(Relaxed);
        let read = self.work.single(async |db| {
            // First: what comes in between is then read twice, not never.
            let present = revocations::changes(db).await?;
            let changed = match present != known {
                true => Some(revocations::all(db).await?),
                false => None,
            };
            Ok((present, changed))
        });
        let (present, changed) = read.await?;
        self.changes.store(present, Relaxed);
        if changed.is_some() {
            self.lately.forget_all();
        }
        Ok(changed)
    }

    async fn note_issuer(&self, key: KeyId, live_until: Timestamp) -> StoreResult<()> {
        self.work
            .single(async |db| issuers::note(db, key, live_until).await)
            .await
    }

    async fn issuers(&self) -> StoreResult<Vec<Issuer>> {
        self.work.single(async |db| issuers::all(db).await).await
    }

    async fn forget_key(&self, key: KeyId) -> StoreResult<Option<usize>> {
        let step = || {
            self.work
                .single(async |db| registrations::forget_step(db, key).await)
        };
        let forgotten = in_steps(step).await?;
        // Last, so that a half-done work still stops the daemon from starting without the secret.
        let known = self.work.long(async |db| {
            let known = issuers::forget(db, key).await?;
            revocations::note_change(db).await?;
            Ok(known)
        });
        self.lately.forget_all();
        let forgotten = usize::try_from(forgotten).unwrap_or(usize::MAX);
        Ok(known.await?.then_some(forgotten))
    }

    async fn enqueue(
        &self,
        message: NewMessage,
        caps: Caps,
        now: Timestamp,
    ) -> StoreResult<Enqueued> {
        let (owner, try_at) = (message.registration.owner.clone(), message.try_at);
        let arrival = Arrival { message, caps, now };
        let enqueued = self.enqueues.perform(owner.to_bare(), arrival);
        let enqueued = self.work.by_others(enqueued).await?;
        if let Enqueued::Stored { redirected, .. } = &enqueued {
            let owner = redirected.clone().unwrap_or(owner);
            self.teller.tell(News::Stored { owner, try_at });
        }
        Ok(enqueued)
    }

    async fn claim(
        &self,
        done: Option<MessageKey>,
        owner: &Jid,
        now: Timestamp,
        lease: Timestamp,
    ) -> StoreResult<(bool, Claim)> {
        let asked = queue::Asked {
            done,
            owner: owner.clone(),
            now,
            lease,
        };
        let claimed = self.claims.perform(owner.to_bare(), asked);
        let (was_there, claim) = self.work.by_others(claimed).await?;
        if claim == Claim::Empty {
            let owner = owner.clone();
            self.teller.tell(News::Drained { owner });
        }
        Ok((was_there, claim))
    }

    async fn acknowledge(&self, key: MessageKey) -> StoreResult<bool> {
        let deleted = self.acknowledgements.perform(key, key);
        self.work.by_others(deleted).await
    }

    async fn put_back(
        &self,
        key: MessageKey,
        attempt: u16,
        hold: Hold,
    ) -> StoreResult<Option<Jid>> {
        self.work
            .single(async |db| queue::put_back(db, key, attempt, hold).await)
            .await
    }

    async fn asked(&self, key: MessageKey, attempt: u16) -> StoreResult<Option<Registration>> {
        self.work
            .single(async |db| queue::asked(db, key, attempt).await)
            .await
    }

    async fn release(&self, owner: &Jid, since: Timestamp) -> StoreResult<()> {
        let account = owner.to_bare();
        self.work
            .account(&account, async |db| queue::release(db, owner, since).await)
            .await
    }

    async fn redirect(&self, registration: &Registration) -> StoreResult<u64> {
        let account = registration.owner.to_bare();
        let moved = self
            .work
            .account(&account, async |db| queue::redirect(db, registration).await);
        let moved = moved.await?;
        if moved > 0 {
            let (owner, try_at) = (registration.owner.clone(), registration.issued);
            self.teller.tell(News::Stored { owner, try_at });
        }
        Ok(moved)
    }

    async fn owners_waiting(&self, after: Option<&Jid>, limit: u32) -> StoreResult<Vec<Jid>> {
        self.work
            .single(async |db| queue::owners_waiting(db, after, limit).await)
            .await
    }

    async fn is_waiting(&self, id: MessageId, now: Timestamp) -> StoreResult<bool> {
        self.work
            .single(async |db| queue::is_waiting(db, id, now).await)
            .await
    }

    async fn cancel(&self, id: MessageId) -> StoreResult<bool> {
        self.work
            .single(async |db| queue::cancel(db, id).await)
            .await
    }

    async fn waiting(&self, now: Timestamp) -> StoreResult<Vec<Waiting>> {
        self.work
            .long(async |db| queue::waiting(db, now).await)
            .await
    }

    async fn drop_waiting(&self, owner: &BareJid) -> StoreResult<u64> {
        in_steps(|| {
            self.work
                .account(owner, async |db| queue::drop_step(db, owner).await)
        })
        .await
    }

    async fn news(&self) -> News {
        self.listener.news().await
    }

    async fn pass_on(&self, from: &Jid, id: &str, answer: Answer) -> StoreResult<()> {
        let (from, id) = (from.clone(), id.to_owned());
        self.teller
            .tell_now(News::Answer { from, id, answer })
            .await
    }

    async fn purge(&self, now: Timestamp) -> StoreResult<u64> {
        let step = || {
            self.work
                .single(async |db| upkeep::purge_messages(db, now).await)
        };
        let expired = in_steps(step).await?;
        in_steps(|| {
            self.work
                .single(async |db| upkeep::purge_step(db, now).await)
        })
        .await?;
        Ok(expired)
    }

    async fn sizes(&self) -> StoreResult<Sizes> {
        let sizes = self.work.single(async |db| upkeep::sizes(db).await).await?;
        self.work
            .queued_bytes
            .store(as_i64(sizes.queued_bytes), Relaxed);
        Ok(sizes)
    }

    async fn ping(&self) -> StoreResult<()> {
        let was_failing = self.work.failing.load(Relaxed);
        let pinged = self
            .work
            .single(async |db| upkeep::touch(db, was_failing).await);
        match pinged.await {
            Ok(()) if was_failing => {
                self.work.failing.store(false, Relaxed);
                Ok(())
            }
            // Every connection waits for a database that does not answer.
            Err(StoreError::Busy) if was_failing => Err(PostgresFailure::TooSlow.into()),
            done => done,
        }
    }
}
