//! The endpoints that messages come in for: which registration each has, what waits for it, and what
//! would give way.

use std::collections::{HashMap, HashSet};

use jid::BareJid;
use tokio::time::Instant;
use tokio_postgres::Row;

use super::{
    account,
    batch::{self, Arrival, Batch, Endpoint, Swept},
    columns::{as_i64, count, full_jid},
    failure::{PostgresFailure, Result},
    pool::{Connection, Statement},
    queue::{DELETE, alive, count_deleted},
    tally::{Arriving, Tally},
};
use crate::{
    model::{
        registration::{Registration, RegistrationKey},
        time::Timestamp,
    },
    store::rules::{self, Leaving, STEP},
};

/// Endpoints, or their topics, as arrays of columns.
#[derive(Default)]
struct Keys<'a> {
    accounts: Vec<&'a str>,
    applications: Vec<&'a [u8]>,
    instances: Vec<&'a [u8]>,
    topics: Vec<&'a str>,
    limits: Vec<i64>,
}

impl<'a> Keys<'a> {
    fn push(&mut self, key: &'a RegistrationKey) {
        self.accounts.push(key.owner.as_str());
        self.applications.push(key.application.as_bytes());
        self.instances.push(key.instance.as_bytes());
    }

    /// Nothing for none.
    async fn look_for_least(&self, db: &Connection, now: Timestamp) -> Result<Vec<Row>> {
        if self.limits.is_empty() {
            return Ok(Vec::new());
        }
        let least = db.prepare(&least_sql()).await?;
        let Keys {
            accounts,
            applications,
            instances,
            limits,
            ..
        } = self;
        db.query(&least, &[accounts, applications, instances, limits, &now])
            .await
    }

    /// Nothing for none.
    async fn look(&self, db: &Connection, of_topics: &Statement) -> Result<Vec<Row>> {
        if self.topics.is_empty() {
            return Ok(Vec::new());
        }
        let Keys {
            accounts,
            applications,
            instances,
            topics,
            ..
        } = self;
        db.query(of_topics, &[accounts, applications, instances, topics])
            .await
    }
}

