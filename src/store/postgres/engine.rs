//! What PostgreSQL does for each promise of the store.

use std::{collections::BTreeMap, ops::RangeInclusive, sync::atomic::Ordering::Relaxed};

use jid::{BareJid, Jid};
use tokio::time::Instant;

use super::{
    Postgres, batch::Arrival, claim, columns::as_i64, failure::PostgresFailure, issuers,
    pool::Connection, queue, registrations, revocations, upkeep,
};
use crate::{
    link::Answer,
    model::{
        message::{Hold, MessageId, MessageKey},
        registration::Registration,
        revocation::{Revocation, Scope},
        secret::KeyId,
        time::Timestamp,
    },
    store::{
        engine::{Engine, in_steps},
        error::{StoreError, StoreResult},
        messages::{Caps, Claim, Enqueued, NewMessage, News, Overtaken, Waiting},
        refusals::Asked,
        registrations::{
            Found, Issuer, NewRegistration, Owned, Registered, Revoked, Sizes, TokenHash,
        },
    },
};

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

    async fn import(&self, new: Vec<NewRegistration>) -> StoreResult<usize> {
        let mut accounts: BTreeMap<BareJid, Vec<NewRegistration>> = BTreeMap::new();
        for new in new {
            let account = new.registration.owner.to_bare();
            accounts.entry(account).or_default().push(new);
        }
        let mut made = 0;
        for (account, new) in accounts {
            let work = async |db: &Connection| registrations::import(db, &new).await;
            made += self.work.account(&account, work).await?;
        }
        // The daemons learn that there are such now.
        let noted = self
            .work
            .single(async |db| revocations::note_change(db).await);
        noted.await?;
        self.lately.forget_all();
        Ok(made)
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
        let forgotten = in_steps(step).await;
        self.lately.forget_all();
        let forgotten = forgotten?;
        // Last, so that a half-done work still stops the daemon from starting without the secret.
        let known = self.work.long(async |db| {
            let known = issuers::forget(db, key).await?;
            revocations::note_change(db).await?;
            Ok(known)
        });
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
        let asked = Asked::of(&message, caps, now);
        let arrival = Arrival { message, caps, now };
        let decide = self.enqueues.perform(owner.to_bare(), arrival);
        let decide = self.work.by_others(decide);
        let enqueued = self.refusals.spare(asked, decide).await?;
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
        let (asking, retakes) = self.unsure.ask(owner);
        let asked = claim::Asked {
            done,
            owner: owner.clone(),
            now,
            lease,
            retakes,
        };
        let claimed = self.claims.perform(owner.to_bare(), asked);
        let (was_there, claim) = self.work.by_others(claimed).await?;
        asking.answered();
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
        owner: &Jid,
        hold: Hold,
    ) -> StoreResult<Option<Jid>> {
        let put_back = self
            .work
            .single(async |db| queue::put_back(db, key, attempt, owner, hold).await);
        let owner = put_back.await?;
        if let (Some(owner), Hold::Until(_)) = (&owner, hold) {
            // Another replica may have heard its phone, and waits for the end of this claim.
            let (owner, try_at) = (owner.clone(), Timestamp::from_secs(0));
            self.teller.tell(News::Stored { owner, try_at });
        }
        Ok(owner)
    }

    async fn asked(&self, key: MessageKey, attempt: u16) -> StoreResult<Option<Registration>> {
        self.work
            .single(async |db| queue::asked(db, key, attempt).await)
            .await
    }

    async fn release(&self, owner: &Jid, sent: RangeInclusive<Timestamp>) -> StoreResult<()> {
        let account = owner.to_bare();
        let released = self
            .work
            .account(&account, async |db| queue::release(db, owner, &sent).await)
            .await?;
        if released > 0 {
            // Other replicas wait for the end of the hold.
            let (owner, try_at) = (owner.clone(), Timestamp::from_secs(0));
            self.teller.tell(News::Stored { owner, try_at });
        }
        Ok(())
    }

    async fn overtake(&self, overtaken: &Overtaken) -> StoreResult<u64> {
        let account = &overtaken.endpoint.owner;
        self.work
            .account(account, async |db| queue::overtake(db, overtaken).await)
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
            .long(async |db| queue::owners_waiting(db, after, limit).await)
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
        self.refusals.forget_before(now);
        Ok(expired + self.work.swept.swap(0, Relaxed))
    }

    async fn sizes(&self) -> StoreResult<Sizes> {
        let now = Instant::now();
        if let Some(sizes) = self.counting.spared(now) {
            return Ok(sizes);
        }
        let sizes = self.work.single(async |db| upkeep::sizes(db).await).await;
        self.counting.note(&sizes, now);
        let sizes = sizes?;
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
