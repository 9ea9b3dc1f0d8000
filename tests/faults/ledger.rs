//! What was sent, what was answered, what arrived where, and which faults there were meanwhile.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use testbed::{Push, Taken, http::Response};
use tokio::time::Instant;

use crate::faults::Kind;

/// One message, from its sender's view and its phone's.
pub struct Message {
    /// The device that registered the endpoint.
    pub device: usize,
    pub subscription: usize,
    pub topic: Option<usize>,
    /// As requested, in seconds.
    pub ttl: u64,
    pub payload: Vec<u8>,
    pub posted: Instant,
    pub answer: Option<Answer>,
    pub deliveries: Vec<Delivery>,
}

/// What its sender was told.
pub struct Answer {
    pub at: Instant,
    /// None: the connection ended before there was one.
    pub status: Option<u16>,
    /// In seconds.
    pub ttl: u64,
    pub location: Option<String>,
}

/// It reached a phone that has the app.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub at: Instant,
    pub jid: String,
    /// The stanza's id names the attempt.
    pub id: String,
    pub taken: Taken,
}

/// A fault, and the time in which it can have had consequences.
pub struct Record {
    pub kind: Kind,
    /// Of a phone: whose.
    pub device: Option<usize>,
    pub from: Instant,
    pub until: Option<Instant>,
}

/// An app of a phone, and every endpoint that the phone was given for it: the newest is the last.
/// Whatever happens, none of them is over before the run is.
pub struct Subscription {
    pub device: usize,
    pub endpoints: Vec<String>,
}

#[derive(Default)]
pub struct Ledger {
    inner: Mutex<Inner>,
}

#[derive(Default)]
pub struct Inner {
    pub messages: Vec<Message>,
    /// Their numbers, by subscription and topic.
    of_topics: HashMap<(usize, usize), Vec<usize>>,
    pub subscriptions: Vec<Subscription>,
    /// Registrations that were answered, and those that were not or with an error.
    pub registered: usize,
    pub unregistered: usize,
    /// Answers on which an application server forgets an endpoint, or may.
    pub forgotten: usize,
    pub faults: Vec<Record>,
    /// Full JIDs that have registered or announced themselves.
    announced: HashSet<String>,
    /// The bare JID of each device.
    pub accounts: Vec<String>,
    /// Deliveries to another resource of the account, which said that it does not have the app.
    pub fallbacks: usize,
    /// What must never happen, in words.
    pub violations: Vec<String>,
}

impl Ledger {
    pub fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    pub fn violation(&self, what: String) {
        println!("VIOLATION {what}");
        self.inner().violations.push(what);
    }

    pub fn begin(&self, kind: Kind, device: Option<usize>) -> usize {
        let mut inner = self.inner();
        inner.faults.push(Record {
            kind,
            device,
            from: Instant::now(),
            until: None,
        });
        inner.faults.len() - 1
    }

    pub fn end(&self, fault: usize) {
        self.inner().faults[fault].until = Some(Instant::now());
    }

    /// This JID may get pushes of its account from now on.
    pub fn announced(&self, jid: &str) {
        self.inner().announced.insert(jid.to_owned());
    }

    /// An app that its phone is about to register; gives its number.
    pub fn subscribe(&self, device: usize) -> usize {
        let mut inner = self.inner();
        let endpoints = Vec::new();
        inner.subscriptions.push(Subscription { device, endpoints });
        inner.subscriptions.len() - 1
    }

    /// What a phone was given for its app.
    pub fn registered(&self, subscription: usize, endpoint: Option<String>) {
        let mut inner = self.inner();
        let Some(endpoint) = endpoint else {
            inner.unregistered += 1;
            return;
        };
        inner.registered += 1;
        let endpoints = &mut inner.subscriptions[subscription].endpoints;
        endpoints.retain(|known| *known != endpoint);
        endpoints.push(endpoint);
    }

    /// Takes a message down before it is posted; gives its number and the payload.
    pub fn post(
        &self,
        subscription: usize,
        topic: Option<usize>,
        ttl: u64,
        size: usize,
    ) -> (usize, Vec<u8>) {
        let mut inner = self.inner();
        let device = inner.subscriptions[subscription].device;
        let number = inner.messages.len();
        if let Some(topic) = topic {
            let of_topic = inner.of_topics.entry((subscription, topic));
            of_topic.or_default().push(number);
        }
        let mut payload = format!("{number} ").into_bytes();
        payload.resize(payload.len().max(size), b'x');
        inner.messages.push(Message {
            device,
            subscription,
            topic,
            ttl,
            payload: payload.clone(),
            posted: Instant::now(),
            answer: None,
            deliveries: Vec::new(),
        });
        (number, payload)
    }

    pub fn answered(&self, number: usize, response: Option<Response>) {
        let header = |name| response.as_ref().and_then(|it| it.header(name));
        let answer = Answer {
            at: Instant::now(),
            status: response.as_ref().map(|response| response.status),
            ttl: header("TTL").and_then(|ttl| ttl.parse().ok()).unwrap_or(0),
            location: header("Location").map(str::to_owned),
        };
        let text = response.as_ref().map(Response::text);
        let wrong = match answer.status {
            Some(201) => {
                let requested = self.inner().messages[number].ttl;
                answer.location.is_none()
                    || answer.ttl > requested
                    || (answer.ttl == 0 && requested > 0)
            }
            Some(503) | None => false,
            Some(_) => true,
        };
        if matches!(answer.status, Some(300..500)) {
            self.inner().forgotten += 1;
        }
        if wrong {
            let (status, ttl) = (answer.status, answer.ttl);
            let what = format!("message {number} was answered {status:?}, TTL {ttl}: {text:?}");
            self.violation(what);
        }
        self.inner().messages[number].answer = Some(answer);
    }

