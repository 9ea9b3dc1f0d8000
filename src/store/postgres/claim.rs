//! Claims: the messages that are sent next, one to a phone, leased so that each is sent once at a
//! time. Those that are asked for together share a transaction.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use jid::{BareJid, Jid};
use tokio::time::Instant;
use tokio_postgres::Row;

use super::{
    account,
    ahead::AHEAD,
    columns::{owner_key, registration},
    failure::Result,
    pool::{Connection, Statement},
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

/// What is claimed, and what comes after it.
const KEPT: usize = AHEAD + 1;

/// How long a claim lasts at least when its daemon gives no sign of life, which may have lost a
/// connection only: it makes a new one in that time.
const LIFELESS: Duration = Duration::from_secs(3);

/// By this daemon. A transaction of its own, in one round trip unless a message went away at this very moment.
pub async fn claim(db: &Connection, by: i64, asked: &[Asked]) -> Result<Vec<(bool, Claim)>> {
    let done: Vec<MessageKey> = asked.iter().filter_map(|asked| asked.done).collect();
    let mut deleted: HashSet<MessageKey> = HashSet::new();
    let mut claims: Vec<Option<Claim>> = asked.iter().map(|_| None).collect();
    let statements = Statements::prepare(db).await?;
    let retaken = asked.iter().filter(|asked| asked.retakes);
    let mut retaken: Vec<Vec<u8>> = retaken
        .map(|asked| owner_key(asked.owner.as_str()))
        .collect();
    let accounts: Vec<BareJid> = asked.iter().map(|asked| asked.owner.to_bare()).collect();
    let locks = account::numbers(&accounts);
    while claims.iter().any(Option::is_none) {
        let mut first: HashMap<&Jid, usize> = HashMap::new();
        let (mut known, mut searched) = (Vec::new(), Vec::new());
        for (index, asked) in asked.iter().enumerate() {
            if claims[index].is_none() && !first.contains_key(&asked.owner) {
                first.insert(&asked.owner, index);
                let phone = Phone::new(asked, &accounts[index], index);
                match db.ahead().next(&asked.owner).zip(asked.done) {
                    Some((next, done)) if !asked.retakes => known.push((phone, next, done)),
                    _ => searched.push(phone),
                }
            }
        }
        let of_searched = searched.iter().map(|phone| phone.account);
        let (floors_asked, floors) = db.floors().of(of_searched, Instant::now());
        let ((), _, _, known_rows, gone, rows, ()) = tokio::try_join!(
            db.batch("BEGIN"),
            async { db.execute(&statements.lock, &[&locks]).await },
            async {
                match retaken.is_empty() {
                    true => Ok(0),
                    false => db.execute(&statements.end, &[&retaken, &by]).await,
                }
            },
            // Before what was done is deleted, which shows that nobody else can have claimed.
            claim_known(db, &statements.claim_known, by, &known),
            async {
                match done.is_empty() {
                    true => Ok(Vec::new()),
                    false => db.query(&statements.delete, &[&done]).await,
                }
            },
            search(db, &statements.search, by, &searched, &floors),
            db.batch("COMMIT"),
        )?;
        // Those that this round has made are not ended by the next.
        retaken.clear();
        count_deleted(db, &gone)?;
        for row in &gone {
            deleted.insert(row.try_get(0)?);
        }
        for row in &known_rows {
            let number = usize::try_from(row.try_get::<_, i64>(9)? - 1).unwrap_or(usize::MAX);
            if let Some((phone, _, _)) = known.get(number) {
                claims[phone.index] = Some(Claim::Message(message(row)?));
                db.ahead().taken(phone.owner);
            }
        }
        for (phone, _, _) in known {
            if claims[phone.index].is_none() {
                // It is searched for in the next round.
                db.ahead().forget(phone.owner);
            }
        }
        for ((phone, floor), row) in searched.iter().zip(&floors).zip(&rows) {
            claims[phone.index] = claimed(row, phone.now)?;
            if let Some(lowest) = row.try_get(12)? {
                db.floors()
                    .learn(&floors_asked, phone.account, *floor, lowest);
            }
            let ahead = row.try_get::<_, Option<Vec<i64>>>(13)?.unwrap_or_default();
            let highest = row.try_get::<_, Option<i64>>(14)?.unwrap_or(i64::MAX);
            db.ahead().learn(phone.owner, ahead, highest);
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
    let or_none = |claim: Option<Claim>| claim.unwrap_or(Claim::Empty);
    let claims = claims.into_iter().map(or_none);
    Ok(asked.iter().map(was_there).zip(claims).collect())
}

struct Statements {
    lock: Arc<Statement>,
    end: Arc<Statement>,
    claim_known: Arc<Statement>,
    delete: Arc<Statement>,
    search: Arc<Statement>,
}

impl Statements {
    async fn prepare(db: &Connection) -> Result<Self> {
        Ok(Self {
            lock: db.prepare(account::LOCK_ALL).await?,
            end: db.prepare(END).await?,
            claim_known: db.prepare(&claim_known_sql()).await?,
            delete: db.prepare(&DELETE.replace("{}", "key = ANY($1)")).await?,
            search: db.prepare(&search_sql()).await?,
        })
    }
}

/// The first that asks for a phone.
struct Phone<'a> {
    owner: &'a Jid,
    owner_key: Vec<u8>,
    account: &'a BareJid,
    now: Timestamp,
    lease: Timestamp,
    /// Of what is asked.
    index: usize,
}

impl<'a> Phone<'a> {
    fn new(asked: &'a Asked, account: &'a BareJid, index: usize) -> Self {
        Self {
            owner: &asked.owner,
            owner_key: owner_key(asked.owner.as_str()),
            account,
            now: asked.now,
            lease: asked.lease,
            index,
        }
    }
}

/// Rows for those of the phones whose next message is still the next.
async fn claim_known(
    db: &Connection,
    statement: &Statement,
    by: i64,
    phones: &[(Phone<'_>, (i64, i64), MessageKey)],
) -> Result<Vec<Row>> {
    if phones.is_empty() {
        return Ok(Vec::new());
    }
    let numbers: Vec<i64> = phones.iter().map(|(_, (next, _), _)| *next).collect();
    let highest: Vec<i64> = phones.iter().map(|(_, (_, highest), _)| *highest).collect();
    let done: Vec<MessageKey> = phones.iter().map(|(_, _, done)| *done).collect();
    let Columns {
        keys,
        accounts,
        nows,
        leases,
    } = &Columns::of(phones.iter().map(|(phone, _, _)| phone));
    db.query(
        statement,
        &[&numbers, keys, accounts, &highest, &done, nows, leases, &by],
    )
    .await
}

/// A row for each phone, in order.
async fn search(
    db: &Connection,
    statement: &Statement,
    by: i64,
    phones: &[Phone<'_>],
    floors: &[i64],
) -> Result<Vec<Row>> {
    if phones.is_empty() {
        return Ok(Vec::new());
    }
    let Columns {
        keys,
        accounts,
        nows,
        leases,
    } = &Columns::of(phones);
    db.query(statement, &[keys, accounts, &floors, nows, leases, &by])
        .await
}

struct Columns<'a> {
    keys: Vec<&'a [u8]>,
    accounts: Vec<&'a str>,
    nows: Vec<Timestamp>,
    leases: Vec<Timestamp>,
}

impl<'a> Columns<'a> {
    fn of(phones: impl IntoIterator<Item = &'a Phone<'a>>) -> Self {
        let mut columns = Self {
            keys: Vec::new(),
            accounts: Vec::new(),
            nows: Vec::new(),
            leases: Vec::new(),
        };
        for phone in phones {
            columns.keys.push(&phone.owner_key);
            columns.accounts.push(phone.account.as_str());
            columns.nows.push(phone.now);
            columns.leases.push(phone.lease);
        }
        columns
    }
}

/// Ends the claims of one daemon for these phones.
const END: &str = "UPDATE unified_push_queue SET claimed_until = 0
     WHERE owner_key = ANY($1) AND claimed_until > 0 AND claimed_by = $2";

/// Claims what is next for each phone; a row for each that it is still true of.
///
/// Nobody else can have claimed anything for a phone while this daemon's claim of the message before was
/// in force, so no other lease is looked for.
fn claim_known_sql() -> String {
    format!(
        "UPDATE unified_push_queue AS this
         SET attempts = least(attempts + 1, 65535), sent = asked.now,
             claimed_until = asked.lease, claimed_by = $8
         FROM unnest($1::bigint[], $2::bytea[], $3::text[], $4::bigint[], $5::bytea[],
                 $6::bigint[], $7::bigint[])
             WITH ORDINALITY AS asked (number, owner_key, account, highest, done, now, lease, nth)
         WHERE this.number = asked.number AND this.owner_key = asked.owner_key
             AND this.held_until = 0 AND this.claimed_until <= asked.now AND {alive}
             AND coalesce((SELECT before.owner_key = asked.owner_key AND before.claimed_by = $8
                     AND before.claimed_until > asked.now
                     AND before.claimed_until <= asked.now + {longest}
                     AND before.sent + {surely} > asked.now AND before.expires + 0 > asked.now
                 FROM unified_push_queue AS before WHERE before.key = asked.done), false)
             AND coalesce((SELECT false FROM unified_push_queue AS newer
                 WHERE newer.account = asked.account AND newer.place > asked.highest
                 ORDER BY newer.place LIMIT 1), true)
         RETURNING {REGISTRATION_OF_MESSAGE}, key, payload, attempts, expires, nth",
        alive = alive("asked.now"),
        longest = LONGEST_LEASE.as_millis(),
        // Others may take a daemon for lifeless afterwards.
        surely = LIFELESS.as_millis() / 2,
    )
}

/// One row for each phone, in order, with what comes next and where newer messages would lie.
fn search_sql() -> String {
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
             SELECT asked.*, many, lowest, highest, soonest, free, held,
                 CASE WHEN many <= {FEW} THEN leased ELSE {leased_of_many} END AS busy
             FROM unnest($1::bytea[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[])
                     WITH ORDINALITY AS asked (owner_key, account, floor, now, lease, nth)
                 CROSS JOIN LATERAL (
                     SELECT count(*) AS many, min(place) AS lowest, max(place) AS highest,
                         min(held_until) FILTER (WHERE {own}) AS soonest,
                         {end} FILTER (WHERE {own} {leased}) AS leased,
                         (array_agg(number ORDER BY {first})
                             FILTER (WHERE {own} AND held_until = 0))[:{KEPT}] AS free,
                         (array_agg(number ORDER BY {first})
                             FILTER (WHERE {own} AND held_until > 0
                                 AND held_until <= asked.now))[1] AS held
                     FROM (SELECT number, place, owner_key, urgency, arrived, expires, held_until,
                             claimed_until, claimed_by, sent
                         FROM unified_push_queue
                         WHERE account = asked.account AND place >= asked.floor
                         ORDER BY place LIMIT {FEW} + 1) AS few) AS few),
         chosen AS MATERIALIZED (
             SELECT nth, now, lease, many, coalesce(free[1],
                 CASE WHEN many <= {FEW} THEN held ELSE {held_of_many} END) AS number,
                 free[2:] AS ahead,
                 CASE WHEN many <= {FEW} THEN highest ELSE {highest_of_many} END AS highest
             FROM (SELECT asked.owner_key, account, now, lease, nth, many, highest, held,
                     CASE WHEN many <= {FEW} THEN free ELSE ARRAY{free_of_many} END AS free
                 FROM asked WHERE busy IS NULL OR busy <= now OFFSET 0) AS asked),
         claimed AS (
             UPDATE unified_push_queue AS this
             SET attempts = least(attempts + 1, 65535), sent = chosen.now,
                 claimed_until = chosen.lease, claimed_by = $6
             FROM chosen WHERE this.number = chosen.number AND held_until <= chosen.now
             RETURNING {REGISTRATION_OF_MESSAGE}, key, payload, attempts, this.expires AS ends, nth)
         SELECT claimed.*, CASE WHEN busy > asked.now THEN busy END,
             CASE WHEN chosen.number IS NOT NULL THEN asked.now
                 WHEN asked.many <= {FEW} THEN soonest ELSE {soonest_of_many} END, lowest,
             ahead, chosen.highest
         FROM asked LEFT JOIN chosen USING (nth) LEFT JOIN claimed USING (nth)
         ORDER BY asked.nth",
        leased_of_many = of_many(&end, &leased),
        free_of_many = of_many(
            "number",
            &format!("AND held_until = 0 ORDER BY {first} LIMIT {KEPT}")
        ),
        held_of_many = of_many(
            "number",
            &format!("AND held_until <= asked.now ORDER BY {first} LIMIT 1")
        ),
        highest_of_many = "(SELECT place FROM unified_push_queue
             WHERE account = asked.account ORDER BY place DESC LIMIT 1)",
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
    Ok(Some(Claim::Message(message(row)?)))
}

/// From the first columns of what claims.
fn message(row: &Row) -> Result<Claimed> {
    Ok(Claimed {
        registration: registration(row)?,
        key: row.try_get(5)?,
        payload: row.try_get(6)?,
        attempt: u16::try_from(row.try_get::<_, i32>(7)?).unwrap_or(u16::MAX),
        expires: row.try_get(8)?,
    })
}
