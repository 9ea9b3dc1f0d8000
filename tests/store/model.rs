//! The queue as a plain list: what a store has to answer.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    time::Duration,
};

use jid::{BareJid, Jid};
use unified_push::{
    model::{
        message::{Hold, MessageId, MessageKey, Urgency},
        registration::{Registration, RegistrationKey},
        revocation::Scope,
        time::Timestamp,
    },
    store::{Caps, Claim, Claimed, Enqueued, NewMessage, Waiting},
};

use crate::messages::size;

/// In the order in which they were stored.
#[derive(Default)]
pub struct Model {
    rows: Vec<Row>,
    revoked: Vec<(Scope, Timestamp)>,
    refused: Vec<Refused>,
    /// How many had expired and went since the last purge.
    swept: u64,
}

struct Refused {
    key: RegistrationKey,
    urgency: Urgency,
    caps: Caps,
    at: Timestamp,
    answer: Enqueued,
}

struct Row {
    new: NewMessage,
    key: RegistrationKey,
    attempts: u16,
    claimed_until: Timestamp,
}

impl Row {
    fn lives(&self, now: Timestamp) -> bool {
        self.new.expires > now
    }
}

impl Model {
    pub fn enqueue(&mut self, new: &NewMessage, caps: Caps, now: Timestamp) -> Enqueued {
        let account = new.registration.key().owner;
        self.swept += self.remove(|row| row.key.owner == account && !row.lives(now));
        if self.is_revoked(&new.registration) {
            return Enqueued::Revoked;
        }
        let (stored, leaving) = match self.make_room(new, caps, now) {
            Ok(room) => room,
            Err(refusal) => {
                self.note_refusal(new, caps, now, &refusal);
                return refusal;
            }
        };
        let staying = self
            .rows
            .iter()
            .filter(|row| !leaving.contains(&row.new.key));
        let bytes: u64 = staying.map(|row| size(&row.new)).sum();
        if bytes + size(new) > caps.bytes {
            return Enqueued::Full;
        }
        self.rows.retain(|row| !leaving.contains(&row.new.key));
        self.rows.push(Row {
            new: new.clone(),
            key: new.registration.key(),
            attempts: new.sent.is_some().into(),
            claimed_until: Timestamp::from_millis(0),
        });
        stored
    }

    fn note_refusal(&mut self, new: &NewMessage, caps: Caps, now: Timestamp, answer: &Enqueued) {
        // Of those that came at the same time, the most urgent is remembered.
        if matches!(answer, Enqueued::AccountFull | Enqueued::Outranked)
            && self.refused_lately(new, caps, now).is_none()
        {
            let key = new.registration.key();
            self.refused.retain(|refused| refused.key != key);
            self.refused.push(Refused {
                key,
                urgency: new.urgency,
                caps,
                at: now,
                answer: answer.clone(),
            });
        }
    }

    /// The answer that is given without a look.
    pub fn refused_lately(&self, new: &NewMessage, caps: Caps, now: Timestamp) -> Option<Enqueued> {
        let key = new.registration.key();
        let same = |refused: &&Refused| {
            refused.key == key
                && new.urgency <= refused.urgency
                && refused.caps == caps
                && now < refused.at.saturating_add(Duration::from_secs(1))
        };
        self.refused
            .iter()
            .find(same)
            .map(|refused| refused.answer.clone())
    }

    fn make_room(
        &self,
        new: &NewMessage,
        caps: Caps,
        now: Timestamp,
    ) -> Result<(Enqueued, Vec<MessageKey>), Enqueued> {
        let key = new.registration.key();
        let mut endpoint: Vec<&Row> = self.rows.iter().filter(|row| row.key == key).collect();
        let same_topic = |row: &&&Row| new.topic.is_some() && row.new.topic == new.topic;
        if let Some(earlier) = endpoint.iter().find(same_topic) {
            if earlier.new.arrived > new.arrived && earlier.new.arrived <= now {
                return Err(Enqueued::Superseded);
            }
            let replaced = Enqueued::Stored {
                replaced: 1,
                evicted: 0,
                redirected: None,
            };
            return Ok((replaced, vec![earlier.new.key]));
        }
        endpoint.retain(|row| row.lives(now));
        endpoint.sort_by_key(|row| (row.new.urgency, row.new.arrived));
        let mut leaving = Vec::new();
        while endpoint.len() - leaving.len() >= caps.per_endpoint as usize {
            let least = &endpoint[leaving.len()].new;
            if least.urgency > new.urgency {
                return Err(Enqueued::Outranked);
            }
            leaving.push(least.key);
        }
        let of_account = |row: &&Row| row.key.owner == key.owner;
        let account = self.rows.iter().filter(of_account).count();
        if leaving.is_empty() && account >= caps.per_account as usize {
            return Err(Enqueued::AccountFull);
        }
        let evicted = u32::try_from(leaving.len()).unwrap();
        let stored = Enqueued::Stored {
            replaced: 0,
            evicted,
            redirected: None,
        };
        Ok((stored, leaving))
    }

    fn is_revoked(&self, registration: &Registration) -> bool {
        let covers = |scope: &Scope| concerns(scope, &registration.key());
        let mut revoked = self.revoked.iter();
        revoked.any(|(scope, at)| covers(scope) && registration.issued <= *at)
    }