/// Locks the accounts, and reads what the decisions take.
pub async fn read<'a>(db: &Connection, arrivals: &'a [Arrival]) -> Result<Batch<'a>> {
    let key = |arrival: &Arrival| arrival.message.registration.key();
    let each: Vec<_> = arrivals.iter().map(key).collect();
    let keys = distinct(&each);
    let numbers: HashMap<&RegistrationKey, usize> = keys.iter().copied().zip(0..).collect();
    let now = arrivals.iter().map(|arrival| arrival.now).max();
    let now = now.unwrap_or(Timestamp::from_secs(0));
    // How many arrive, and how many may wait: of each endpoint, and of each account.
    let mut arriving = vec![Arriving::default(); keys.len()];
    let mut to_accounts: HashMap<&BareJid, Arriving> = HashMap::new();
    let mut with_topic = Vec::new();
    for (key, arrival) in each.iter().zip(arrivals) {
        let number = numbers[key];
        arriving[number].add(arrival.caps.per_endpoint);
        let account = to_accounts.entry(&key.owner).or_default();
        account.add(arrival.caps.per_account);
        let topic = arrival.message.topic.as_ref();
        with_topic.extend(topic.map(|topic| (number, topic.as_str())));
    }
    let mut topics = Keys::default();
    for (number, topic) in distinct(with_topic) {
        topics.push(keys[number]);
        topics.topics.push(topic);
    }

    let (lock, known, of_topics) = (
        db.prepare(account::LOCK_ALL).await?,
        db.prepare(&known_sql()).await?,
        db.prepare(&of_topics_sql()).await?,
    );
    let begun = Instant::now();
    let owners: Vec<&BareJid> = keys.iter().map(|key| &key.owner).collect();
    let (asked, floors) = db.floors().of(owners.iter().copied(), begun);
    let (tallies_asked, tallies) = db.tallies().of(owners.iter().copied(), begun);
    let from = floors.iter().zip(&tallies);
    let from: Vec<i64> = from
        .map(|(floor, tally)| tally.map_or(*floor, |tally| tally.end().max(*floor)))
        .collect();
    let locks = account::numbers(owners.iter().copied());
    let ((), _, found, mut rows) = tokio::try_join!(
        db.batch("BEGIN"),
        async { db.execute(&lock, &[&locks]).await },
        look(db, &known, &keys, &from, now),
        async { topics.look(db, &of_topics).await },
    )?;
    let mut seen = Vec::new();
    for (row, tally) in found.into_iter().zip(tallies) {
        seen.push(Seen::new(row, tally, begun)?);
    }
    // Where it makes a difference whether some have gone since, all are counted.
    let is_close = |number: &usize| {
        let tally = seen[*number].tally;
        let account = to_accounts[owners[*number]];
        let fits = account.fits(tally.messages) && arriving[*number].fits(tally.messages);
        !seen[*number].counted && (!fits || tally.soonest <= now)
    };
    let close = (0..keys.len()).filter(is_close);
    let close: HashSet<&BareJid> = close.map(|number| owners[number]).collect();
    if !close.is_empty() {
        let again = (0..keys.len()).filter(|number| close.contains(owners[*number]));
        let again: Vec<_> = again.collect();
        let of_again: Vec<_> = again.iter().map(|number| keys[*number]).collect();
        let from: Vec<i64> = again.iter().map(|number| floors[*number]).collect();
        let all = look(db, &known, &of_again, &from, now).await?;
        for (number, row) in again.into_iter().zip(all) {
            seen[number] = Seen::new(row, None, begun)?;
        }
        // What was acknowledged since is not counted any more.
        rows = topics.look(db, &of_topics).await?;
    }

    let mut batch = Batch {
        arrivals,
        endpoints: HashMap::new(),
        accounts: HashMap::new(),
        swept: Swept::default(),
        tallies: (tallies_asked, HashMap::new()),
    };
    let mut full = Keys::default();
    // Where some have expired, and from where on they are.
    let (mut worn, mut worn_from) = (Vec::new(), Vec::new());
    for (number, (key, seen)) in keys.iter().copied().zip(&seen).enumerate() {
        let (row, floor, tally) = (&seen.row, floors[number], seen.tally);
        if seen.counted
            && let Some(lowest) = row.try_get(6)?
        {
            db.floors().learn(&asked, &key.owner, floor, lowest);
        }
        let mut endpoint = endpoint(key, row)?;
        if !seen.counted {
            // There cannot be more, and none has to leave.
            endpoint.living = tally.messages;
        }
        batch.tallies.1.insert(key.owner.clone(), tally);
        let former = batch.accounts.insert(key.owner.clone(), tally.messages);
        if former.is_none() && seen.counted && count(row, 7)? > 0 {
            worn.push(key.owner.as_str());
            worn_from.push(floor);
        }
        // So many may have to leave for all that arrive.
        let excess = arriving[number].excess(endpoint.living);
        if excess > 0 {
            full.push(key);
            full.limits.push(as_i64(excess));
        }
        batch.endpoints.insert(key.clone(), endpoint);
    }
    let (gone, least) = tokio::try_join!(
        sweep(db, &worn, &worn_from, now),
        full.look_for_least(db, now),
    )?;
    let swept = take_off(db, &mut batch, &gone)?;
    rows.retain(|row| {
        let number = row.try_get(NUMBER);
        !number.is_ok_and(|number: i64| swept.contains(&number))
    });
    rows.extend(least);
    for row in rows {
        let owner = BareJid::new(row.try_get(0)?).map_err(|_| PostgresFailure::NoJid)?;
        let key = RegistrationKey {
            owner,
            application: row.try_get(1)?,
            instance: row.try_get(2)?,
        };
        let expires: Timestamp = row.try_get(8)?;
        let row = batch::Row {
            leaving: leaving(&row)?,
            topic: row.try_get(7)?,
            lives: expires > now,
        };
        let known = &mut batch.endpoints.get_mut(&key).expect("was asked for").rows;
        // It may be the least urgent as well.
        if known
            .iter()
            .all(|known| known.leaving.number != row.leaving.number)
        {
            known.push(row);
        }
    }
    Ok(batch)
}

/// A row for each endpoint, in order, with what its account has from a place on.
async fn look(
    db: &Connection,
    known: &Statement,
    keys: &[&RegistrationKey],
    from: &[i64],
    now: Timestamp,
) -> Result<Vec<Row>> {
    let mut endpoints = Keys::default();
    keys.iter().for_each(|key| endpoints.push(key));
    let Keys {
        accounts,
        applications,
        instances,
        ..
    } = &endpoints;
    db.query(known, &[accounts, applications, instances, &now, &from])
        .await
}

/// What is known of an endpoint.
struct Seen {
    row: Row,
    tally: Tally,
    /// Whether all of the account's messages were, just now.
    counted: bool,
}

impl Seen {
    /// From what lies above a tally, or from all.
    fn new(row: Row, tally: Option<Tally>, now: Instant) -> Result<Self> {
        let never = Timestamp::from_millis(u64::MAX);
        let read = Tally {
            messages: count(&row, 5)?,
            highest: row.try_get::<_, Option<i64>>(8)?.unwrap_or(0),
            soonest: row.try_get::<_, Option<_>>(9)?.unwrap_or(never),
            counted: now,
        };
        Ok(Self {
            row,
            tally: tally.map_or(read, |tally| tally.and(read)),
            counted: tally.is_none(),
        })
    }
}

fn distinct<T: Clone + Eq + std::hash::Hash>(all: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut seen = HashSet::new();
    all.into_iter()
        .filter(|one| seen.insert(one.clone()))
        .collect()
}