    /// A push reached this session of a device.
    pub fn delivered(&self, jid: &str, device: usize, push: &Push) {
        let text = String::from_utf8_lossy(&push.payload);
        let number = text
            .split(' ')
            .next()
            .and_then(|number| number.parse().ok());
        let mut inner = self.inner();
        let Some(message) = number.and_then(|number: usize| inner.messages.get(number)) else {
            drop(inner);
            return self.violation(format!("{jid} got what nobody sent"));
        };
        let number = number.unwrap_or_default();
        let whole = message.payload == push.payload;
        let owner = message.device;
        let account = jid.split('/').next();
        let right = inner.announced.contains(jid) && account == Some(&inner.accounts[owner]);
        if !whole {
            drop(inner);
            return self.violation(format!("message {number} arrived changed"));
        }
        if !right {
            drop(inner);
            return self.violation(format!("message {number} reached the wrong JID {jid}"));
        }
        if device == owner {
            inner.messages[number].deliveries.push(Delivery {
                at: Instant::now(),
                jid: jid.to_owned(),
                id: push.id.clone(),
                taken: push.taken,
            });
        } else {
            inner.fallbacks += 1;
        }
    }
}

impl Message {
    pub fn accepted(&self) -> Option<&Answer> {
        let answer = self.answer.as_ref();
        answer.filter(|answer| answer.status == Some(201))
    }

    pub fn acknowledged(&self) -> bool {
        self.acknowledged_at().is_some()
    }

    /// For the first time.
    pub fn acknowledged_at(&self) -> Option<Instant> {
        let mut deliveries = self.deliveries.iter();
        let taken = deliveries.find(|delivery| delivery.taken == Taken::Acknowledged);
        taken.map(|delivery| delivery.at)
    }

    /// When it may be dropped at the latest.
    pub fn expires(&self) -> Option<Instant> {
        let answer = self.accepted()?;
        Some(answer.at + Duration::from_secs(answer.ttl))
    }
}

impl Inner {
    /// Messages that still have to arrive.
    pub fn outstanding(&self, now: Instant) -> Vec<usize> {
        let owed = |(number, message): (usize, &Message)| {
            let expires = message.expires()?;
            let owed = expires > now && !message.acknowledged() && !self.replaced(message, now);
            owed.then_some(number)
        };
        self.messages.iter().enumerate().filter_map(owed).collect()
    }

    /// Another one with its topic may have come later and taken its place. One that got no 201 may
    /// be stored all the same, and then arrives or outlives its TTL.
    fn replaced(&self, message: &Message, now: Instant) -> bool {
        let replaces = |other: &Message| {
            let answer = other.answer.as_ref();
            let later = answer.is_none_or(|answer| answer.at > message.posted);
            let over = now > other.posted + Duration::from_secs(other.ttl);
            let kept = other.accepted().is_some() || !other.deliveries.is_empty() || over;
            later && kept && !std::ptr::eq(other, message)
        };
        self.of_its_topic(message).any(replaces)
    }

    /// None for a message without a topic.
    fn of_its_topic(&self, message: &Message) -> impl Iterator<Item = &Message> {
        let topic = message.topic.map(|topic| (message.subscription, topic));
        let numbers = topic.and_then(|topic| self.of_topics.get(&topic));
        numbers
            .into_iter()
            .flatten()
            .map(|number| &self.messages[*number])
    }

    /// The longest time in which no fault was there that delays what a device gets.
    pub fn unhindered(&self, device: usize, from: Instant, until: Instant) -> Duration {
        let (mut longest, mut free) = (Duration::ZERO, from);
        let hinders =
            |fault: &&Record| fault.kind.delays() && fault.device.is_none_or(|of| of == device);
        // They are in the order in which they began.
        for fault in self.faults.iter().filter(hinders) {
            longest = longest.max(fault.from.min(until).saturating_duration_since(free));
            free = free.max(fault.until.unwrap_or(until));
        }
        longest.max(until.saturating_duration_since(free))
    }

    /// Whether a message came, for the first time, after one that had taken its place was there, and
    /// nothing had held it on its way.
    pub fn turned_around(&self, message: &Message) -> bool {
        let (Some(answer), Some(first)) = (message.accepted(), message.deliveries.first()) else {
            return false;
        };
        let overtook = |later: &Message| {
            later.accepted().is_some()
                && answer.at < later.posted
                && later.acknowledged_at().is_some_and(|at| at < first.at)
        };
        let held = |fault: &Record| fault.kind.holds_stanzas();
        self.of_its_topic(message).any(overtook)
            && !self
                .overlapping(message.device, message.posted, first.at)
                .into_iter()
                .any(held)
    }

    /// The faults that can have made a device get a message twice, from when it was posted to the
    /// second time: all of the system, and those of the phone itself.
    pub fn overlapping(&self, device: usize, from: Instant, until: Instant) -> Vec<&Record> {
        let overlaps = |fault: &&Record| {
            fault.kind.repeats()
                && fault.device.is_none_or(|of| of == device)
                && fault.from <= until
                && fault.until.is_none_or(|end| end >= from)
        };
        self.faults.iter().filter(overlaps).collect()
    }
}
