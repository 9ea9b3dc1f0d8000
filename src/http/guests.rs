//! Who is connected to a listener, and who gives way when there is no room for another one: whoever has
//! kept its connection waiting for longest. A connection whose request is being worked on stays.
//!
//! Connections wait in two ways that an attacker can make many of: idle, or with part of a request. The
//! first are bounded by their number, the second by the bytes of all of them as well.

#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, interval, timeout},
};
use tracing::warn;

use crate::{
    http::client::ClientKey,
    metrics::{ConnectionEnd, Metrics},
    model::sync::Mutex,
};

/// What a request costs while it is read, beside its own bytes: the reader's buffer and the table of
/// its headers.
const READER: usize = 12 * 1024;

/// One in so many gives way at once, so that looking for them costs little for each newcomer.
const SHARE: usize = 64;

/// How long a connection is idle before it is told to rest, about.
pub const REST: Duration = Duration::from_secs(1);

/// How often the log says that connections are refused.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// How much room there is.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// How many may be connected.
    pub connections: usize,
    /// Bytes of all requests that are being read.
    pub reading: usize,
    /// How long a connection may be waiting before it can be made to give way to another one.
    pub grace: Duration,
}

/// Everybody who is connected.
pub struct Guests {
    room: Room,
    metrics: Arc<Metrics>,
    began: Instant,
    table: Mutex<Table>,
    reading: AtomicUsize,
    /// A seat is free.
    freed: Notify,
}

#[derive(Default)]
struct Table {
    next: u64,
    seats: HashMap<u64, Arc<Seat>>,
    of_client: HashMap<ClientKey, usize>,
    /// The seats that were told to leave, and have not yet.
    leaving: HashSet<u64>,
    said: Option<Instant>,
}

/// What is known of one connection.
#[derive(Default)]
pub struct Seat {
    /// Since when it waits for its client, in milliseconds since the listener began; or one of the two
    /// states below.
    since: AtomicU64,
    /// What its request costs while it is being read.
    reads: AtomicUsize,
    /// Whether its client may still be writing a request that was answered.
    cut_short: AtomicBool,
    /// What becomes of its request: one of the three states below.
    request: AtomicU8,
    /// Whether it was told to rest, or has not begun.
    rests: AtomicBool,
    called: Notify,
}

/// A request is being worked on.
const WORKS: u64 = u64::MAX;
/// It was told to leave.
const LEAVES: u64 = u64::MAX - 1;

/// None is there whole.
const NONE: u8 = 0;
/// Its header was read, and it has no answer.
const ASKED: u8 = 1;
/// Part of its answer may not be the kernel's yet.
const ANSWERED: u8 = 2;

/// What a connection is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// To give way to others.
    Leave,
    /// To give up what it needs for a request, if it [`may_rest`](Guest::may_rest).
    Rest,
}

/// A connection's place. Dropping it frees the place.
pub struct Guest {
    guests: Arc<Guests>,
    number: u64,
    client: Option<ClientKey>,
    seat: Arc<Seat>,
}

