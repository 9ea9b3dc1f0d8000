//! Messages that come in together, decided one after the other in the memory, as if each had been
//! written before the next one came.

use std::collections::HashMap;

use jid::BareJid;

use super::tally::{self, Tally};
use crate::{
    model::{
        registration::{Registration, RegistrationKey},
        time::Timestamp,
    },
    store::{
        messages::{Caps, Enqueued, NewMessage},
        rules::{self, Leaving, Room, There},
    },
};

/// A message that comes in.
#[derive(Clone)]
pub struct Arrival {
    pub message: NewMessage,
    pub caps: Caps,
    pub now: Timestamp,
}

/// What is known of an endpoint.
pub struct Endpoint {
    /// Not revoked.
    pub newest: Option<Registration>,
    pub revoked_up_to: Option<Timestamp>,
    /// How many messages live; where the caps are far, there may be fewer.
    pub living: u64,
    /// Those that may have to leave: of the topics that come in, and the least urgent.
    pub rows: Vec<Row>,
}

/// A message that waits; its number is negative while it is not written yet.
pub struct Row {
    pub leaving: Leaving,
    pub topic: Option<String>,
    pub lives: bool,
}

pub struct Batch<'a> {
    pub arrivals: &'a [Arrival],
    pub endpoints: HashMap<RegistrationKey, Endpoint>,
    /// How many messages of each account are there; where the caps are far, there may be fewer.
    pub accounts: HashMap<BareJid, u64>,
    /// What was deleted because it had expired.
    pub swept: Swept,
    /// What is known of each account before anything is written.
    pub tallies: (tally::Asked, HashMap<BareJid, Tally>),
}

#[derive(Default)]
pub struct Swept {
    pub messages: u64,
    /// As [`Caps::bytes`] counts.
    pub bytes: u64,
}

/// What is to be written, and then said.
#[derive(Default)]
pub struct Decided<'a> {
    pub answers: Vec<Enqueued>,
    /// The numbers of the rows to delete.
    pub leaving: Vec<i64>,
    /// The messages to insert, in order, and the registration that each is for.
    pub staying: Vec<(&'a NewMessage, Registration)>,
}

impl<'a> Batch<'a> {
    /// `waiting` is what waited before, as [`Caps::bytes`] counts.
    pub fn decide(mut self, waiting: u64) -> Decided<'a> {
        let mut waiting = waiting.saturating_sub(self.swept.bytes);
        let mut decided = Decided::default();
        let mut staying: Vec<Option<(&NewMessage, Registration)>> = Vec::new();
        for arrival in self.arrivals {
            let answer = match self.admit(arrival, waiting) {
                Err(refused) => refused,
                Ok((room, renewed)) => {
                    for left in &room.leaving {
                        waiting = waiting.saturating_sub(left.size);
                        match usize::try_from(-1 - left.number) {
                            Ok(index) => staying[index] = None,
                            Err(_) => decided.leaving.push(left.number),
                        }
                    }
                    let message = &arrival.message;
                    let registration = renewed.as_ref().unwrap_or(&message.registration);
                    staying.push(Some((message, registration.clone())));
                    waiting += rules::size(message.payload.len() as u64);
                    self.put(arrival, &room, -(staying.len() as i64));
                    room.stored(renewed.map(|renewed| renewed.owner))
                }
            };
            decided.answers.push(answer);
        }
        decided.staying = staying.into_iter().flatten().collect();
        decided
    }

    /// What has to leave, and the registration that took the place of the message's own.
    fn admit(
        &self,
        arrival: &Arrival,
        waiting: u64,
    ) -> Result<(Room, Option<Registration>), Enqueued> {
        let Arrival { message, caps, now } = arrival;
        let (former, key) = (&message.registration, message.registration.key());
        let endpoint = &self.endpoints[&key];
        let newer = |newest: &&Registration| newest.issued > former.issued;
        let renewed = endpoint.newest.as_ref().filter(newer);
        if rules::is_revoked(renewed.unwrap_or(former), endpoint.revoked_up_to) {
            return Err(Enqueued::Revoked);
        }
        let topic = message.topic.as_ref().map(|topic| topic.as_str());
        let same_topic = |row: &&Row| topic.is_some() && row.topic.as_deref() == topic;
        let room = match endpoint.rows.iter().find(same_topic) {
            Some(earlier) => rules::replace(message, earlier.leaving.clone(), *now)?,
            None => {
                let there = There {
                    of_account: self.accounts[&key.owner],
                    of_endpoint: endpoint.living,
                };
                let least = endpoint.least(rules::excess(there, *caps));
                rules::make_room(message, there, *caps, least)?
            }
        };
        match room.fits(message, waiting, *caps) {
            true => Ok((room, renewed.cloned())),
            false => Err(Enqueued::Full),
        }
    }

    fn put(&mut self, arrival: &Arrival, room: &Room, number: i64) {
        let Arrival { message, now, .. } = arrival;
        let key = message.registration.key();
        let endpoint = self.endpoints.get_mut(&key).expect("of an arrival");
        let of_account = self.accounts.get_mut(&key.owner).expect("of an arrival");
        endpoint.rows.retain(|row| {
            let leaves = room.leaving.contains(&row.leaving);
            let left = u64::from(leaves && row.lives);
            endpoint.living = endpoint.living.saturating_sub(left);
            !leaves
        });
        let lives = message.expires > *now;
        endpoint.living += u64::from(lives);
        *of_account = (*of_account + 1).saturating_sub(room.leaving.len() as u64);
        endpoint.rows.push(Row {
            leaving: Leaving {
                number,
                urgency: message.urgency.rank(),
                arrived: message.arrived,
                size: rules::size(message.payload.len() as u64),
            },
            topic: message
                .topic
                .as_ref()
                .map(|topic| topic.as_str().to_owned()),
            lives,
        });
    }
}

impl Endpoint {
    /// Those that give way first; what is not written yet came last.
    fn least(&self, limit: u64) -> Vec<Leaving> {
        if limit == 0 {
            return Vec::new();
        }
        let living = self.rows.iter().filter(|row| row.lives);
        let mut rows: Vec<Leaving> = living.map(|row| row.leaving.clone()).collect();
        rows.sort_by_key(|row| (row.urgency, row.arrived, row.number < 0, row.number.abs()));
        rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        rows
    }
}
