//! Messages in and out: what is kept, and what is sent next.

use std::sync::atomic::Ordering;

use jid::Jid;
use tokio_postgres::Row;

use super::{
    Postgres,
    columns::{Millis, array, count, key_columns, owner_key, payload, registration},
    connect::{Connection, Parameters},
    listen::Notice,
    lock_account,
    registrations::{renewed, revoked_up_to},
};
use crate::{
    model::{
        message::MessageKey,
        registration::{Registration, RegistrationKey},
        time::Timestamp,
    },
    store::{Caps, Claim, Claimed, Enqueued, MESSAGE_OVERHEAD, NewMessage, StoreError},
};

/// What [`registration`] reads, in this order.
pub const REGISTRATION: &str = "owner, application, instance, issued, registration_expires";

/// A condition beside an account or a phone: the message has not expired at this value, say `$1`.
///
/// Nearly every message meets it, which PostgreSQL cannot know: it takes that for a third of them, and
/// would read the index of expiry beside the few rows that are asked for. So no index serves it.
fn alive(value: &str) -> String {
    format!("expires + 0 > {value}")
}

impl Postgres {
    /// Several replicas may go over [`Caps::bytes`] by what the others have stored since this one
    /// last asked for the sizes, and by what is being stored at this moment.
    pub async fn enqueue(
        &self,
        message: NewMessage,
        caps: Caps,
        now: Timestamp,
    ) -> Result<Enqueued, StoreError> {
        self.within(async {
            let key = message.registration.key();
            let _turn = self.turns.take(&key.owner).await?;
            let db = self.pool.begin().await?;
            lock_account(&db, &key.owner).await?;
            let former = &message.registration;
            let renewed = renewed(&db, former).await?;
            let registration = renewed.as_ref().unwrap_or(former);
            let revoked = revoked_up_to(&db, &key).await?;
            if revoked.is_some_and(|at| registration.issued <= at) {
                db.commit().await?;
                return Ok(Enqueued::Revoked);
            }
            let (mut stored, leaving) = make_room(&db, &key, &message, caps, now).await?;
            let Enqueued::Stored { redirected, .. } = &mut stored else {
                db.commit().await?;
                return Ok(stored);
            };
            let freed: u64 = leaving.iter().map(|row| row.size).sum();
            let size = MESSAGE_OVERHEAD + message.payload.len() as u64;
            let waiting = self.queued_bytes.load(Ordering::Relaxed);
            let waiting = u64::try_from(waiting).unwrap_or(0);
            if waiting.saturating_sub(freed) + size > caps.bytes {
                db.commit().await?;
                return Ok(Enqueued::Full);
            }
            let numbers: Vec<i64> = leaving.iter().map(|row| row.number).collect();
            let (_, left) = match numbers.is_empty() {
                true => (0, 0),
                false => delete(&db, "number = ANY($1)", &[&numbers]).await?,
            };
            insert(&db, &message, registration).await?;
            let notice = Notice::stored(&registration.owner, message.try_at);
            self.listener.tell(&db, notice).await?;
            db.commit().await?;
            self.left(left);
            self.came(size);
            *redirected = renewed.map(|renewed| renewed.owner);
            Ok(stored)
        })
        .await
    }

    pub async fn claim(
        &self,
        done: Option<MessageKey>,
        owner: &Jid,
        now: Timestamp,
        lease: Timestamp,
    ) -> Result<(bool, Claim), StoreError> {
        self.within(async {
            let account = owner.to_bare();
            let _turn = self.turns.take(&account).await?;
            let db = self.pool.begin().await?;
            lock_account(&db, &account).await?;
            let (deleted, left) = match done {
                None => (0, 0),
                Some(done) => delete(&db, "key = $1", &[&&done.as_bytes()[..]]).await?,
            };
            let claim = claim(&db, owner, now, lease).await?;
            if claim == Claim::Empty {
                self.listener.tell(&db, Notice::drained(owner)).await?;
            }
            db.commit().await?;
            self.left(left);
            Ok((deleted > 0, claim))
        })
        .await
    }