impl Guests {
    pub fn new(room: Room, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            room,
            metrics,
            began: Instant::now(),
            table: Mutex::default(),
            reading: AtomicUsize::new(0),
            freed: Notify::new(),
        })
    }

    /// Waits for a place, and makes others leave if there is none. None: the client has `share` places
    /// already.
    pub async fn admit(self: &Arc<Self>, client: Option<ClientKey>, share: usize) -> Option<Guest> {
        loop {
            let freed = self.freed.notified();
            {
                let mut table = self.table.lock();
                let places = client.and_then(|client| table.of_client.get(&client));
                if places.is_some_and(|places| *places >= share) {
                    self.metrics.http_ends.inc(ConnectionEnd::ClientsShare);
                    self.say(
                        &mut table,
                        "one address has as many HTTP connections as limits.connections_per_client \
                         permits, and more of it are refused; if it is your proxy, add it to \
                         http.trusted_proxies",
                    );
                    return None;
                }
                if table.seats.len() < self.room.connections {
                    return Some(self.seat(&mut table, client));
                }
                self.say(
                    &mut table,
                    "as many HTTP connections are open as limits.connections permits: those that \
                     have been idle for longest are closed",
                );
                if table.leaving.is_empty() {
                    let many = self.room.connections / SHARE + 1;
                    self.make_leave(&mut table, ConnectionEnd::NoRoom, many, usize::MAX);
                }
            }
            // Whoever waits now may have waited long enough by then.
            let _ = timeout(self.room.grace.max(Duration::from_millis(10)), freed).await;
        }
    }

    fn seat(self: &Arc<Self>, table: &mut Table, client: Option<ClientKey>) -> Guest {
        let seat = Arc::new(Seat::default());
        seat.since.store(self.now(), Relaxed);
        seat.rests.store(true, Relaxed);
        let number = table.next;
        table.next += 1;
        table.seats.insert(number, seat.clone());
        if let Some(client) = client {
            *table.of_client.entry(client).or_default() += 1;
        }
        self.metrics.http_connections.inc();
        Guest {
            guests: self.clone(),
            number,
            client,
            seat,
        }
    }

    /// Makes those leave that have waited for longest: `many` at most, and until they have given back
    /// `bytes`. For a seat, they have to have waited for the grace; for bytes, to be reading.
    fn make_leave(&self, table: &mut Table, why: ConnectionEnd, many: usize, bytes: usize) {
        let latest = match why {
            ConnectionEnd::Reading => WORKS,
            _ => (self.now() + 1).saturating_sub(self.room.grace.as_millis() as u64),
        };
        let mut waiting: Vec<(u64, u64)> = table
            .seats
            .iter()
            .filter(|(_, seat)| why != ConnectionEnd::Reading || seat.reads.load(Relaxed) > 0)
            .map(|(number, seat)| (seat.since.load(Relaxed), *number))
            .filter(|(since, _)| *since < LEAVES && *since < latest)
            .collect();
        let many = many.min(waiting.len());
        if many < waiting.len() {
            waiting.select_nth_unstable(many);
            waiting.truncate(many);
        }
        if bytes < usize::MAX {
            waiting.sort_unstable();
        }
        let mut given = 0;
        for (_, number) in waiting {
            if given >= bytes {
                break;
            }
            let Some(seat) = table.seats.get(&number) else {
                continue;
            };
            seat.since.store(LEAVES, Relaxed);
            given += self.give_back(seat);
            seat.called.notify_one();
            table.leaving.insert(number);
            self.metrics.http_ends.inc(why);
        }
    }

    /// Makes those leave who keep the listener waiting for longer than `patience`, and tells those to
    /// rest who have been idle for a while, for as long as it is polled. A timer for each request would
    /// cost it more than the look at all of them now and then.
    pub async fn lose_patience(&self, patience: Duration) {
        let mut look = interval(REST.min(patience / 8));
        loop {
            look.tick().await;
            self.look_around(self.now(), patience);
        }
    }

    /// The same, once.
    pub fn look_around(&self, now: u64, patience: Duration) {
        let Table { seats, leaving, .. } = &mut *self.table.lock();
        for (number, seat) in seats {
            let since = seat.since.load(Relaxed);
            if since >= LEAVES {
                continue;
            }
            let waited = Duration::from_millis(now.saturating_sub(since));
            if waited >= patience {
                seat.since.store(LEAVES, Relaxed);
                self.give_back(seat);
                seat.called.notify_one();
                leaving.insert(*number);
            } else if waited >= REST && seat.may_rest() && !seat.rests.swap(true, Relaxed) {
                seat.called.notify_one();
            }
        }
    }

    /// Its bytes are others' from now on. Says how many.
    fn give_back(&self, seat: &Seat) -> usize {
        let bytes = seat.reads.swap(0, Relaxed);
        if bytes > 0 {
            self.reading.fetch_sub(bytes, Relaxed);
        }
        bytes
    }

    /// Once a minute: attacks last.
    fn say(&self, table: &mut Table, what: &str) {
        if table.said.is_none_or(|said| said.elapsed() >= SAY_EVERY) {
            table.said = Some(Instant::now());
            warn!("{what}");
        }
    }

    /// Milliseconds since the listener began.
    pub fn now(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }
}