    pub fn claim(&mut self, owner: &Jid, now: Timestamp, lease: Timestamp) -> Claim {
        let live = |row: &&mut Row| row.new.registration.owner == *owner && row.lives(now);
        let mut rows: Vec<&mut Row> = self.rows.iter_mut().filter(live).collect();
        let claimed = rows.iter().map(|row| row.claimed_until).max();
        if let Some(until) = claimed.filter(|until| *until > now) {
            return Claim::Later(until);
        }
        let held = |row: &Row| row.new.hold != Hold::Free;
        rows.sort_by_key(|row| (held(row), Reverse(row.new.urgency), row.new.arrived));
        let Some(first) = rows.iter_mut().find(|row| row.new.hold.end() <= now) else {
            let held = rows.iter().map(|row| row.new.hold.end()).min();
            return held.map_or(Claim::Empty, Claim::Later);
        };
        first.attempts += 1;
        first.new.sent = Some(now);
        first.claimed_until = lease;
        Claim::Message(Claimed {
            key: first.new.key,
            registration: first.new.registration.clone(),
            payload: first.new.payload.clone(),
            attempt: first.attempts,
            expires: first.new.expires,
        })
    }

    pub fn acknowledge(&mut self, key: MessageKey) -> bool {
        self.remove(|row| row.new.key == key) > 0
    }

    pub fn put_back(
        &mut self,
        key: MessageKey,
        attempt: u16,
        owner: &Jid,
        hold: Hold,
    ) -> Option<Jid> {
        let latest = |row: &&mut Row| row.new.key == key && row.attempts == attempt;
        let row = self.rows.iter_mut().find(latest)?;
        row.claimed_until = Timestamp::from_millis(0);
        let owned = row.new.registration.owner == *owner;
        row.new.hold = if owned { hold } else { Hold::Free };
        Some(row.new.registration.owner.clone())
    }

    pub fn asked(&self, key: MessageKey, attempt: u16) -> Option<Registration> {
        let row = self.rows.iter().find(|row| row.new.key == key)?;
        let registration = &row.new.registration;
        let asked = row.attempts == attempt && row.new.sent? >= registration.issued;
        asked.then(|| registration.clone())
    }

    pub fn release(&mut self, owner: &Jid, sent: &RangeInclusive<Timestamp>) {
        for row in &mut self.rows {
            let set_back = sent.end().saturating_add(Duration::from_secs(3600));
            let is_meant = |at| sent.contains(&at) || at > set_back;
            let sent = row.new.sent.is_some_and(is_meant);
            if row.new.registration.owner == *owner && sent {
                row.new.hold = Hold::Free;
            }
        }
    }

    /// How many messages it moved.
    pub fn redirect(&mut self, to: &Registration) -> u64 {
        let mut moved = 0;
        for row in &mut self.rows {
            if row.key == to.key() && row.new.registration.issued <= to.issued {
                if row.new.registration.owner != to.owner {
                    row.new.hold = Hold::Free;
                }
                row.new.registration = to.clone();
                moved += 1;
            }
        }
        moved
    }

    pub fn owners_waiting(&self, after: Option<&Jid>, limit: usize) -> Vec<Jid> {
        let owners = self
            .rows
            .iter()
            .map(|row| row.new.registration.owner.as_str());
        let owners: BTreeSet<&str> = owners
            .filter(|owner| after.is_none_or(|after| *owner > after.as_str()))
            .collect();
        let page = owners.into_iter().take(limit);
        page.map(|owner| Jid::new(owner).unwrap()).collect()
    }

    pub fn is_waiting(&self, id: MessageId, now: Timestamp) -> bool {
        self.rows
            .iter()
            .any(|row| row.new.id == id && row.lives(now))
    }

    pub fn cancel(&mut self, id: MessageId) -> bool {
        self.remove(|row| row.new.id == id) > 0
    }

    pub fn waiting(&self, now: Timestamp) -> Vec<Waiting> {
        let mut accounts: BTreeMap<&str, Waiting> = BTreeMap::new();
        for row in self.rows.iter().filter(|row| row.lives(now)) {
            let owner: &BareJid = &row.key.owner;
            let account = accounts.entry(owner.as_str()).or_insert(Waiting {
                owner: owner.clone(),
                messages: 0,
                bytes: 0,
                oldest: row.new.arrived,
            });
            account.messages += 1;
            account.bytes += row.new.payload.len() as u64;
            account.oldest = account.oldest.min(row.new.arrived);
        }
        accounts.into_values().collect()
    }

    pub fn drop_waiting(&mut self, owner: &BareJid) -> u64 {
        self.remove(|row| row.key.owner == *owner)
    }

    /// How many messages it dropped.
    pub fn revoke(&mut self, scope: &Scope, at: Timestamp) -> u64 {
        self.revoked.push((scope.clone(), at));
        self.remove(|row| concerns(scope, &row.key) && row.new.registration.issued <= at)
    }

    pub fn purge(&mut self, now: Timestamp) -> u64 {
        self.remove(|row| !row.lives(now)) + std::mem::take(&mut self.swept)
    }

    /// Messages, their bytes, and when the first was stored.
    pub fn sizes(&self) -> (u64, u64, Option<Timestamp>) {
        let bytes = self.rows.iter().map(|row| size(&row.new)).sum();
        let oldest = self.rows.first().map(|row| row.new.arrived);
        (self.rows.len() as u64, bytes, oldest)
    }

    fn remove(&mut self, gone: impl Fn(&Row) -> bool) -> u64 {
        let before = self.rows.len();
        self.rows.retain(|row| !gone(row));
        (before - self.rows.len()) as u64
    }
}

fn concerns(scope: &Scope, key: &RegistrationKey) -> bool {
    match scope {
        Scope::Registration(revoked) => key == revoked,
        Scope::Owner(owner) => key.owner == *owner,
    }
}
