//! Messages while they wait: what is sent next, what becomes of it, and what there is. Each
//! function runs inside whatever transaction its caller holds.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use jid::{BareJid, Jid};
use tokio::time::Instant;
use tokio_postgres::Row;

use super::{
    account,
    columns::{as_i64, bare_jid, count, full_jid, owner_key, registration},
    failure::Result,
    pool::{Connection, Parameters},
};
use crate::{
    model::{
        message::{Hold, MessageId, MessageKey},
        registration::Registration,
        revocation::Revocation,
        time::Timestamp,
    },
    store::{
        messages::{Claim, Claimed, MESSAGE_OVERHEAD, Overtaken, Waiting},
        rules::{REGISTRATION_OF_MESSAGE, STEP, scope_columns},
    },
};

/// No lease is as long. One that ends later was given by a clock that has been set back since: if its
/// daemon is gone, nobody ends it. Clocks that differ by minutes are respected.
const LONGEST_LEASE: Duration = Duration::from_secs(600);

/// A condition beside an account or a phone: the message has not expired at this value, say `$1`.
///
/// Nearly every message meets it, which PostgreSQL cannot know: it takes that for a third of them, and
/// would read the index of expiry beside the few rows that are asked for. So no index serves it.
pub fn alive(value: &str) -> String {
    format!("expires + 0 > {value}")
}

/// A claim that is asked for; see [`Engine::claim`](crate::store::engine::Engine::claim).
#[derive(Clone)]
pub struct Asked {
    pub done: Option<MessageKey>,
    pub owner: Jid,
    pub now: Timestamp,
    pub lease: Timestamp,
    /// An earlier claim by this daemon may have been made without its knowing: it is ended.
    pub retakes: bool,
}

/// How many messages of an account are looked through for a claim. Where there are more, an index has
/// them in order, with all that was delivered.
const FEW: i64 = 128;

/// How long a claim lasts at least when its daemon gives no sign of life, which may have lost a
/// connection only: it makes a new one in that time.
const LIFELESS: Duration = Duration::from_secs(3);

/// By this daemon. A transaction of its own, in one round trip unless a message went away at this very moment.
pub async fn claim(db: &Connection, by: i64, asked: &[Asked]) -> Result<Vec<(bool, Claim)>> {
    let done: Vec<MessageKey> = asked.iter().filter_map(|asked| asked.done).collect();
    let mut deleted: HashSet<MessageKey> = HashSet::new();
    let mut claims: Vec<Option<Claim>> = asked.iter().map(|_| None).collect();
    let (lock, delete) = (
        db.prepare(account::LOCK_ALL).await?,
        db.prepare(&DELETE.replace("{}", "key = ANY($1)")).await?,
    );
    let (end, claim) = (db.prepare(END).await?, db.prepare(&claim_sql()).await?);
    let retaken = asked.iter().filter(|asked| asked.retakes);
    let retaken: Vec<Vec<u8>> = retaken
        .map(|asked| owner_key(asked.owner.as_str()))
        .collect();
    while claims.iter().any(Option::is_none) {
        let mut first: HashMap<&Jid, usize> = HashMap::new();
        let (mut owners, mut nows, mut leases) = (Vec::new(), Vec::new(), Vec::new());
        for (index, asked) in asked.iter().enumerate() {
            if claims[index].is_none() && !first.contains_key(&asked.owner) {
                first.insert(&asked.owner, index);
                owners.push((owner_key(asked.owner.as_str()), index));
                nows.push(asked.now);
                leases.push(asked.lease);
            }
        }
        let accounts: Vec<BareJid> = asked.iter().map(|asked| asked.owner.to_bare()).collect();
        let locks = account::numbers(&accounts);
        let keys: Vec<&[u8]> = owners.iter().map(|(key, _)| key.as_slice()).collect();
        let accounts: Vec<&BareJid> = owners.iter().map(|(_, index)| &accounts[*index]).collect();
        let names: Vec<&str> = accounts.iter().map(|account| account.as_str()).collect();
        let (known, floors) = db.floors().of(accounts.iter().copied(), Instant::now());
        let ((), _, gone, _, rows, ()) = tokio::try_join!(
            db.batch("BEGIN"),
            async { db.execute(&lock, &[&locks]).await },
            async {
                match done.is_empty() {
                    true => Ok(Vec::new()),
                    false => db.query(&delete, &[&done]).await,
                }
            },
            async {
                match retaken.is_empty() {
                    true => Ok(0),
                    false => db.execute(&end, &[&retaken, &by]).await,
                }
            },
            async {
                db.query(&claim, &[&keys, &names, &floors, &nows, &leases, &by])
                    .await
            },
            db.batch("COMMIT"),
        )?;
        count_deleted(db, &gone)?;
        for row in &gone {
            deleted.insert(row.try_get(0)?);
        }
        for (number, ((_, index), row)) in owners.iter().zip(&rows).enumerate() {
            claims[*index] = claimed(row, asked[*index].now)?;
            if let Some(lowest) = row.try_get(12)? {
                db.floors()
                    .learn(&known, accounts[number], floors[number], lowest);
            }
        }
        // Whoever asks for the same phone at the same time comes second.
        for (index, asked) in asked.iter().enumerate() {
            if claims[index].is_none()
                && let Some(first) = first.get(&asked.owner)
            {
                claims[index] = match &claims[*first] {
                    Some(Claim::Message(_)) => Some(Claim::Later(asked.lease)),
                    other => other.clone(),
                };
            }
        }
    }
    let was_there = |asked: &Asked| asked.done.is_some_and(|done| deleted.contains(&done));
    let claims = claims
        .into_iter()
        .map(|claim| claim.unwrap_or(Claim::Empty));
    Ok(asked.iter().map(was_there).zip(claims).collect())
}