impl Guest {
    /// Part of a request has come.
    pub fn heard(&self, bytes: usize) {
        let (guests, seat) = (&*self.guests, &*self.seat);
        let begins = seat.reads.load(Relaxed) == 0;
        if begins {
            seat.cut_short.store(false, Relaxed);
            seat.rests.store(false, Relaxed);
            if seat.since.load(Relaxed) < LEAVES {
                seat.since.store(guests.now(), Relaxed);
            }
        }
        let cost = bytes + if begins { READER } else { 0 };
        seat.reads.fetch_add(cost, Relaxed);
        let reading = guests.reading.fetch_add(cost, Relaxed) + cost;
        if reading > guests.room.reading {
            let mut table = guests.table.lock();
            guests.say(
                &mut table,
                "too many HTTP requests arrive slowly: those that take longest are given up",
            );
            let enough = reading - guests.room.reading + guests.room.reading / SHARE;
            guests.make_leave(&mut table, ConnectionEnd::Reading, usize::MAX, enough);
        }
    }

    /// The header of a request was read. Says whether that came with the request before.
    pub fn asked(&self) -> bool {
        self.seat.request.store(ASKED, Relaxed);
        self.seat.reads.load(Relaxed) == 0
    }

    /// The request is there, or it is `cut_short`: nobody wants the rest of it.
    pub fn works(&self, cut_short: bool) {
        self.guests.give_back(&self.seat);
        self.seat.cut_short.store(cut_short, Relaxed);
        if self.seat.since.load(Relaxed) != LEAVES {
            self.seat.since.store(WORKS, Relaxed);
        }
    }

    /// Its client has its answer, or has it to read.
    pub fn answered(&self) {
        self.seat.request.store(ANSWERED, Relaxed);
        if self.seat.since.load(Relaxed) != LEAVES {
            self.seat.since.store(self.guests.now(), Relaxed);
        }
    }

    /// Whether its client may still be writing what nobody will read.
    pub fn is_cut_short(&self) -> bool {
        self.seat.cut_short.load(Relaxed) || self.seat.reads.load(Relaxed) > 0
    }

    /// All that was written is the kernel's.
    pub fn flushed(&self) {
        if self.seat.request.load(Relaxed) == ANSWERED {
            self.seat.request.store(NONE, Relaxed);
        }
    }

    /// Waits for what it is told.
    pub async fn call(&self) -> Call {
        self.seat.called.notified().await;
        match self.seat.since.load(Relaxed) {
            LEAVES => Call::Leave,
            _ => Call::Rest,
        }
    }

    /// Whether it is between two requests.
    pub fn may_rest(&self) -> bool {
        self.seat.since.load(Relaxed) < LEAVES && self.seat.may_rest()
    }
}

impl Seat {
    /// Whether nothing has come of a next request, and all of the answer is on its way.
    fn may_rest(&self) -> bool {
        let (reads, cut_short) = (self.reads.load(Relaxed), self.cut_short.load(Relaxed));
        reads == 0 && !cut_short && self.request.load(Relaxed) == NONE
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let guests = &*self.guests;
        guests.give_back(&self.seat);
        let mut table = guests.table.lock();
        table.seats.remove(&self.number);
        table.leaving.remove(&self.number);
        if let Some(Entry::Occupied(mut places)) = self.client.map(|c| table.of_client.entry(c)) {
            *places.get_mut() -= 1;
            if *places.get() == 0 {
                places.remove();
            }
        }
        guests.metrics.http_connections.dec();
        guests.freed.notify_one();
    }
}
