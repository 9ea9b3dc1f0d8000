//! The store's threads: one that writes, with every job that waits in one transaction, and one
//! that reads beside it.

use std::{
    sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    thread::{self, JoinHandle},
};

use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::store::error::{Failure, StoreError, StoreResult};

/// How many jobs may wait for a thread.
const QUEUE: usize = 1024;
/// How many share a commit, and so one wait for the disk.
const MAX_BATCH: usize = 512;

pub(super) type Reader = Worker<ReadJob>;
pub(super) type Writer = Worker<WriteJob>;

type ReadJob = Box<dyn FnOnce(&Connection) + Send>;
/// Does its work and hands back what to say once the commit has succeeded or failed.
type WriteJob = Box<dyn FnOnce(&Connection) -> Answer + Send>;
type Answer = Box<dyn FnOnce(StoreResult<()>) + Send>;

/// A thread that ends, after what is queued, when this is dropped.
pub(super) struct Worker<Job> {
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl<Job: Send + 'static> Worker<Job> {
    fn spawn(
        name: &str,
        run: impl FnOnce(Receiver<Job>) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (jobs, queue) = sync_channel(QUEUE);
        let thread = thread::Builder::new().name(name.to_owned());
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread.spawn(move || run(queue))?),
        })
    }

    fn send(&self, job: Job) -> StoreResult<()> {
        let jobs = self.jobs.as_ref().expect("taken by drop only");
        jobs.try_send(job).map_err(|e| match e {
            TrySendError::Full(_) => StoreError::Busy,
            TrySendError::Disconnected(_) => StoreError::Stopped,
        })
    }
}

impl<Job> Drop for Worker<Job> {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A thread that has panicked has said so already.
            let _ = thread.join();
        }
    }
}

impl Reader {
    pub(super) fn start(db: Connection) -> std::io::Result<Self> {
        Self::spawn("store-reader", move |queue| {
            for job in queue {
                job(&db);
            }
        })
    }

    pub(super) async fn read<T: Send + 'static, E: Into<StoreError>>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    ) -> StoreResult<T> {
        let (answer, answered) = oneshot::channel();
        self.send(Box::new(move |db| {
            // Nobody may be waiting any more.
            let _ = answer.send(work(db).map_err(Into::into));
        }))?;
        answered.await.unwrap_or_else(|_| Err(StoreError::Stopped))
    }
}

impl Writer {
    pub(super) fn start(db: Connection) -> std::io::Result<Self> {
        Self::spawn("store-writer", move |queue| {
            while let Ok(first) = queue.recv() {
                let rest = queue.try_iter().take(MAX_BATCH - 1);
                commit_together(&db, std::iter::once(first).chain(rest));
            }
        })
    }

    /// Answers when the work is on the disk.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> StoreResult<T> {
        let (answer, answered) = oneshot::channel();
        self.send(Box::new(move |db| {
            let outcome = apart(db, work);
            Box::new(move |committed| {
                // Nobody may be waiting any more.
                let _ = answer.send(committed.and(outcome));
            })
        }))?;
        answered.await.unwrap_or_else(|_| Err(StoreError::Stopped))
    }
}

fn commit_together(db: &Connection, jobs: impl Iterator<Item = WriteJob>) {
    let begun = db.execute_batch("BEGIN IMMEDIATE");
    let answers: Vec<Answer> = jobs.map(|job| job(db)).collect();
    let committed = begun
        .and_then(|()| db.execute_batch("COMMIT"))
        .map_err(StoreError::from);
    if committed.is_err() && !db.is_autocommit() {
        // Nothing of this batch may slip into the next one. If this fails, so does the next BEGIN.
        let _ = db.execute_batch("ROLLBACK");
    }
    for answer in answers {
        answer(committed.clone());
    }
}

