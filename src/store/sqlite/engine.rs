//! What SQLite does for each promise of the store.

use std::{ops::RangeInclusive, sync::atomic::Ordering::Relaxed};

use jid::{BareJid, Jid};
use rusqlite::Connection;

use super::{Sqlite, claim, enqueue, issuers, queue, registrations, revocations, upkeep};
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
        error::StoreResult,
        messages::{Caps, Claim, Enqueued, NewMessage, News, Overtaken, Waiting},
        refusals::Asked,
        registrations::{
            Found, Issuer, NewRegistration, Owned, Registered, Revoked, Sizes, TokenHash,
        },
    },
};

impl Engine for Sqlite {
    async fn register(&self, new: NewRegistration) -> StoreResult<Registered> {
        self.write(move |db| registrations::register(db, &new))
            .await
    }

    async fn import(&self, new: Vec<NewRegistration>) -> StoreResult<usize> {
        self.write(move |db| registrations::import(db, &new)).await
    }

    async fn find(&self, id: TokenHash) -> StoreResult<Option<Found>> {
        self.reader
            .read(move |db| registrations::find(db, &id))
            .await
    }

    async fn longest_unrenewed(
        &self,
        owner: &BareJid,
        now: Timestamp,
    ) -> StoreResult<Option<Registration>> {
        let owner = owner.clone();
        self.reader
            .read(move |db| registrations::longest_unrenewed(db, &owner, now))
            .await
    }

    async fn owners(&self, now: Timestamp) -> StoreResult<Vec<Owned>> {
        self.reader
            .read(move |db| registrations::owners(db, now))
            .await
    }

    async fn revoke(
        &self,
        scope: Scope,
        at: Timestamp,
        min_until: Timestamp,
    ) -> StoreResult<Revoked> {
        self.write(move |db| revocations::revoke(db, scope, at, min_until))
            .await
    }

    async fn revocations(&self) -> StoreResult<Vec<Revocation>> {
        self.reader.read(revocations::all).await
    }

    async fn revocations_if_changed(&self) -> StoreResult<Option<Vec<Revocation>>> {
        let known = self.changes.load(Relaxed);
        let (present, revocations) = self
            // Asked of the connection that writes: what it writes itself does not count.
            .write(move |db| {
                let present = revocations::changes(db)?;
                let changed = present != known;
                let revocations = changed.then(|| revocations::all(db)).transpose()?;
                Ok((present, revocations))
            })
            .await?;
        self.changes.store(present, Relaxed);
        Ok(revocations)
    }

    async fn note_issuer(&self, key: KeyId, live_until: Timestamp) -> StoreResult<()> {
        self.write(move |db| issuers::note(db, key, live_until))
            .await
    }

    async fn issuers(&self) -> StoreResult<Vec<Issuer>> {
        self.reader.read(issuers::all).await
    }

    async fn forget_key(&self, key: KeyId) -> StoreResult<Option<usize>> {
        let step = || self.write(move |db| registrations::forget_step(db, key));
        let forgotten = in_steps(step).await?;
        // Last, so that a half-done work still stops the daemon from starting without the secret.
        let known = self.write(move |db| issuers::forget(db, key)).await?;
        Ok(known.then_some(usize::try_from(forgotten).unwrap_or(usize::MAX)))
    }

    async fn enqueue(
        &self,
        message: NewMessage,
        caps: Caps,
        now: Timestamp,
    ) -> StoreResult<Enqueued> {
        let asked = Asked::of(&message, caps, now);
        let decide = async {
            let enqueue = move |db: &Connection| enqueue::enqueue(db, &message, caps, now);
            let (enqueued, swept) = self.write(enqueue).await?;
            self.swept.fetch_add(swept, Relaxed);
            Ok(enqueued)
        };
        self.refusals.spare(asked, decide).await
    }

    async fn claim(
        &self,
        done: Option<MessageKey>,
        owner: &Jid,
        now: Timestamp,
        lease: Timestamp,
    ) -> StoreResult<(bool, Claim)> {
        let (owner, same) = (owner.clone(), owner.clone());
        self.deliver(
            move |db| {
                let was_there = done.map(|key| queue::acknowledge(db, key)).transpose()?;
                let claim = claim::claim(db, &owner, now, lease)?;
                Ok((was_there.unwrap_or(false), claim))
            },
            move |db, meanwhile| {
                let was_there = done.map(|key| meanwhile.acknowledge(db, key)).transpose()?;
                let claim = meanwhile.claim(db, &same, now, lease)?;
                Ok((was_there.unwrap_or(false), claim))
            },
        )
        .await
    }

