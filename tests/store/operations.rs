//! Operations on a store and on a plain list, which have to answer the same.

use std::collections::HashMap;

use futures::future::join_all;
use unified_push::{
    model::{
        message::{Hold, MessageKey, Urgency},
        registration::Registration,
        revocation::Scope,
        time::Timestamp,
    },
    store::{Caps, Claim, NewMessage, Store},
};

use crate::{messages::*, model::Model};

/// After everything that happens.
const END: Timestamp = Timestamp::from_secs(1_765_000_000);

pub const ACCOUNTS: [&str; 2] = ["juliet@example.org", "romeo@example.org"];
pub const OWNERS: [&str; 5] = [
    BALCONY,
    "juliet@example.org/garden",
    ORCHARD,
    "romeo@example.org/street",
    "romeo@example.org",
];

/// Times are milliseconds, before or after the present. A serial may be that of a message that was
/// never stored, or is no longer.
#[derive(Clone, Debug)]
pub enum Operation {
    Wait(u64),
    Enqueue(Arrival, Caps),
    /// At the same time, to one account; an engine may write them together.
    EnqueueMany(Vec<Arrival>, Caps),
    Claim {
        owner: &'static str,
        lease: u64,
    },
    /// Once a message is done; without a serial, the one that was claimed last for the same owner.
    Next {
        done: Option<u32>,
        owner: &'static str,
        lease: u64,
    },
    Acknowledge(u32),
    PutBack {
        serial: u32,
        attempt: u16,
        owner: &'static str,
        held: u64,
    },
    Asked(u32, u16),
    Release {
        owner: &'static str,
        ago: u64,
    },
    Redirect(Phone),
    OwnersWaiting(Option<&'static str>, u32),
    IsWaiting(u32),
    Cancel(u32),
    DropWaiting(&'static str),
    RevokeRegistration(Phone),
    RevokeAccount {
        account: &'static str,
        ago: u64,
    },
    Purge,
}

/// A message as it arrives.
#[derive(Clone, Debug)]
pub struct Arrival {
    pub phone: Phone,
    pub topic: Option<&'static str>,
    pub urgency: Urgency,
    pub len: usize,
    pub ago: u64,
    pub sent: bool,
    pub held: u64,
    pub ttl: u64,
}

/// A registration.
#[derive(Clone, Copy, Debug)]
pub struct Phone {
    pub owner: &'static str,
    pub app: u8,
    pub ago: u64,
}

impl Phone {
    fn registration(self, now: Timestamp) -> Registration {
        Registration {
            issued: before(now, self.ago),
            ..registration(self.owner, self.app)
        }
    }
}

/// For so many milliseconds, and none at all for 0.
fn hold(now: Timestamp, millis: u64) -> Hold {
    match millis {
        0 => Hold::Free,
        _ => Hold::Until(ahead(now, millis)),
    }
}

/// Fails the test when an answer differs. Other messages that the store holds are gone afterwards.
pub async fn compare(store: &Store, operations: &[Operation]) {
    store.purge(END).await.unwrap();
    let mut pair = Pair {
        store,
        model: Model::default(),
        now: NOW,
        arrived: 0,
        claimed: HashMap::new(),
    };
    for operation in operations {
        pair.perform(operation).await;
        pair.compare_views().await;
    }
    pair.compare_rows().await;
    pair.drain().await;
}

struct Pair<'a> {
    store: &'a Store,
    model: Model,
    now: Timestamp,
    /// How many messages have arrived, which makes the next one's serial.
    arrived: u32,
    /// By each owner, the last one.
    claimed: HashMap<String, MessageKey>,
}

impl Pair<'_> {
    async fn perform(&mut self, operation: &Operation) {
        let Self {
            store, model, now, ..
        } = self;
        let now = *now;
        match operation.clone() {
            Operation::Wait(millis) => self.now = ahead(now, millis),
            Operation::Enqueue(arrival, caps) => {
                let new = self.message(arrival);
                let refused = self.model.refused_lately(&new, caps, now);
                let expected = refused.unwrap_or_else(|| self.model.enqueue(&new, caps, now));
                let answer = self.store.enqueue(new, caps, now).await.unwrap();
                assert_eq!(answer, expected);
            }
            Operation::EnqueueMany(arrivals, caps) => {
                let new: Vec<_> = arrivals.into_iter().map(|new| self.message(new)).collect();
                let enqueued = new
                    .iter()
                    .map(|new| self.store.enqueue(new.clone(), caps, now));
                let answers = join_all(enqueued).await;
                for (new, answer) in new.iter().zip(answers) {
                    let answer = answer.unwrap();
                    // Whoever comes at the same time may be asked for or not.
                    if self.model.refused_lately(new, caps, now).as_ref() != Some(&answer) {
                        assert_eq!(answer, self.model.enqueue(new, caps, now));
                    }
                }
            }
            Operation::Claim { owner, lease } => {
                self.claim(None, owner, lease).await;
            }
            Operation::Next { done, owner, lease } => {
                let done = done.map(key);
                let done = done.or_else(|| self.claimed.get(owner).copied());
                self.claim(done, owner, lease).await;
            }
            Operation::Acknowledge(serial) => {
                let answer = store.acknowledge(key(serial)).await.unwrap();
                assert_eq!(answer, model.acknowledge(key(serial)));
            }
            Operation::PutBack {
                serial,
                attempt,
                owner,
                held,
            } => {
                let hold = hold(now, held);
                let asked = full(owner);
                let put_back = store.put_back(key(serial), attempt, &asked, hold).await;
                let expected = model.put_back(key(serial), attempt, &asked, hold);
                assert_eq!(put_back.unwrap(), expected);
            }
            Operation::Asked(serial, attempt) => {
                let answer = store.asked(key(serial), attempt).await.unwrap();
                assert_eq!(answer, model.asked(key(serial), attempt));
            }
            Operation::Release { owner, ago } => {
                let sent = before(now, ago)..=before(now, ago / 4);
                let released = store.release(&full(owner), sent.clone()).await;
                released.unwrap();
                model.release(&full(owner), &sent);
            }
            Operation::Redirect(phone) => {
                let to = phone.registration(now);
                let moved = store.redirect(&to).await.unwrap();
                assert_eq!(moved, model.redirect(&to));
            }
            Operation::OwnersWaiting(after, limit) => {
                let after = after.map(full);
                let answer = store.owners_waiting(after.as_ref(), limit).await.unwrap();
                let expected = model.owners_waiting(after.as_ref(), limit as usize);
                assert_eq!(answer, expected);
            }
            Operation::IsWaiting(serial) => {
                let answer = store.is_waiting(id(serial), now).await.unwrap();
                assert_eq!(answer, model.is_waiting(id(serial), now));
            }
            Operation::Cancel(serial) => {
                let answer = store.cancel(id(serial)).await.unwrap();
                assert_eq!(answer, model.cancel(id(serial)));
            }
            Operation::DropWaiting(account) => {
                let answer = store.drop_waiting(&bare(account)).await.unwrap();
                assert_eq!(answer, model.drop_waiting(&bare(account)));
            }
            Operation::RevokeRegistration(phone) => {
                let registration = phone.registration(now);
                let scope = Scope::Registration(registration.key());
                self.revoke(scope, registration.issued).await;
            }
            Operation::RevokeAccount { account, ago } => {
                self.revoke(Scope::Owner(bare(account)), before(now, ago))
                    .await;
            }
            Operation::Purge => {
                let answer = store.purge(now).await.unwrap();
                assert_eq!(answer, model.purge(now));
            }
        }
    }

