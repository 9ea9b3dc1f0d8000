//! The messages that wait in the store, as delivery sees them.
//!
//! Nothing else in delivery asks the store, and nothing else counts what becomes of a message that
//! waits. So many at a time may ask for a write; the rest stand in line, and only for a while.

mod lines;

use std::{
    ops::RangeInclusive,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jid::Jid;
use tokio::{
    sync::{AcquireError, Notify, OwnedSemaphorePermit, Semaphore, SemaphorePermit},
    time::{sleep, timeout},
};
use tracing::debug;

use self::lines::Lines;
use crate::{
    link::Answer,
    metrics::{Metrics, QueueEvent},
    model::{
        message::{Hold, MessageId, MessageKey},
        registration::Registration,
        time::Timestamp,
    },
    store::{Caps, Claim, Enqueued, NewMessage, News, Overtaken, Store, StoreError},
};

/// How many writes the store is asked for at a time; they share commits. Others wait in line: their
/// pushes are bounded by the memory in flight.
const WRITES_AT_ONCE: usize = 512;

/// How long a write waits in line: whoever waits longer than the store may take for everybody
/// before it waits in vain.
const LONGEST_LINE: Duration = Duration::from_secs(5);

/// How many answers are worked on at a time that nobody waits for in this process. Beyond it they
/// are dropped and counted: the message is sent once more.
const LATE_ANSWERS_AT_ONCE: usize = 4096;

/// Between tries to tell the store of an acknowledgement.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// How long the store is asked to release what may be lost with the link.
const LONGEST_RELEASE: Duration = Duration::from_secs(60);

/// How long a claim lasts if nobody ends it, beside the time that its attempt takes: it may take the
/// store so long to say that the claim is made. Whoever asks after it, as the next daemon does when
/// this one is gone, waits no longer.
const LEASE: Duration = Duration::from_secs(5);

pub struct Queue {
    store: Store,
    /// Other replicas may store messages that this one has not heard of yet.
    is_shared: bool,
    metrics: Arc<Metrics>,
    lines: Lines,
    writes: Semaphore,
    late_answers: Arc<Semaphore>,
    /// What waits is to be read from the store once more.
    rescan: Notify,
    stopping: AtomicBool,
}

impl Queue {
    pub fn new(store: Store, metrics: Arc<Metrics>) -> Self {
        Self {
            is_shared: store.is_shared(),
            store,
            metrics,
            lines: Lines::default(),
            writes: Semaphore::new(WRITES_AT_ONCE),
            late_answers: Arc::new(Semaphore::new(LATE_ANSWERS_AT_ONCE)),
            rescan: Notify::new(),
            stopping: AtomicBool::new(false),
        }
    }

    /// From now on no acknowledgement is told more than once.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Keeps a message, within the caps.
    pub async fn keep(
        &self,
        message: NewMessage,
        caps: Caps,
        now: Timestamp,
    ) -> Result<Enqueued, StoreError> {
        let turn = in_time(async {
            let place = self.lines.stand(message.registration.account()).await?;
            Ok((self.writes.acquire().await?, place))
        });
        let turn = turn.await?;
        let enqueued = self.store.enqueue(message, caps, now).await?;
        drop(turn);
        let events = &self.metrics.queue_events;
        match enqueued {
            Enqueued::Stored {
                replaced, evicted, ..
            } => {
                events.inc(QueueEvent::Stored);
                events.add(QueueEvent::Replaced, replaced.into());
                events.add(QueueEvent::Evicted, evicted.into());
            }
            Enqueued::Superseded => events.inc(QueueEvent::Replaced),
            Enqueued::Outranked | Enqueued::AccountFull | Enqueued::Full | Enqueued::Revoked => {}
        }
        Ok(enqueued)
    }

    /// Waits in line. Whoever has a turn may ask the store to write, until it is dropped.
    pub async fn turn(&self) -> Result<SemaphorePermit<'_>, StoreError> {
        in_time(self.writes.acquire()).await
    }

    /// Before the next message for this phone is claimed: deletes what was overtaken, and nothing that was
    /// `sent` then is held any longer.
    pub async fn prepare(
        &self,
        _turn: &SemaphorePermit<'_>,
        phone: &Jid,
        overtaken: &[Overtaken],
        sent: Option<RangeInclusive<Timestamp>>,
    ) -> Result<(), StoreError> {
        for overtaken in overtaken {
            let replaced = self.store.overtake(overtaken).await?;
            self.metrics
                .queue_events
                .add(QueueEvent::Replaced, replaced);
        }
        match sent {
            Some(sent) => self.store.release(phone, sent).await,
            None => Ok(()),
        }
    }

    /// Ends the holds of what these phones were `sent` then, so that other replicas send it, and deletes what
    /// was overtaken. What fails for long is done when this one has a link.
    pub async fn release_all(
        &self,
        phones: &[(Jid, Vec<Overtaken>)],
        sent: RangeInclusive<Timestamp>,
    ) {
        let release = async {
            let mut left: Vec<_> = phones.iter().collect();
            loop {
                let mut failed = Vec::new();
                for lost @ (phone, overtaken) in left {
                    let prepared: Result<(), StoreError> = async {
                        let turn = self.turn().await?;
                        self.prepare(&turn, phone, overtaken, Some(sent.clone()))
                            .await
                    }
                    .await;
                    if prepared.is_err() {
                        failed.push(lost);
                    }
                }
                if failed.is_empty() || self.stopping.load(Ordering::Acquire) {
                    return;
                }
                left = failed;
                sleep(RETRY_PAUSE).await;
            }
        };
        if timeout(LONGEST_RELEASE, release).await.is_err() {
            debug!("what may be lost with the link could not be released");
        }
    }

    /// The next message for a phone, which is nobody else's until it is [`put back`](Self::put_back)
    /// or [`done`](Self::done), or its lease ends. `done` is one that the phone has: it is deleted
    /// in the same commit, and none afterwards. `attempt` is how long the phone has to answer.
    pub async fn claim(
        &self,
        _turn: &SemaphorePermit<'_>,
        done: &mut Option<MessageKey>,
        phone: &Jid,
        now: Timestamp,
        attempt: Duration,
    ) -> Result<Claim, StoreError> {
        let lease = now.saturating_add(attempt + LEASE);
        let (deleted, claim) = self.store.claim(*done, phone, now, lease).await?;
        *done = None;
        if deleted {
            self.metrics.queue_events.inc(QueueEvent::Forwarded);
        }
        Ok(claim)
    }

    /// Deletes a message that its phone has. Tries until the store takes it, or the daemon stops:
    /// else the phone would get the message once more.
    pub async fn done(&self, key: MessageKey) {
        loop {
            let deleted = async {
                let _turn = self.turn().await?;
                self.store.acknowledge(key).await
            };
            match deleted.await {
                Ok(true) => return self.metrics.queue_events.inc(QueueEvent::Forwarded),
                Ok(false) => return,
                Err(_) if self.stopping.load(Ordering::Acquire) => return,
                Err(_) => sleep(RETRY_PAUSE).await,
            }
        }
    }

    /// Ends the claim of an attempt at a phone. Gives whom the message is for now; None when the attempt
    /// was not the latest, or the message cannot be put back, which is then free when its lease ends.
    pub async fn put_back(
        &self,
        key: MessageKey,
        attempt: u16,
        asked: &Jid,
        hold: Hold,
    ) -> Option<Jid> {
        let put_back = async {
            let _turn = self.turn().await?;
            self.store.put_back(key, attempt, asked, hold).await
        };
        put_back.await.unwrap_or_else(|error| {
            debug!(%error, "a message could not be put back; it is free when its lease ends");
            None
        })
    }

    /// Whom an attempt asked; see [`Store::asked`].
    pub async fn asked(&self, key: MessageKey, attempt: u16) -> Option<Registration> {
        self.store.asked(key, attempt).await.ok().flatten()
    }

    /// What waits for this application goes to the full JID that has just registered. Says how many
    /// messages do.
    pub async fn redirect(&self, registration: &Registration) -> u64 {
        let moved = self.store.redirect(registration).await;
        moved.unwrap_or_else(|error| {
            debug!(%error, "waiting messages could not be moved to the phone's new resource");
            0
        })
    }

    /// Whether a message waits still.
    pub async fn is_pending(&self, id: MessageId, now: Timestamp) -> Result<bool, StoreError> {
        self.store.is_waiting(id, now).await
    }

    /// Its sender takes a message back. False: it does not wait.
    pub async fn cancel(&self, id: MessageId) -> Result<bool, StoreError> {
        let cancelled = self.store.cancel(id).await?;
        if cancelled {
            self.metrics.queue_events.inc(QueueEvent::Deleted);
        }
        Ok(cancelled)
    }

    /// Counts what was dropped with a revocation.
    pub fn count_revoked(&self, dropped: u64) {
        self.metrics.queue_events.add(QueueEvent::Revoked, dropped);
    }

    /// Admits an answer that nobody waits for in this process, until the permit is dropped. None,
    /// and counted, when there are too many.
    pub fn admit_late_answer(&self) -> Option<OwnedSemaphorePermit> {
        let permit = self.late_answers.clone().try_acquire_owned();
        if permit.is_err() {
            self.metrics.queue_events.inc(QueueEvent::DroppedAnswer);
        }
        permit.ok()
    }

    #[cfg(test)]
    pub fn has_late_answers(&self) -> bool {
        self.late_answers.available_permits() < LATE_ANSWERS_AT_ONCE
    }

    /// Hands an answer to the replica that waits for it, if one does.
    pub async fn pass_on(&self, from: &Jid, id: &str, answer: Answer) {
        if let Err(error) = self.store.pass_on(from, id, answer).await {
            debug!(%error, "an answer could not be passed on");
        }
    }

    /// Whether other replicas may store messages that this one has not heard of yet.
    pub fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// As if they did.
    #[cfg(test)]
    pub fn share(&mut self) {
        self.is_shared = true;
    }

    /// Has [`news`](Self::news) say that what waits is to be read once more.
    pub fn ask_for_rescan(&self) {
        self.rescan.notify_one();
    }

    /// What other replicas have to say; waits for it. For one caller at a time.
    pub async fn news(&self) -> News {
        tokio::select! {
            news = self.store.news() => news,
            () = self.rescan.notified() => News::Rescan,
        }
    }

    /// Phones that messages wait for, in order, from the first after `after`.
    pub async fn phones(&self, after: Option<&Jid>, limit: u32) -> Result<Vec<Jid>, StoreError> {
        self.store.owners_waiting(after, limit).await
    }
}

async fn in_time<Turn>(
    line: impl Future<Output = Result<Turn, AcquireError>>,
) -> Result<Turn, StoreError> {
    match timeout(LONGEST_LINE, line).await {
        Ok(Ok(turn)) => Ok(turn),
        Ok(Err(_)) | Err(_) => Err(StoreError::Busy),
    }
}
