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
    let each: Vec<RegistrationKey> = arrivals.iter().map(key).collect();
    let keys = distinct(&each);
    let numbers: HashMap<&RegistrationKey, usize> = keys.iter().copied().zip(0..).collect();
    let now = arrivals.iter().map(|arrival| arrival.now).max();
    let now = now.unwrap_or(Timestamp::from_secs(0));
    let mut endpoints = Keys::default();
    keys.iter().for_each(|key| endpoints.push(key));
    // Of each endpoint: how many arrive, and how many may wait.
    let mut arriving = vec![(0, u32::MAX); keys.len()];
    let mut with_topic = Vec::new();
    for (key, arrival) in each.iter().zip(arrivals) {
        let number = numbers[key];
        let (many, cap) = &mut arriving[number];
        *many += 1;
        *cap = arrival.caps.per_endpoint.min(*cap);
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
    let locks = account::numbers(keys.iter().map(|key| &key.owner));
    let (asked, floors) = db
        .floors()
        .of(keys.iter().map(|key| &key.owner), Instant::now());
    let Keys {
        accounts,
        applications,
        instances,
        ..
    } = &endpoints;
    let ((), _, known, mut rows) = tokio::try_join!(
        db.batch("BEGIN"),
        async { db.execute(&lock, &[&locks]).await },
        async {
            db.query(&known, &[accounts, applications, instances, &now, &floors])
                .await
        },
        async { topics.look(db, &of_topics).await },
    )?;

    let mut batch = Batch {
        arrivals,
        endpoints: HashMap::new(),
        accounts: HashMap::new(),
        swept: Swept::default(),
    };
    let mut full = Keys::default();
    // Where some have expired, and from where on they are.
    let (mut worn, mut worn_from) = (Vec::new(), Vec::new());
    let floors = floors.into_iter().zip(arriving);
    for ((key, (floor, (many, cap))), row) in keys.into_iter().zip(floors).zip(&known) {
        if let Some(lowest) = row.try_get(6)? {
            db.floors().learn(&asked, &key.owner, floor, lowest);
        }
        let endpoint = endpoint(key, row)?;
        let new = batch
            .accounts
            .insert(key.owner.clone(), count(row, 5)?)
            .is_none();
        if new && count(row, 7)? > 0 {
            worn.push(key.owner.as_str());
            worn_from.push(floor);
        }
        // So many may have to leave for all that arrive.
        let excess = (endpoint.living + many).saturating_sub(u64::from(cap));
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

fn key(arrival: &Arrival) -> RegistrationKey {
    arrival.message.registration.key()
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
             there.of_account, there.lowest, there.dead
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
                 min(place) AS lowest
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
