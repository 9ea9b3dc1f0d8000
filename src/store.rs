//! What is durable: the registrations of the back end `storage`, the revocations of every back
//! end, which secrets have issued tokens, and the messages that wait for their phones.
//!
//! A write is answered when it is on the disk. No token is kept, only what it takes to recompute
//! one with the secret.

mod postgres;
mod queue;
mod rules;
mod sqlite;

use std::{fmt, path::Path, sync::Arc};

use jid::{BareJid, Jid};

use self::{postgres::Postgres, sqlite::Sqlite};
pub use self::{
    postgres::{PostgresUrl, PostgresUrlError},
    queue::{Caps, Claim, Claimed, Enqueued, MESSAGE_OVERHEAD, NewMessage, News, Waiting},
};
use crate::{
    link::Answer,
    model::{
        message::{MessageId, MessageKey},
        registration::Registration,
        revocation::{Revocation, Scope},
        secret::KeyId,
        time::Timestamp,
    },
};

/// Random; makes the URL of a new registration differ from any before it.
pub type Generation = [u8; 16];

/// What a registration is looked up by: a digest of its token's first half.
pub type TokenHash = [u8; 32];

/// A handle. Cheap to clone; what it holds open is closed with the last one.
#[derive(Clone)]
pub struct Store(Arc<Engine>);

enum Engine {
    Sqlite(Sqlite),
    Postgres(Box<Postgres>),
}

/// Why the store cannot be opened, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Sqlite(#[from] sqlite::OpenError),
    #[error(transparent)]
    Postgres(#[from] postgres::OpenError),
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    #[error("too much waits for the store; try again later")]
    Busy,
    #[error("the store failed: {0}")]
    Failed(String),
    /// A thread of the store has ended, which only a defect can cause.
    #[error("the store has stopped working")]
    Stopped,
}

/// A registration as it is asked for.
#[derive(Clone)]
pub struct NewRegistration {
    /// `issued` is the present time.
    pub registration: Registration,
    /// The current secret.
    pub key: KeyId,
    /// For when a new row has to be made.
    pub generation: Generation,
    pub id: TokenHash,
    /// How many different registrations the account may hold.
    pub limit: u32,
    /// See [`Store::note_issuer`].
    pub live_until: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registered {
    /// Under the generation of the row that lives already, or under the one offered.
    Stored {
        generation: Generation,
        expires: Timestamp,
    },
    TooMany,
}

/// A row. It is there until it is purged, so it may have expired.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    pub registration: Registration,
    pub revoked: bool,
}

/// A secret that has issued tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Issuer {
    pub key: KeyId,
    /// No token of it lives longer; may be a day too late.
    pub live_until: Timestamp,
}

/// What one account holds.
#[derive(Debug, PartialEq, Eq)]
pub struct Owned {
    pub owner: BareJid,
    pub registrations: u32,
    pub last_registered: Timestamp,
    pub latest_expiry: Timestamp,
}

/// A revocation as it was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoked {
    pub revocation: Revocation,
    /// How many messages were dropped with it.
    pub dropped: u64,
}

/// For the metrics; with what has expired but is not yet purged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    pub registrations: u64,
    /// Messages that wait for their phones.
    pub queued: u64,
    /// What they count for of [`Caps::bytes`].
    pub queued_bytes: u64,
    /// When the first of them was stored.
    pub oldest: Option<Timestamp>,
    /// Of the store's files, or of its tables and their indexes.
    pub bytes: u64,
}

/// Runs a method of whichever engine there is.
macro_rules! each {
    ($store:ident, $engine:ident => $work:expr) => {
        match &*$store.0 {
            Engine::Sqlite($engine) => $work,
            // Apart: what waits for the network is large, and each push would hold room for it.
            Engine::Postgres($engine) => Box::pin(async { $work }).await,
        }
    };
}

impl Store {
    /// The daemon's, in its `state_dir`: makes what is missing, and keeps other daemons out.
    pub fn open(state_dir: &Path) -> Result<Self, OpenError> {
        Ok(Self(Arc::new(Engine::Sqlite(Sqlite::open(state_dir)?))))
    }