/// Ends the claims of one daemon for these phones.
const END: &str = "UPDATE unified_push_queue SET claimed_until = 0
     WHERE owner_key = ANY($1) AND claimed_until > 0 AND claimed_by = $2";

/// One row for each phone, in order.
fn claim_sql() -> String {
    let alive = alive("asked.now");
    let waiting = |rest: &str| {
        format!("FROM unified_push_queue WHERE owner_key = asked.owner_key AND {alive} {rest}")
    };
    let first = "urgency DESC, arrived, number";
    format!(
        // That a lease is not 0 admits the index.
        "WITH asked AS MATERIALIZED (
             SELECT asked.*, (SELECT max(ends) FROM (SELECT CASE WHEN claimed_by = $6 OR {lives}
                 THEN claimed_until ELSE least(claimed_until, sent + {lifeless}) END AS ends {busy})
                 AS claims WHERE ends > asked.now) AS busy
             FROM unnest($1::bytea[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[])
                 WITH ORDINALITY AS asked (owner_key, account, floor, now, lease, nth)),
         chosen AS MATERIALIZED (
             SELECT asked.nth, now, lease, many, lowest, soonest, CASE WHEN many <= {FEW} THEN found
                 ELSE coalesce((SELECT number {never_held}), (SELECT number {held})) END AS number
             FROM asked CROSS JOIN LATERAL (
                 SELECT count(*) AS many, min(place) AS lowest,
                     min(held_until) FILTER (WHERE {own}) AS soonest,
                     (array_agg(number ORDER BY held_until > 0, {first})
                         FILTER (WHERE {own} AND held_until <= asked.now))[1] AS found
                 FROM (SELECT number, place, owner_key, urgency, arrived, expires, held_until
                     FROM unified_push_queue WHERE account = asked.account AND place >= asked.floor
                     ORDER BY place LIMIT {FEW} + 1) AS few) AS few
             WHERE busy IS NULL),
         claimed AS (
             UPDATE unified_push_queue AS this
             SET attempts = least(attempts + 1, 65535), sent = chosen.now,
                 claimed_until = chosen.lease, claimed_by = $6
             FROM chosen WHERE this.number = chosen.number AND held_until <= chosen.now
             RETURNING {REGISTRATION_OF_MESSAGE}, key, payload, attempts, this.expires AS ends, nth)
         SELECT claimed.*, asked.busy, CASE WHEN chosen.number IS NOT NULL THEN asked.now
             WHEN many <= {FEW} THEN soonest ELSE (SELECT min(held_until) {soonest}) END, lowest
         FROM asked LEFT JOIN chosen USING (nth) LEFT JOIN claimed USING (nth)
         ORDER BY asked.nth",
        own = format!("owner_key = asked.owner_key AND {alive}"),
        busy = waiting(&format!(
            "AND claimed_until > 0 AND claimed_until > asked.now
             AND claimed_until <= asked.now + {}",
            LONGEST_LEASE.as_millis()
        )),
        lifeless = LIFELESS.as_millis(),
        lives = account::lives("claimed_by"),
        never_held = waiting(&format!("AND held_until = 0 ORDER BY {first} LIMIT 1")),
        held = waiting(&format!(
            "AND held_until <= asked.now ORDER BY {first} LIMIT 1"
        )),
        soonest = waiting(""),
    )
}