    /// So much waits more than was counted.
    fn came(&self, bytes: u64) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So much waits less.
    pub(super) fn left(&self, bytes: u64) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Deletes messages; how many they were, and what they counted for of [`Caps::bytes`].
pub async fn delete(
    db: &Connection,
    condition: &str,
    values: Parameters<'_>,
) -> Result<(u64, u64), StoreError> {
    let sql = format!(
        "WITH gone AS (DELETE FROM unified_push_queue WHERE {condition}
         RETURNING octet_length(payload) AS size) SELECT count(*), coalesce(sum(size), 0) FROM gone"
    );
    match db.find(&sql, values).await? {
        Some(row) => {
            let messages = count(&row, 0)?;
            Ok((messages, count(&row, 1)? + messages * MESSAGE_OVERHEAD))
        }
        None => Ok((0, 0)),
    }
}

/// A row that is to make room for a new one.
struct Leaving {
    number: i64,
    urgency: i16,
    arrived: Timestamp,
    /// As [`Caps::bytes`] counts.
    size: u64,
}

/// What [`Leaving::read`] reads.
const LEAVING: &str = "number, urgency, arrived, octet_length(payload)";

impl Leaving {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            number: row.try_get(0)?,
            urgency: row.try_get(1)?,
            arrived: row.try_get::<_, Millis>(2)?.0,
            size: MESSAGE_OVERHEAD + u64::from(row.try_get::<_, i32>(3)?.unsigned_abs()),
        })
    }
}

/// What to answer, but for the cap on bytes, and which rows have to leave first.
async fn make_room(
    db: &Connection,
    key: &RegistrationKey,
    message: &NewMessage,
    caps: Caps,
    now: Timestamp,
) -> Result<(Enqueued, Vec<Leaving>), StoreError> {
    if let Some(topic) = &message.topic
        && let Some(earlier) = with_topic(db, key, topic.as_str()).await?
    {
        if earlier.arrived > message.arrived {
            return Ok((Enqueued::Superseded, Vec::new()));
        }
        let replaced = Enqueued::Stored {
            replaced: 1,
            evicted: 0,
            redirected: None,
        };
        return Ok((replaced, vec![earlier]));
    }
    let (of_account, of_endpoint) = live(db, key, now).await?;
    // More than one only when the cap was lowered.
    let excess = (of_endpoint + 1).saturating_sub(u64::from(caps.per_endpoint));
    if excess == 0 && of_account >= u64::from(caps.per_account) {
        return Ok((Enqueued::AccountFull, Vec::new()));
    }
    let least = least_urgent(db, key, now, excess).await?;
    let urgency = i16::from(message.urgency.rank());
    let all = least.len() as u64 == excess;
    if !all || least.last().is_some_and(|row| row.urgency > urgency) {
        return Ok((Enqueued::Outranked, Vec::new()));
    }
    let stored = Enqueued::Stored {
        replaced: 0,
        evicted: u32::try_from(excess).unwrap_or(u32::MAX),
        redirected: None,
    };
    Ok((stored, least))
}

async fn with_topic(
    db: &Connection,
    key: &RegistrationKey,
    topic: &str,
) -> Result<Option<Leaving>, StoreError> {
    let (account, application, instance) = key_columns(key);
    let sql = format!(
        "SELECT {LEAVING} FROM unified_push_queue
         WHERE account = $1 AND application = $2 AND instance = $3 AND topic = $4"
    );
    let row = db
        .find(&sql, &[&account, &application, &instance, &topic])
        .await?;
    row.as_ref().map(Leaving::read).transpose()
}

/// How many messages of the account live, and how many of these are the endpoint's.
async fn live(
    db: &Connection,
    key: &RegistrationKey,
    now: Timestamp,
) -> Result<(u64, u64), StoreError> {
    let (account, application, instance) = key_columns(key);
    let sql = format!(
        "SELECT count(*), count(*) FILTER (WHERE application = $2 AND instance = $3)
         FROM unified_push_queue WHERE account = $1 AND {}",
        alive("$4")
    );
    let rows = db
        .query(&sql, &[&account, &application, &instance, &Millis(now)])
        .await?;
    match rows.first() {
        Some(row) => Ok((count(row, 0)?, count(row, 1)?)),
        None => Ok((0, 0)),
    }
}