/// One job's failure undoes its own work only.
fn apart<T>(
    db: &Connection,
    work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> StoreResult<T> {
    if db.is_autocommit() {
        // BEGIN failed, or an earlier job met a full disk, at which SQLite gives up the whole
        // transaction. The commit's failure is the answer.
        return Err(StoreError::Failed(Failure::TransactionGone));
    }
    let run = |statement| db.prepare_cached(statement)?.execute([]);
    let done = run("SAVEPOINT job")
        .and_then(|_| work(db))
        .and_then(|done| run("RELEASE job").map(|_| done));
    if done.is_err() && !db.is_autocommit() {
        let undone = db.execute_batch("ROLLBACK TO job; RELEASE job");
        undone.map_err(StoreError::from)?;
    }
    done.map_err(StoreError::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database() -> Connection {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch("CREATE TABLE t (x UNIQUE)").unwrap();
        db
    }

    fn insert(x: i64) -> impl FnOnce(&Connection) -> rusqlite::Result<usize> {
        move |db| db.execute("INSERT INTO t VALUES (?)", [x])
    }

    fn count(db: &Connection) -> rusqlite::Result<i64> {
        db.query_row("SELECT count(*) FROM t", [], |row| row.get(0))
    }

    #[tokio::test]
    async fn one_jobs_failure_leaves_the_others_alone() {
        let worker = Writer::start(database()).unwrap();
        let (a, b, c) = tokio::join!(
            worker.write(insert(1)),
            worker.write(|db| {
                insert(2)(db)?;
                insert(1)(db)
            }),
            worker.write(insert(3)),
        );
        assert!(a.is_ok() && c.is_ok());
        assert!(matches!(b, Err(StoreError::Failed(_))), "{b:?}");
        assert_eq!(worker.write(count).await.unwrap(), 2);
    }

    #[tokio::test]
    async fn what_waits_is_committed_together() {
        let db = database();
        db.execute_batch("CREATE TABLE commits (n)").unwrap();
        let worker = Writer::start(db).unwrap();
        let (gate, opened) = std::sync::mpsc::channel::<()>();
        let held = worker.write(move |_| {
            opened.recv().expect("the gate is opened");
            Ok(())
        });
        // A savepoint's number would tell nothing; that all run before one COMMIT does.
        let inside = |db: &Connection| Ok((db.is_autocommit(), count(db)?));
        let release = async move { gate.send(()).unwrap() };
        let (_, _, _, seen, ()) = tokio::join!(
            held,
            worker.write(insert(1)),
            worker.write(insert(2)),
            worker.write(inside),
            release
        );
        assert_eq!(seen.unwrap(), (false, 2));
    }

    #[tokio::test]
    async fn a_transaction_that_is_gone_fails_the_whole_batch() {
        let worker = Writer::start(database()).unwrap();
        let (gate, opened) = std::sync::mpsc::channel::<()>();
        let hold = worker.write(move |_| {
            opened.recv().expect("the gate is opened");
            Ok(())
        });
        let release = async move { gate.send(()).unwrap() };
        let (_, first, gone, last, ()) = tokio::join!(
            hold,
            worker.write(insert(1)),
            worker.write(|db| db.execute_batch("ROLLBACK")),
            worker.write(insert(2)),
            release
        );
        assert!(first.is_err() && gone.is_err() && last.is_err());
        assert_eq!(worker.write(count).await.unwrap(), 0);
        assert!(worker.write(insert(3)).await.is_ok());
    }

    #[tokio::test]
    async fn a_full_queue_is_said_at_once() {
        let worker = Writer::start(database()).unwrap();
        let (gate, opened) = std::sync::mpsc::channel::<()>();
        let job: WriteJob = Box::new(move |_| {
            opened.recv().expect("the gate is opened");
            Box::new(|_| {})
        });
        worker.send(job).unwrap();
        let idle = || -> WriteJob { Box::new(|_| Box::new(|_| {})) };
        let refused = (0..=QUEUE + MAX_BATCH).find_map(|_| worker.send(idle()).err());
        assert!(matches!(refused, Some(StoreError::Busy)));
        gate.send(()).unwrap();
    }
}