    fn message(&mut self, new: Arrival) -> NewMessage {
        let serial = self.arrived;
        self.arrived += 1;
        let arrived = before(self.now, new.ago);
        NewMessage {
            key: key(serial),
            id: id(serial),
            registration: new.phone.registration(self.now),
            topic: new.topic.and_then(topic),
            urgency: new.urgency,
            payload: payload(new.len),
            arrived,
            expires: ahead(self.now, new.ttl),
            sent: new.sent.then_some(arrived),
            hold: hold(self.now, new.held),
            try_at: self.now,
        }
    }

    async fn claim(&mut self, done: Option<MessageKey>, owner: &str, lease: u64) -> Claim {
        let (jid, lease) = (full(owner), ahead(self.now, lease));
        let claimed = self.store.claim(done, &jid, self.now, lease).await;
        let deleted = done.is_some_and(|done| self.model.acknowledge(done));
        let expected = self.model.claim(&jid, self.now, lease);
        assert_eq!(claimed.unwrap(), (deleted, expected.clone()));
        if let Claim::Message(claimed) = &expected {
            self.claimed.insert(owner.to_owned(), claimed.key);
        }
        expected
    }

    async fn revoke(&mut self, scope: Scope, at: Timestamp) {
        let expected = self.model.revoke(&scope, at);
        let revoked = self.store.revoke(scope, at, END).await.unwrap();
        assert_eq!(revoked.dropped, expected);
    }

    async fn compare_views(&self) {
        let sizes = self.store.sizes().await.unwrap();
        let sizes = (sizes.queued, sizes.queued_bytes, sizes.oldest);
        assert_eq!(sizes, self.model.sizes());
        let waiting = self.store.waiting(self.now).await.unwrap();
        assert_eq!(waiting, self.model.waiting(self.now));
        let owners = self.store.owners_waiting(None, 100).await.unwrap();
        assert_eq!(owners, self.model.owners_waiting(None, 100));
    }

    async fn compare_rows(&self) {
        for serial in 0..self.arrived {
            let waits = self.store.is_waiting(id(serial), self.now).await.unwrap();
            assert_eq!(waits, self.model.is_waiting(id(serial), self.now));
            for attempt in 0..5 {
                let asked = self.store.asked(key(serial), attempt).await.unwrap();
                assert_eq!(asked, self.model.asked(key(serial), attempt));
            }
        }
    }

    /// Sends all that lives in its order, each message once its lease and its hold have ended.
    async fn drain(&mut self) {
        loop {
            let mut next: Option<Timestamp> = None;
            for owner in OWNERS {
                let mut done = None;
                loop {
                    match self.claim(done.take(), owner, 1000).await {
                        Claim::Empty => break,
                        Claim::Later(then) => {
                            next = Some(next.map_or(then, |next| next.min(then)));
                            break;
                        }
                        Claim::Message(claimed) => done = Some(claimed.key),
                    }
                }
            }
            match next {
                Some(then) => self.now = then,
                None => break,
            }
        }
    }
}