/// None when the message was acknowledged or put back at this very moment: there may be others.
fn claimed(row: &Row, now: Timestamp) -> Result<Option<Claim>> {
    if let Some(until) = row.try_get(10)? {
        return Ok(Some(Claim::Later(until)));
    }
    if row.try_get::<_, Option<MessageKey>>(5)?.is_none() {
        let soonest: Option<Timestamp> = row.try_get(11)?;
        return Ok(match soonest {
            None => Some(Claim::Empty),
            Some(until) if until > now => Some(Claim::Later(until)),
            Some(_) => None,
        });
    }
    Ok(Some(Claim::Message(Claimed {
        registration: registration(row)?,
        key: row.try_get(5)?,
        payload: row.try_get(6)?,
        attempt: u16::try_from(row.try_get::<_, i32>(7)?).unwrap_or(u16::MAX),
        expires: row.try_get(8)?,
    })))
}

/// Deletes messages that meet a condition.
pub const DELETE: &str = "DELETE FROM unified_push_queue WHERE {}
     RETURNING key, octet_length(payload)::bigint";

/// Takes what [`DELETE`] returned off what waits.
pub fn count_deleted(db: &Connection, gone: &[Row]) -> Result<()> {
    for row in gone {
        db.count(-as_i64(MESSAGE_OVERHEAD + count(row, 1)?));
    }
    Ok(())
}

/// Deletes messages; how many they were.
pub async fn delete(db: &Connection, condition: &str, values: Parameters<'_>) -> Result<u64> {
    let sql = format!(
        "WITH gone AS (DELETE FROM unified_push_queue WHERE {condition}
         RETURNING octet_length(payload) AS size) SELECT count(*), coalesce(sum(size), 0) FROM gone"
    );
    let gone = db.one(&sql, values, |row| Ok((count(row, 0)?, count(row, 1)?)));
    let (messages, bytes) = gone.await?;
    db.count(-as_i64(bytes + messages * MESSAGE_OVERHEAD));
    Ok(messages)
}

/// Whether each was there. A single statement, which is a transaction by itself.
pub async fn acknowledge(db: &Connection, keys: &[MessageKey]) -> Result<Vec<bool>> {
    // Locked in an order, so that no two wait for each other.
    let statement = DELETE.replace(
        "{}",
        "key = ANY (ARRAY (SELECT key FROM unified_push_queue WHERE key = ANY($1)
             ORDER BY number FOR UPDATE))",
    );
    let statement = db.prepare(&statement).await?;
    let gone = db.query(&statement, &[&keys]).await?;
    count_deleted(db, &gone)?;
    let deleted = gone.iter().map(|row| Ok(row.try_get(0)?));
    let deleted = deleted.collect::<Result<HashSet<MessageKey>>>()?;
    Ok(keys.iter().map(|key| deleted.contains(key)).collect())
}

pub async fn cancel(db: &Connection, id: MessageId) -> Result<bool> {
    Ok(delete(db, "id = $1", &[&id]).await? > 0)
}

pub async fn put_back(
    db: &Connection,
    key: MessageKey,
    attempt: u16,
    owner: &Jid,
    hold: Hold,
) -> Result<Option<Jid>> {
    db.find(
        "UPDATE unified_push_queue SET claimed_until = 0,
             held_until = CASE WHEN owner_key = $3 THEN $4::bigint ELSE 0 END
         WHERE key = $1 AND attempts = $2 RETURNING owner",
        &[
            &key,
            &i32::from(attempt),
            &owner_key(owner.as_str()),
            &hold.end(),
        ],
        |row| full_jid(row, 0),
    )
    .await
}

pub async fn asked(db: &Connection, key: MessageKey, attempt: u16) -> Result<Option<Registration>> {
    let sql = format!(
        "SELECT {REGISTRATION_OF_MESSAGE} FROM unified_push_queue
         WHERE key = $1 AND attempts = $2 AND sent >= issued"
    );
    db.find(&sql, &[&key, &i32::from(attempt)], registration)
        .await
}

/// How many were held.
pub async fn release(db: &Connection, owner: &Jid, since: Timestamp) -> Result<u64> {
    db.run(
        "UPDATE unified_push_queue SET held_until = 0
         WHERE owner_key = $1 AND held_until <> 0 AND sent >= $2",
        &[&owner_key(owner.as_str()), &since],
    )
    .await
}

