//! Messages while they wait: what becomes of them, and what there is.

use jid::{BareJid, Jid};

use super::{
    Postgres,
    columns::{Millis, bare_jid, count, jid, owner_key, registration},
    listen::Notice,
    lock_account,
    queue::{REGISTRATION, delete},
};
use crate::{
    model::{
        message::{Hold, MessageId, MessageKey},
        registration::Registration,
        time::Timestamp,
    },
    store::{StoreError, Waiting, rules::STEP},
};

impl Postgres {
    pub async fn acknowledge(&self, key: MessageKey) -> Result<bool, StoreError> {
        self.take_away("key = $1", key.as_bytes()).await
    }

    pub async fn cancel(&self, id: MessageId) -> Result<bool, StoreError> {
        self.take_away("id = $1", id.as_bytes()).await
    }

    /// Deletes the one message that has these 16 bytes. False when there is none.
    async fn take_away(&self, condition: &str, bytes: &[u8; 16]) -> Result<bool, StoreError> {
        self.within(async {
            let db = self.pool.get().await?;
            let (messages, left) = delete(&db, condition, &[&&bytes[..]]).await?;
            db.done();
            self.left(left);
            Ok(messages > 0)
        })
        .await
    }

    pub async fn put_back(
        &self,
        key: MessageKey,
        attempt: u16,
        hold: Hold,
    ) -> Result<Option<Jid>, StoreError> {
        self.within(async {
            let db = self.pool.get().await?;
            let row = db
                .find(
                    "UPDATE unified_push_queue SET claimed_until = 0, held_until = $3
                     WHERE key = $1 AND attempts = $2 RETURNING owner",
                    &[
                        &&key.as_bytes()[..],
                        &i32::from(attempt),
                        &Millis(hold.end()),
                    ],
                )
                .await?;
            db.done();
            row.map(|row| jid(row.try_get(0)?)).transpose()
        })
        .await
    }

    pub async fn asked(
        &self,
        key: MessageKey,
        attempt: u16,
    ) -> Result<Option<Registration>, StoreError> {
        self.within(async {
            let db = self.pool.get().await?;
            // Within one millisecond, the registration came first.
            let sql = format!(
                "SELECT {REGISTRATION} FROM unified_push_queue
                 WHERE key = $1 AND attempts = $2 AND sent >= issued"
            );
            let row = db
                .find(&sql, &[&&key.as_bytes()[..], &i32::from(attempt)])
                .await?;
            db.done();
            row.as_ref().map(registration).transpose()
        })
        .await
    }

    pub async fn release(&self, owner: &Jid, since: Timestamp) -> Result<(), StoreError> {
        self.within(async {
            let db = self.pool.begin().await?;
            lock_account(&db, &owner.to_bare()).await?;
            db.execute(
                "UPDATE unified_push_queue SET held_until = 0
                 WHERE owner_key = $1 AND held_until <> 0 AND sent >= $2",
                &[&owner_key(owner), &Millis(since)],
            )
            .await?;
            db.commit().await
        })
        .await
    }

    pub async fn redirect(&self, to: &Registration) -> Result<u64, StoreError> {
        self.within(async {
            let db = self.pool.begin().await?;
            let account = to.owner.to_bare();
            lock_account(&db, &account).await?;
            let moved = db
                .execute(
                    "UPDATE unified_push_queue
                     SET owner = $2, issued = $5, registration_expires = $6, owner_key = $7
                     WHERE account = $1 AND application = $3 AND instance = $4 AND issued <= $5",
                    &[
                        &account.as_str(),
                        &to.owner.as_str(),
                        &&to.application.as_bytes()[..],
                        &&to.instance.as_bytes()[..],
                        &Millis(to.issued),
                        &Millis(to.expires),
                        &owner_key(&to.owner),
                    ],
                )
                .await?;
            if moved > 0 {
                let notice = Notice::stored(&to.owner, to.issued);
                self.listener.tell(&db, notice).await?;
            }
            db.commit().await?;
            Ok(moved)
        })
        .await
    }

    pub async fn owners_waiting(
        &self,
        after: Option<&Jid>,
        limit: u32,
    ) -> Result<Vec<Jid>, StoreError> {
        self.within(async {
            let db = self.pool.get().await?;
            let rows = db
                .query(
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
                    &[&after.map(owner_key).unwrap_or_default(), &i64::from(limit)],
                )
                .await?;
            db.done();
            rows.iter().map(|row| jid(row.try_get(0)?)).collect()
        })
        .await
    }

    pub async fn is_waiting(&self, id: MessageId, now: Timestamp) -> Result<bool, StoreError> {
        self.within(async {
            let db = self.pool.get().await?;
            let sql =
                "SELECT EXISTS (SELECT FROM unified_push_queue WHERE id = $1 AND expires > $2)";
            let waits = db.value(sql, &[&&id.as_bytes()[..], &Millis(now)]).await?;
            db.done();
            Ok(waits)
        })
        .await
    }

    pub async fn waiting(&self, now: Timestamp) -> Result<Vec<Waiting>, StoreError> {
        self.at_leisure(async {
            let db = self.begin_long().await?;
            let sql = "SELECT account, count(*), sum(octet_length(payload)), min(arrived)
                 FROM unified_push_queue WHERE expires > $1 GROUP BY account ORDER BY account";
            let rows = db.query(sql, &[&Millis(now)]).await?;
            db.commit().await?;
            let waiting = rows.iter().map(|row| {
                Ok(Waiting {
                    owner: bare_jid(row, 0)?,
                    messages: u32::try_from(count(row, 1)?).unwrap_or(u32::MAX),
                    bytes: count(row, 2)?,
                    oldest: row.try_get::<_, Millis>(3)?.0,
                })
            });
            waiting.collect()
        })
        .await
    }

    pub async fn drop_waiting(&self, owner: &BareJid) -> Result<u64, StoreError> {
        let mut dropped = 0;
        loop {
            match self.within(self.drop_step(owner)).await? {
                0 => return Ok(dropped),
                some => dropped += some,
            }
        }
    }

    /// Deletes some of an account's messages; zero when none are left.
    async fn drop_step(&self, owner: &BareJid) -> Result<u64, StoreError> {
        let db = self.pool.begin().await?;
        lock_account(&db, owner).await?;
        let condition = format!(
            "number IN (SELECT number FROM unified_push_queue WHERE account = $1 LIMIT {STEP})"
        );
        let (dropped, left) = delete(&db, &condition, &[&owner.as_str()]).await?;
        db.commit().await?;
        self.left(left);
        Ok(dropped)
    }
}
