//! Claims: the messages that are sent next, one to a phone, leased so that each is sent once at a
//! time. Those that are asked for together share a transaction.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use jid::{BareJid, Jid};
use tokio::time::Instant;
use tokio_postgres::Row;

use super::{
    account,
    columns::{owner_key, registration},
    failure::Result,
    pool::Connection,
    queue::{DELETE, alive, count_deleted},
};
use crate::{
    model::{message::MessageKey, time::Timestamp},
    store::{
        messages::{Claim, Claimed},
        rules::REGISTRATION_OF_MESSAGE,
    },
};

/// No lease is as long. One that ends later was given by a clock that has been set back since: if its
/// daemon is gone, nobody ends it. Clocks that differ by minutes are respected.
const LONGEST_LEASE: Duration = Duration::from_secs(600);

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
    let own = format!("owner_key = asked.owner_key AND {alive}");
    let first = "urgency DESC, arrived, number";
    let of_many = |what: &str, rest: &str| {
        format!("(SELECT {what} FROM unified_push_queue WHERE {own} {rest})")
    };
    // By a claim that may be in force, and until when it is.
    let leased = format!(
        "AND claimed_until > asked.now AND claimed_until <= asked.now + {}",
        LONGEST_LEASE.as_millis()
    );
    let end = format!(
        "max(CASE WHEN claimed_by = $6 OR {lives} THEN claimed_until
             ELSE least(claimed_until, sent + {lifeless}) END)",
        lives = account::lives("claimed_by"),
        lifeless = LIFELESS.as_millis(),
    );
    format!(
        // No index knows of leases, so that a claim changes none.
        "WITH asked AS MATERIALIZED (
             SELECT asked.*, many, lowest, soonest, found,
                 CASE WHEN many <= {FEW} THEN leased ELSE {leased_of_many} END AS busy
             FROM unnest($1::bytea[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[])
                     WITH ORDINALITY AS asked (owner_key, account, floor, now, lease, nth)
                 CROSS JOIN LATERAL (
                     SELECT count(*) AS many, min(place) AS lowest,
                         min(held_until) FILTER (WHERE {own}) AS soonest,
                         {end} FILTER (WHERE {own} {leased}) AS leased,
                         (array_agg(number ORDER BY held_until > 0, {first})
                             FILTER (WHERE {own} AND held_until <= asked.now))[1] AS found
                     FROM (SELECT number, place, owner_key, urgency, arrived, expires, held_until,
                             claimed_until, claimed_by, sent
                         FROM unified_push_queue
                         WHERE account = asked.account AND place >= asked.floor
                         ORDER BY place LIMIT {FEW} + 1) AS few) AS few),
         chosen AS MATERIALIZED (
             SELECT nth, now, lease,
                 CASE WHEN many <= {FEW} THEN found ELSE coalesce({never_held}, {held}) END AS number
             FROM asked WHERE busy IS NULL OR busy <= now),
         claimed AS (
             UPDATE unified_push_queue AS this
             SET attempts = least(attempts + 1, 65535), sent = chosen.now,
                 claimed_until = chosen.lease, claimed_by = $6
             FROM chosen WHERE this.number = chosen.number AND held_until <= chosen.now
             RETURNING {REGISTRATION_OF_MESSAGE}, key, payload, attempts, this.expires AS ends, nth)
         SELECT claimed.*, CASE WHEN busy > asked.now THEN busy END,
             CASE WHEN chosen.number IS NOT NULL THEN asked.now
                 WHEN many <= {FEW} THEN soonest ELSE {soonest_of_many} END, lowest
         FROM asked LEFT JOIN chosen USING (nth) LEFT JOIN claimed USING (nth)
         ORDER BY asked.nth",
        leased_of_many = of_many(&end, &leased),
        never_held = of_many(
            "number",
            &format!("AND held_until = 0 ORDER BY {first} LIMIT 1")
        ),
        held = of_many(
            "number",
            &format!("AND held_until <= asked.now ORDER BY {first} LIMIT 1")
        ),
        soonest_of_many = of_many("min(held_until)", ""),
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