    /// For the command line, which must not leave a database that belongs to another user.
    pub fn open_existing(state_dir: &Path) -> Result<Self, OpenError> {
        let sqlite = Sqlite::open_existing(state_dir)?;
        Ok(Self(Arc::new(Engine::Sqlite(sqlite))))
    }

    /// For the daemon and the command line alike: makes the tables where they are missing.
    pub async fn connect(url: &PostgresUrl) -> Result<Self, OpenError> {
        let postgres = Postgres::connect(url).await?;
        Ok(Self(Arc::new(Engine::Postgres(Box::new(postgres)))))
    }

    /// Keeps the row, with a later expiry and the present full JID, while the newest one of this
    /// owner, application and instance lives under the current secret. Otherwise makes one, within
    /// the account's limit.
    pub async fn register(&self, new: NewRegistration) -> Result<Registered, StoreError> {
        each!(self, engine => engine.register(new).await)
    }

    /// Of the account's registrations that live, the one that was renewed longest ago.
    pub async fn longest_unrenewed(
        &self,
        owner: BareJid,
        now: Timestamp,
    ) -> Result<Option<Registration>, StoreError> {
        each!(self, engine => engine.longest_unrenewed(owner, now).await)
    }

    pub async fn find(&self, id: TokenHash) -> Result<Option<Found>, StoreError> {
        each!(self, engine => engine.find(id).await)
    }

    /// Kills what was issued up to `at`, and drops the messages that wait for it. Kept until
    /// `min_until` at least, and until no secret has a living token any more.
    pub async fn revoke(
        &self,
        scope: Scope,
        at: Timestamp,
        min_until: Timestamp,
    ) -> Result<Revoked, StoreError> {
        each!(self, engine => engine.revoke(scope, at, min_until).await)
    }

    pub async fn revocations(&self) -> Result<Vec<Revocation>, StoreError> {
        each!(self, engine => engine.revocations().await)
    }

    /// All revocations, if another process has changed something since this was last asked; cheap
    /// enough to be asked each second.
    pub async fn revocations_if_changed(&self) -> Result<Option<Vec<Revocation>>, StoreError> {
        each!(self, engine => engine.revocations_if_changed().await)
    }

    /// Records that tokens of this secret may live until then.
    pub async fn note_issuer(&self, key: KeyId, live_until: Timestamp) -> Result<(), StoreError> {
        each!(self, engine => engine.note_issuer(key, live_until).await)
    }

    pub async fn issuers(&self) -> Result<Vec<Issuer>, StoreError> {
        each!(self, engine => engine.issuers().await)
    }

    /// Gives a secret up with all its registrations, and says how many of these the store held.
    /// None when it is no issuer.
    pub async fn forget_key(&self, key: KeyId) -> Result<Option<usize>, StoreError> {
        each!(self, engine => engine.forget_key(key).await)
    }

    /// Who holds registrations that live.
    pub async fn owners(&self, now: Timestamp) -> Result<Vec<Owned>, StoreError> {
        each!(self, engine => engine.owners(now).await)
    }

    /// Keeps a message, within the caps; `now` is the present time.
    pub async fn enqueue(
        &self,
        message: NewMessage,
        caps: Caps,
        now: Timestamp,
    ) -> Result<Enqueued, StoreError> {
        each!(self, engine => engine.enqueue(message, caps, now).await)
    }

    /// The message to send next to this full JID: the most urgent, of these the oldest; those whose
    /// hold has passed come after all that were never held, or are released. It counts as sent now,
    /// and is nobody else's until `lease`. One at a time: while a lease of this JID lasts, there is
    /// no other. `done` is acknowledged first, in the same commit; whether it was there comes back.
    pub async fn claim(
        &self,
        done: Option<MessageKey>,
        owner: &Jid,
        now: Timestamp,
        lease: Timestamp,
    ) -> Result<(bool, Claim), StoreError> {
        each!(self, engine => engine.claim(done, owner, now, lease).await)
    }