/// One row for each endpoint, in order.
fn known_sql() -> String {
    format!(
        "SELECT newest.jid, newest.issued, newest.expires, revoked.at, there.of_endpoint,
             there.of_account, there.lowest, there.dead, there.highest, there.soonest
         FROM unnest($1::text[], $2::bytea[], $3::bytea[], $5::bigint[]) WITH ORDINALITY
             AS asked (account, application, instance, floor, nth)
         LEFT JOIN LATERAL (SELECT jid, issued, expires FROM unified_push_registrations AS this
             WHERE owner = asked.account AND this.application = asked.application
                 AND this.instance = asked.instance AND NOT this.revoked
             ORDER BY issued DESC, number DESC LIMIT 1) AS newest ON true
         LEFT JOIN LATERAL (SELECT max(at) AS at FROM unified_push_revocations AS this
             WHERE owner = asked.account
                 AND ((this.application = asked.application AND this.instance = asked.instance)
                     OR (this.application = '' AND this.instance = ''))) AS revoked ON true
         CROSS JOIN LATERAL (SELECT count(*) AS of_account,
                 count(*) FILTER (WHERE NOT ({alive})) AS dead,
                 count(*) FILTER (WHERE {alive} AND this.application = asked.application
                     AND this.instance = asked.instance) AS of_endpoint,
                 min(place) AS lowest, max(place) AS highest, min(this.expires) AS soonest
             FROM unified_push_queue AS this
             WHERE this.account = asked.account AND this.place >= asked.floor) AS there
         ORDER BY nth",
        alive = alive("$4")
    )
}

fn endpoint(key: &RegistrationKey, row: &Row) -> Result<Endpoint> {
    let newest = match row.try_get::<_, Option<&str>>(0)? {
        None => None,
        Some(_) => Some(Registration {
            owner: full_jid(row, 0)?,
            application: key.application,
            instance: key.instance,
            issued: row.try_get(1)?,
            expires: row.try_get(2)?,
        }),
    };
    Ok(Endpoint {
        newest,
        revoked_up_to: row.try_get(3)?,
        living: count(row, 4)?,
        rows: Vec::new(),
    })
}

/// Deletes some messages of each account that have expired and that nobody else has at hand. Nothing
/// for none.
async fn sweep(
    db: &Connection,
    accounts: &[&str],
    floors: &[i64],
    now: Timestamp,
) -> Result<Vec<Row>> {
    if accounts.is_empty() {
        return Ok(Vec::new());
    }
    let condition = format!(
        "ctid = ANY (ARRAY (SELECT dead.ctid FROM unnest($1::text[], $2::bigint[])
                 AS asked (account, floor)
             CROSS JOIN LATERAL (SELECT ctid FROM unified_push_queue AS this
                 WHERE this.account = asked.account AND this.place >= asked.floor AND NOT ({})
                 LIMIT {STEP} FOR UPDATE SKIP LOCKED) AS dead))",
        alive("$3")
    );
    let sweep = DELETE.replace("{}", &condition) + ", account, number";
    let sweep = db.prepare(&sweep).await?;
    db.query(&sweep, &[&accounts, &floors, &now]).await
}

/// Takes what was swept off what is known; returns the numbers.
fn take_off(db: &Connection, batch: &mut Batch<'_>, gone: &[Row]) -> Result<HashSet<i64>> {
    count_deleted(db, gone)?;
    let mut numbers = HashSet::new();
    for row in gone {
        batch.swept.messages += 1;
        batch.swept.bytes += rules::size(count(row, 1)?);
        let account: &str = row.try_get(2)?;
        if let Ok(account) = BareJid::new(account)
            && let Some(there) = batch.accounts.get_mut(&account)
        {
            *there = there.saturating_sub(1);
        }
        numbers.insert(row.try_get(3)?);
    }
    Ok(numbers)
}

/// What may have to leave: the endpoint, what [`leaving`] reads, topic and expiry.
const ROW: &str = "this.account, this.application, this.instance, this.number, this.urgency,
    this.arrived, octet_length(this.payload)::bigint, this.topic, this.expires";

/// Where [`ROW`] has it.
const NUMBER: usize = 3;

fn leaving(row: &Row) -> Result<Leaving> {
    Ok(Leaving {
        number: row.try_get(NUMBER)?,
        urgency: u8::try_from(row.try_get::<_, i16>(4)?).unwrap_or(u8::MAX),
        arrived: row.try_get(5)?,
        size: rules::size(count(row, 6)?),
    })
}

fn of_topics_sql() -> String {
    format!(
        "SELECT {ROW} FROM unnest($1::text[], $2::bytea[], $3::bytea[], $4::text[])
             AS asked (account, application, instance, topic)
         JOIN unified_push_queue AS this ON this.account = asked.account
             AND this.application = asked.application AND this.instance = asked.instance
             AND this.topic = asked.topic"
    )
}

/// Of each endpoint's living messages, those that give way first.
fn least_sql() -> String {
    format!(
        "SELECT this.* FROM unnest($1::text[], $2::bytea[], $3::bytea[], $4::bigint[])
             AS asked (account, application, instance, most)
         CROSS JOIN LATERAL (SELECT {ROW} FROM unified_push_queue AS this
             WHERE this.account = asked.account AND this.application = asked.application
                 AND this.instance = asked.instance AND {}
             ORDER BY this.urgency, this.arrived, this.number LIMIT asked.most) AS this",
        alive("$5")
    )
}