/// Of the endpoint's living messages, those that give way first.
async fn least_urgent(
    db: &Connection,
    key: &RegistrationKey,
    now: Timestamp,
    limit: u64,
) -> Result<Vec<Leaving>, StoreError> {
    if limit == 0 {
        return Ok(Vec::new());
    }
    let (account, application, instance) = key_columns(key);
    let sql = format!(
        "SELECT {LEAVING} FROM unified_push_queue
         WHERE account = $1 AND application = $2 AND instance = $3 AND {}
         ORDER BY urgency, arrived, number LIMIT $5",
        alive("$4")
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = db
        .query(
            &sql,
            &[&account, &application, &instance, &Millis(now), &limit],
        )
        .await?;
    rows.iter().map(Leaving::read).collect()
}

async fn insert(
    db: &Connection,
    message: &NewMessage,
    registration: &Registration,
) -> Result<(), StoreError> {
    db.execute(
        "INSERT INTO unified_push_queue
         (key, id, account, owner, application, instance, issued, registration_expires, topic,
          urgency, payload, arrived, expires, attempts, sent, held_until, owner_key)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
        &[
            &&message.key.as_bytes()[..],
            &&message.id.as_bytes()[..],
            &registration.owner.to_bare().as_str(),
            &registration.owner.as_str(),
            &&registration.application.as_bytes()[..],
            &&registration.instance.as_bytes()[..],
            &Millis(registration.issued),
            &Millis(registration.expires),
            &message.topic.as_ref().map(|topic| topic.as_str()),
            &i16::from(message.urgency.rank()),
            &message.payload.as_bytes(),
            &Millis(message.arrived),
            &Millis(message.expires),
            // The one attempt before it came here.
            &i32::from(message.sent.is_some()),
            &message.sent.map(Millis),
            &Millis(message.hold.end()),
            &owner_key(&registration.owner),
        ],
    )
    .await?;
    Ok(())
}

async fn claim(
    db: &Connection,
    owner: &Jid,
    now: Timestamp,
    lease: Timestamp,
) -> Result<Claim, StoreError> {
    let owner = owner_key(owner);
    let alive = alive("$2");
    // The first condition admits the index.
    let lease_of_another = format!(
        "SELECT max(claimed_until) FROM unified_push_queue
         WHERE claimed_until > 0 AND owner_key = $1 AND claimed_until > $2 AND {alive}"
    );
    let claim_next = format!(
        "UPDATE unified_push_queue
         SET attempts = least(attempts + 1, 65535), sent = $2, claimed_until = $3
         WHERE number = coalesce(
             (SELECT number FROM unified_push_queue
              WHERE owner_key = $1 AND {alive} AND held_until = 0
              ORDER BY urgency DESC, arrived, number LIMIT 1),
             (SELECT number FROM unified_push_queue
              WHERE owner_key = $1 AND {alive} AND held_until <= $2
              ORDER BY urgency DESC, arrived, number LIMIT 1))
         AND held_until <= $2
         RETURNING {REGISTRATION}, key, payload, attempts, expires"
    );
    let soonest =
        format!("SELECT min(held_until) FROM unified_push_queue WHERE owner_key = $1 AND {alive}");
    loop {
        let values: Parameters<'_> = &[&owner, &Millis(now)];
        let until: Option<Millis> = db.value(&lease_of_another, values).await?;
        if let Some(until) = until {
            return Ok(Claim::Later(until.0));
        }
        let values: Parameters<'_> = &[&owner, &Millis(now), &Millis(lease)];
        if let Some(row) = db.find(&claim_next, values).await? {
            return Ok(Claim::Message(claimed(&row)?));
        }
        let held: Option<Millis> = db.value(&soonest, &[&owner, &Millis(now)]).await?;
        match held {
            None => return Ok(Claim::Empty),
            Some(until) if until.0 > now => return Ok(Claim::Later(until.0)),
            // The message was acknowledged or put back at this very moment; there are others.
            Some(_) => {}
        }
    }
}

fn claimed(row: &Row) -> Result<Claimed, StoreError> {
    Ok(Claimed {
        registration: registration(row)?,
        key: MessageKey::from_bytes(array(row, 5)?),
        payload: payload(row, 6)?,
        attempt: u16::try_from(row.try_get::<_, i32>(7)?).unwrap_or(u16::MAX),
        expires: row.try_get::<_, Millis>(8)?.0,
    })
}