    /// The phone has it: deletes it. False when it was not, or no longer, there.
    pub async fn acknowledge(&self, key: MessageKey) -> Result<bool, StoreError> {
        each!(self, engine => engine.acknowledge(key).await)
    }

    /// Ends the lease of an attempt; the message is not sent again before `held_until`. Says where
    /// it goes now. None, and nothing happens, unless the attempt is the message's latest.
    pub async fn put_back(
        &self,
        key: MessageKey,
        attempt: u16,
        held_until: Timestamp,
    ) -> Result<Option<Jid>, StoreError> {
        each!(self, engine => engine.put_back(key, attempt, held_until).await)
    }

    /// Whom this attempt asked, if it is the message's latest and was sent after the phone last
    /// registered.
    pub async fn asked(
        &self,
        key: MessageKey,
        attempt: u16,
    ) -> Result<Option<Registration>, StoreError> {
        each!(self, engine => engine.asked(key, attempt).await)
    }

    /// Nothing that waits for this full JID and was sent at `since` or later is held any longer.
    pub async fn release(&self, owner: &Jid, since: Timestamp) -> Result<(), StoreError> {
        each!(self, engine => engine.release(owner, since).await)
    }

    /// The phone has registered again, perhaps from another resource: what waits goes there. Says how
    /// many messages do.
    pub async fn redirect(&self, registration: &Registration) -> Result<u64, StoreError> {
        each!(self, engine => engine.redirect(registration).await)
    }

    /// Full JIDs that messages wait for, in order, from the first after `after`.
    pub async fn owners_waiting(
        &self,
        after: Option<&Jid>,
        limit: u32,
    ) -> Result<Vec<Jid>, StoreError> {
        each!(self, engine => engine.owners_waiting(after, limit).await)
    }

    /// Whether a message waits still.
    pub async fn is_waiting(&self, id: MessageId, now: Timestamp) -> Result<bool, StoreError> {
        each!(self, engine => engine.is_waiting(id, now).await)
    }

    /// Deletes a message that its sender takes back. False when there is none.
    pub async fn cancel(&self, id: MessageId) -> Result<bool, StoreError> {
        each!(self, engine => engine.cancel(id).await)
    }

    /// What waits, by account.
    pub async fn waiting(&self, now: Timestamp) -> Result<Vec<Waiting>, StoreError> {
        each!(self, engine => engine.waiting(now).await)
    }

    /// Deletes all that waits for an account, and says how many messages that were.
    pub async fn drop_waiting(&self, owner: &BareJid) -> Result<u64, StoreError> {
        each!(self, engine => engine.drop_waiting(owner).await)
    }

    /// Whether there may be other replicas.
    pub fn is_shared(&self) -> bool {
        matches!(*self.0, Engine::Postgres(_))
    }

    /// What other replicas have to say; waits for it. For one caller at a time.
    pub async fn news(&self) -> News {
        each!(self, engine => engine.news().await)
    }

    /// Hands an answer to the replica that waits for it, if one does.
    pub async fn pass_on(&self, from: &Jid, id: &str, answer: Answer) -> Result<(), StoreError> {
        each!(self, engine => engine.pass_on(from, id, answer).await)
    }

    /// Deletes what has expired, in steps between which others get their turn, and says how many
    /// messages that were.
    pub async fn purge(&self, now: Timestamp) -> Result<u64, StoreError> {
        each!(self, engine => engine.purge(now).await)
    }

    pub async fn sizes(&self) -> Result<Sizes, StoreError> {
        each!(self, engine => engine.sizes().await)
    }

    /// Whether the store answers, for reading and for writing. After a write that failed, only one
    /// that reaches the disk proves it.
    pub async fn ping(&self) -> Result<(), StoreError> {
        each!(self, engine => engine.ping().await)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Engine::Sqlite(sqlite) => f.debug_tuple("Store").field(&sqlite.path).finish(),
            Engine::Postgres(postgres) => f.debug_tuple("Store").field(&postgres.url).finish(),
        }
    }
}

impl StoreError {
    fn failed(error: impl fmt::Display) -> Self {
        Self::Failed(error.to_string())
    }
}
