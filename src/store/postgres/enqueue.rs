//! Messages come in together: what they replace, who gives way to them, and whether they fit. Two
//! round trips serve them all.

use super::{
    batch::{Arrival, Decided},
    columns::{as_i64, owner_key},
    endpoints,
    failure::Result,
    pool::Connection,
    queue::{DELETE, count_deleted},
};
use crate::store::{messages::Enqueued, rules};

/// A transaction of its own. `waiting` is what waits, as [`Caps::bytes`](crate::store::Caps::bytes)
/// counts. Says besides how many messages of the accounts it has deleted that had expired.
pub async fn enqueue(
    db: &Connection,
    arrivals: &[Arrival],
    waiting: u64,
) -> Result<(Vec<Enqueued>, u64)> {
    let mut batch = endpoints::read(db, arrivals).await?;
    let swept = batch.swept.messages;
    let (asked, mut tallies) = std::mem::take(&mut batch.tallies);
    let decided = batch.decide(waiting);
    let highest = write(db, &decided).await?;
    for tally in tallies.values_mut() {
        tally.highest = tally.highest.max(highest);
    }
    for (message, registration) in &decided.staying {
        if let Some(tally) = tallies.get_mut(&registration.owner.to_bare()) {
            tally.messages += 1;
            tally.soonest = tally.soonest.min(message.expires);
        }
    }
    db.tallies().learn(asked, tallies);
    Ok((decided.answers, swept))
}

/// Gives the highest place.
const INSERT: &str = "WITH new AS (INSERT INTO unified_push_queue
     (key, id, account, owner, owner_key, application, instance, issued, registration_expires,
      topic, urgency, payload, arrived, expires, attempts, sent, held_until)
     SELECT key, id, account, owner, owner_key, application, instance, issued,
         registration_expires, topic, urgency, payload, arrived, expires, attempts, sent, held_until
     FROM unnest($1::bytea[], $2::bytea[], $3::text[], $4::text[], $5::bytea[], $6::bytea[],
         $7::bytea[], $8::bigint[], $9::bigint[], $10::text[], $11::smallint[], $12::bytea[],
         $13::bigint[], $14::bigint[], $15::integer[], $16::bigint[], $17::bigint[])
         WITH ORDINALITY AS new (key, id, account, owner, owner_key, application, instance, issued,
             registration_expires, topic, urgency, payload, arrived, expires, attempts, sent,
             held_until, place)
     ORDER BY place
     RETURNING place) SELECT max(place) FROM new";

/// Gives the highest place that any account now has, or 0 if nothing was inserted.
async fn write(db: &Connection, decided: &Decided<'_>) -> Result<i64> {
    let Decided {
        leaving, staying, ..
    } = decided;
    let delete = db
        .prepare(&DELETE.replace("{}", "number = ANY($1)"))
        .await?;
    let insert = db.prepare(INSERT).await?;
    let deleting = async {
        if !leaving.is_empty() {
            count_deleted(db, &db.query(&delete, &[leaving]).await?)?;
        }
        Ok(())
    };
    macro_rules! column {
        ($kind:ty, |$message:ident, $registration:ident| $value:expr) => {
            staying
                .iter()
                .map(|($message, $registration)| $value)
                .collect::<Vec<$kind>>()
        };
    }
    let inserting = async {
        if staying.is_empty() {
            return Ok(0);
        }
        let rows = db
            .query(
                &insert,
                &[
                    &column!(_, |message, _r| message.key),
                    &column!(_, |message, _r| message.id),
                    &column!(String, |_m, to| to.owner.to_bare().to_string()),
                    &column!(&str, |_m, to| to.owner.as_str()),
                    &column!(_, |_m, to| owner_key(to.owner.as_str())),
                    &column!(_, |_m, to| to.application),
                    &column!(_, |_m, to| to.instance),
                    &column!(_, |_m, to| to.issued),
                    &column!(_, |_m, to| to.expires),
                    &column!(_, |message, _r| message
                        .topic
                        .as_ref()
                        .map(|topic| topic.as_str())),
                    &column!(_, |message, _r| i16::from(message.urgency.rank())),
                    &column!(&[u8], |message, _r| message.payload.as_bytes()),
                    &column!(_, |message, _r| message.arrived),
                    &column!(_, |message, _r| message.expires),
                    // The one attempt before it came here.
                    &column!(_, |message, _r| i32::from(message.sent.is_some())),
                    &column!(_, |message, _r| message.sent),
                    &column!(_, |message, to| message.hold_for(&to.owner).end()),
                ],
            )
            .await?;
        let highest = rows.first().map(|row| row.try_get(0));
        Ok(highest.transpose()?.unwrap_or(0))
    };
    let ((), highest, ()) = tokio::try_join!(deleting, inserting, db.batch("COMMIT"))?;
    for (message, _) in staying {
        db.count(as_i64(rules::size(message.payload.len() as u64)));
    }
    Ok(highest)
}