    async fn acknowledge(&self, key: MessageKey) -> StoreResult<bool> {
        self.deliver(
            move |db| queue::acknowledge(db, key),
            move |db, meanwhile| meanwhile.acknowledge(db, key),
        )
        .await
    }

    async fn put_back(
        &self,
        key: MessageKey,
        attempt: u16,
        owner: &Jid,
        hold: Hold,
    ) -> StoreResult<Option<Jid>> {
        let (owner, same) = (owner.clone(), owner.clone());
        self.deliver(
            move |db| queue::put_back(db, key, attempt, &owner, hold),
            move |db, meanwhile| meanwhile.put_back(db, key, attempt, &same, hold),
        )
        .await
    }

    async fn asked(&self, key: MessageKey, attempt: u16) -> StoreResult<Option<Registration>> {
        self.look(
            move |db| queue::asked(db, key, attempt),
            move |db, meanwhile| meanwhile.asked(db, key, attempt),
        )
        .await
    }

    async fn release(&self, owner: &Jid, sent: RangeInclusive<Timestamp>) -> StoreResult<()> {
        let (owner, same) = (owner.clone(), owner.clone());
        let range = sent.clone();
        self.deliver(
            move |db| queue::release(db, &owner, &sent),
            move |db, meanwhile| meanwhile.release(db, &same, &range),
        )
        .await
    }

    async fn overtake(&self, overtaken: &Overtaken) -> StoreResult<u64> {
        let overtaken = overtaken.clone();
        self.write(move |db| queue::overtake(db, &overtaken)).await
    }

    async fn redirect(&self, registration: &Registration) -> StoreResult<u64> {
        let registration = registration.clone();
        self.write(move |db| queue::redirect(db, &registration))
            .await
    }

    async fn owners_waiting(&self, after: Option<&Jid>, limit: u32) -> StoreResult<Vec<Jid>> {
        let after = after.cloned();
        self.reader
            .read(move |db| queue::owners_waiting(db, after.as_ref(), limit))
            .await
    }

    async fn is_waiting(&self, id: MessageId, now: Timestamp) -> StoreResult<bool> {
        self.look(
            move |db| queue::is_waiting(db, id, now),
            move |db, meanwhile| meanwhile.is_waiting(db, id, now),
        )
        .await
    }

    async fn cancel(&self, id: MessageId) -> StoreResult<bool> {
        self.write(move |db| queue::cancel(db, id)).await
    }

    async fn waiting(&self, now: Timestamp) -> StoreResult<Vec<Waiting>> {
        self.reader.read(move |db| queue::waiting(db, now)).await
    }

    async fn drop_waiting(&self, owner: &BareJid) -> StoreResult<u64> {
        in_steps(|| {
            let owner = owner.clone();
            self.write(move |db| queue::drop_step(db, &owner))
        })
        .await
    }

    /// There are no other replicas.
    async fn news(&self) -> News {
        std::future::pending().await
    }

    async fn pass_on(&self, _: &Jid, _: &str, _: Answer) -> StoreResult<()> {
        Ok(())
    }

    async fn purge(&self, now: Timestamp) -> StoreResult<u64> {
        let messages = || self.write(move |db| upkeep::purge_messages(db, now));
        let expired = in_steps(messages).await?;
        in_steps(|| self.write(move |db| upkeep::purge_step(db, now))).await?;
        in_steps(|| self.write(upkeep::shrink_step)).await?;
        self.refusals.forget_before(now);
        Ok(expired + self.swept.swap(0, Relaxed))
    }

    async fn sizes(&self) -> StoreResult<Sizes> {
        let path = self.path.clone();
        self.reader.read(move |db| upkeep::sizes(db, &path)).await
    }

    async fn ping(&self) -> StoreResult<()> {
        self.reader.read(issuers::all).await?;
        if self.meanwhile.read().await.is_some() {
            self.catch_up().await?;
        }
        self.write(|_| Ok(())).await
    }
}