pub async fn overtake(db: &Connection, overtaken: &Overtaken) -> Result<u64> {
    let Overtaken {
        endpoint,
        topic,
        before,
    } = overtaken;
    let account = endpoint.owner.as_str();
    delete(
        db,
        "account = $1 AND application = $2 AND instance = $3 AND topic = $4 AND arrived < $5",
        &[
            &account,
            &endpoint.application,
            &endpoint.instance,
            &topic.as_str(),
            before,
        ],
    )
    .await
}

pub async fn redirect(db: &Connection, to: &Registration) -> Result<u64> {
    db.run(
        "UPDATE unified_push_queue SET owner = $2, issued = $5, registration_expires = $6,
             owner_key = $7, place = DEFAULT,
             held_until = CASE WHEN owner_key = $7 THEN held_until ELSE 0 END
         WHERE account = $1 AND application = $3 AND instance = $4 AND issued <= $5",
        &[
            &to.owner.to_bare().as_str(),
            &to.owner.as_str(),
            &to.application,
            &to.instance,
            &to.issued,
            &to.expires,
            &owner_key(to.owner.as_str()),
        ],
    )
    .await
}

pub async fn owners_waiting(db: &Connection, after: Option<&Jid>, limit: u32) -> Result<Vec<Jid>> {
    db.list(
        // Leaps over the rest of each; DISTINCT would read every row of the index.
        "WITH RECURSIVE found AS (
             (SELECT owner_key, owner FROM unified_push_queue
              WHERE owner_key > $1 ORDER BY owner_key LIMIT 1)
             UNION ALL
             SELECT next.owner_key, next.owner FROM found, LATERAL
                 (SELECT owner_key, owner FROM unified_push_queue AS waiting
                  WHERE waiting.owner_key > found.owner_key
                  ORDER BY owner_key LIMIT 1) AS next)
         SELECT owner FROM found LIMIT $2",
        &[
            &after.map(|jid| owner_key(jid.as_str())).unwrap_or_default(),
            &i64::from(limit),
        ],
        |row| full_jid(row, 0),
    )
    .await
}

/// The number of the message that was inserted last, be it committed or not; 0 before the first.
pub async fn last_number(db: &Connection) -> Result<i64> {
    let sql = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END
         FROM unified_push_queue_number_seq";
    db.value(sql, &[]).await
}

/// Whom messages with numbers from beyond one to another wait for that nobody sends at this moment.
pub async fn owners_between(db: &Connection, from: i64, to: i64) -> Result<Vec<Jid>> {
    let sql = "SELECT DISTINCT owner FROM unified_push_queue
         WHERE number > $1 AND number <= $2 AND claimed_until = 0";
    match from < to {
        true => db.list(sql, &[&from, &to], |row| full_jid(row, 0)).await,
        false => Ok(Vec::new()),
    }
}

pub async fn is_waiting(db: &Connection, id: MessageId, now: Timestamp) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT FROM unified_push_queue WHERE id = $1 AND expires > $2)";
    db.value(sql, &[&id, &now]).await
}

/// Reads every row.
pub async fn waiting(db: &Connection, now: Timestamp) -> Result<Vec<Waiting>> {
    db.list(
        "SELECT account, count(*), sum(octet_length(payload)), min(arrived)
         FROM unified_push_queue WHERE expires > $1 GROUP BY account ORDER BY account",
        &[&now],
        |row| {
            Ok(Waiting {
                owner: bare_jid(row, 0)?,
                messages: u32::try_from(count(row, 1)?).unwrap_or(u32::MAX),
                bytes: count(row, 2)?,
                oldest: row.try_get(3)?,
            })
        },
    )
    .await
}

/// Deletes some of an account's messages; zero when none are left.
pub async fn drop_step(db: &Connection, owner: &BareJid) -> Result<u64> {
    let condition = format!(
        "number IN (SELECT number FROM unified_push_queue WHERE account = $1 LIMIT {STEP})"
    );
    delete(db, &condition, &[&owner.as_str()]).await
}

/// Deletes what waits for what was revoked; says how many messages that were.
pub async fn drop_revoked(db: &Connection, revoked: &Revocation) -> Result<u64> {
    let (owner, application, instance) = scope_columns(&revoked.scope);
    delete(
        db,
        "account = $1 AND ($2 = ''::bytea OR (application = $2 AND instance = $3))
         AND issued <= $4",
        &[&owner, &application, &instance, &revoked.at],
    )
    .await
}
