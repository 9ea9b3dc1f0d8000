//! The contract between the store and its engines.

use std::ops::RangeInclusive;

use futures::FutureExt;
use jid::{BareJid, Jid};

use super::{
    Opened, Store,
    error::StoreResult,
    messages::{Caps, Claim, Enqueued, NewMessage, News, Overtaken, Waiting},
    registrations::{Found, Issuer, NewRegistration, Owned, Registered, Revoked, Sizes, TokenHash},
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
};

/// Makes the trait as it is written below, and for each of its methods one of [`Store`] that passes
/// the call on to the engine there is.
macro_rules! contract {
    (
        $(#[$about:meta])*
        pub trait $trait:ident {$(
            $(#[$promise:meta])*
            async fn $name:ident(&self $(, $value:ident: $kind:ty)* $(,)?) -> $answer:ty;
        )*}
    ) => {
        $(#[$about])*
        pub trait $trait {$(
            $(#[$promise])*
            async fn $name(&self $(, $value: $kind)*) -> $answer;
        )*}

        impl Store {$(
            $(#[$promise])*
            pub async fn $name(&self $(, $value: $kind)*) -> $answer {
                match &*self.0 {
                    Opened::Sqlite(sqlite) => sqlite.$name($($value),*).await,
                    // Boxed: a future that waits for the network is large, and without the box
                    // each push would hold room for it.
                    Opened::Postgres(postgres) => postgres.$name($($value),*).boxed().await,
                }
            }
        )*}
    };
}

contract! {
/// What each engine promises. Whatever writes answers when the write is on the disk.
pub trait Engine {
    /// Keeps the row, with a later expiry and the present full JID, while the newest one of this
    /// owner, application and instance lives under the current secret. Otherwise makes one, within
    /// the account's limit.
    async fn register(&self, new: NewRegistration) -> StoreResult<Registered>;

    /// Keeps registrations of another server, in one key's name, and says how many of them are new:
    /// what is known stays as it is.
    async fn import(&self, new: Vec<NewRegistration>) -> StoreResult<usize>;

    /// The registration of a token.
    async fn find(&self, id: TokenHash) -> StoreResult<Option<Found>>;

    /// Of the account's registrations that live, the one that was renewed longest ago. A row that
    /// another one of the same registration replaces, under another key, does not count.
    async fn longest_unrenewed(
        &self,
        owner: &BareJid,
        now: Timestamp,
    ) -> StoreResult<Option<Registration>>;

    /// Who holds registrations that live.
    async fn owners(&self, now: Timestamp) -> StoreResult<Vec<Owned>>;

    /// Kills what was issued up to `at`, and drops the messages that wait for it. Kept until
    /// `min_until` at least, and until no secret has a living token any more. Of the account's revoked
    /// registrations, the latest hundred are kept until they expire.
    async fn revoke(
        &self,
        scope: Scope,
        at: Timestamp,
        min_until: Timestamp,
    ) -> StoreResult<Revoked>;

    /// All revocations.
    async fn revocations(&self) -> StoreResult<Vec<Revocation>>;

    /// All revocations, if another process has changed something since this was last asked; cheap
    /// enough to be asked each second.
    async fn revocations_if_changed(&self) -> StoreResult<Option<Vec<Revocation>>>;

    /// Records that tokens of this secret may live until then.
    async fn note_issuer(&self, key: KeyId, live_until: Timestamp) -> StoreResult<()>;

    /// The secrets that have issued tokens.
    async fn issuers(&self) -> StoreResult<Vec<Issuer>>;

    /// Gives a secret up with all its registrations, and says how many of these the store held.
    /// None when it is no issuer.
    async fn forget_key(&self, key: KeyId) -> StoreResult<Option<usize>>;

    /// Keeps a message, within the caps; `now` is the present time. Deletes some messages of the
    /// account that have expired. What is no more urgent than a message of the same endpoint that the
    /// store has refused within a second, since the endpoint or its account holds as much as it may,
    /// is refused as well. Several replicas may go over
    /// [`Caps::bytes`] by what the others have stored since this one last asked for the sizes, and
    /// by what is being stored at this moment.
    async fn enqueue(
        &self,
        message: NewMessage,
        caps: Caps,
        now: Timestamp,
    ) -> StoreResult<Enqueued>;

    /// The message to send next to this full JID: the most urgent, of these the oldest; those whose
    /// hold has passed come after all that were never held, or are released. It counts as sent now,
    /// and is nobody else's until `lease`. One at a time: while a lease of this JID lasts, there is
    /// no other. `done` is acknowledged first, in the same commit; whether it was there comes back.
    async fn claim(
        &self,
        done: Option<MessageKey>,
        owner: &Jid,
        now: Timestamp,
        lease: Timestamp,
    ) -> StoreResult<(bool, Claim)>;

    /// The phone has it: deletes it. False when it was not, or no longer, there.
    async fn acknowledge(&self, key: MessageKey) -> StoreResult<bool>;

    /// Ends the lease of an attempt, which asked `owner`; the message is held from now on, or free, as
    /// one is that goes to another full JID by now. Says where it goes. None, and nothing happens,
    /// unless the attempt is the message's latest.
    async fn put_back(
        &self,
        key: MessageKey,
        attempt: u16,
        owner: &Jid,
        hold: Hold,
    ) -> StoreResult<Option<Jid>>;

    /// Whom this attempt asked, if it is the message's latest and was sent after the phone last
    /// registered; within one millisecond, the registration came first.
    async fn asked(&self, key: MessageKey, attempt: u16) -> StoreResult<Option<Registration>>;

    /// Nothing that waits for this full JID and was sent within `sent` is held any longer. What is dated
    /// later by more than [`SET_BACK`](super::rules::SET_BACK) is not, either.
    async fn release(&self, owner: &Jid, sent: RangeInclusive<Timestamp>) -> StoreResult<()>;

    /// Deletes what a push has overtaken, and says how many messages that were.
    async fn overtake(&self, overtaken: &Overtaken) -> StoreResult<u64>;

    /// The phone has registered again, perhaps from another resource: what waits goes there. What
    /// another resource was sent is not held any longer: a phone that has registered from this one
    /// does not come back to that session. Says how many messages go there.
    async fn redirect(&self, registration: &Registration) -> StoreResult<u64>;

    /// Full JIDs that messages wait for, in order, from the first after `after`.
    async fn owners_waiting(&self, after: Option<&Jid>, limit: u32) -> StoreResult<Vec<Jid>>;

    /// Whether a message waits still.
    async fn is_waiting(&self, id: MessageId, now: Timestamp) -> StoreResult<bool>;

    /// Deletes a message that its sender takes back. False when there is none.
    async fn cancel(&self, id: MessageId) -> StoreResult<bool>;

    /// What waits, by account. Reads every message, so it is for the command line alone.
    async fn waiting(&self, now: Timestamp) -> StoreResult<Vec<Waiting>>;

    /// Deletes all that waits for an account, and says how many messages that were.
    async fn drop_waiting(&self, owner: &BareJid) -> StoreResult<u64>;

    /// What other replicas have to say; waits for it. For one caller at a time.
    async fn news(&self) -> News;

    /// Hands an answer to the replica that waits for it, if one does.
    async fn pass_on(&self, from: &Jid, id: &str, answer: Answer) -> StoreResult<()>;

    /// Deletes what has expired, in steps between which others get their turn, and says how many
    /// messages that were, with those that [`enqueue`](Self::enqueue) has deleted since. Several replicas
    /// may do it at once.
    async fn purge(&self, now: Timestamp) -> StoreResult<u64>;

    /// How much the store holds.
    async fn sizes(&self) -> StoreResult<Sizes>;

    /// Whether the store answers, for reading and for writing. After a write that failed, only one
    /// that reaches the disk proves it.
    async fn ping(&self) -> StoreResult<()>;
}
}

/// Repeats a step that others get their turn after, until it has done nothing; returns the sum.
pub async fn in_steps<F: Future<Output = StoreResult<u64>>>(
    step: impl Fn() -> F,
) -> StoreResult<u64> {
    let mut sum = 0;
    loop {
        match step().await? {
            0 => return Ok(sum),
            some => sum += some,
        }
    }
}
