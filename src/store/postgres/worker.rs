//! Tasks that take what waits at the same time together: one statement, one round trip and one
//! commit serve many callers.

use std::hash::{BuildHasher, Hash, RandomState};

use tokio::sync::{mpsc, oneshot};

use crate::store::error::{StoreError, StoreResult};

/// How many jobs may wait for a task.
const QUEUE: usize = 1024;
/// How many share a commit.
const MAX_BATCH: usize = 256;
/// How many tasks: one decides while another one waits for the disk.
const TASKS: usize = 2;

type Asked<Job, Answer> = (Job, oneshot::Sender<StoreResult<Answer>>);

/// The tasks end, after what is queued, when this is dropped.
pub struct Workers<Job, Answer> {
    queues: [mpsc::Sender<Asked<Job, Answer>>; TASKS],
    hasher: RandomState,
}

impl<Job, Answer> Workers<Job, Answer>
where
    Job: Clone + Send + Sync + 'static,
    Answer: Send + 'static,
{
    /// `work` answers all of its jobs, in their order, or fails as a whole.
    pub fn start<Working>(work: impl Fn(Vec<Job>) -> Working + Clone + Send + 'static) -> Self
    where
        Working: Future<Output = StoreResult<Vec<Answer>>> + Send + 'static,
    {
        let queues = [(); TASKS].map(|()| {
            let (sender, queue) = mpsc::channel(QUEUE);
            tokio::spawn(attend(queue, work.clone()));
            sender
        });
        Self {
            queues,
            hasher: RandomState::new(),
        }
    }

    /// Jobs of the same `kind` are done in the order in which they come.
    pub async fn perform(&self, kind: impl Hash, job: Job) -> StoreResult<Answer> {
        let number = self.hasher.hash_one(kind) % TASKS as u64;
        let (answer, answered) = oneshot::channel();
        let sent = self.queues[number as usize].try_send((job, answer));
        sent.map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StoreError::Busy,
            mpsc::error::TrySendError::Closed(_) => StoreError::Stopped,
        })?;
        answered.await.unwrap_or(Err(StoreError::Stopped))
    }
}

async fn attend<Job: Clone, Answer, Working>(
    mut queue: mpsc::Receiver<Asked<Job, Answer>>,
    work: impl Fn(Vec<Job>) -> Working,
) where
    Working: Future<Output = StoreResult<Vec<Answer>>>,
{
    let mut asked = Vec::with_capacity(MAX_BATCH);
    while queue.recv_many(&mut asked, MAX_BATCH).await > 0 {
        // Whoever waits no longer has been told that nothing was done.
        asked.retain(|(_, answer)| !answer.is_closed());
        let (jobs, answers): (Vec<_>, Vec<_>) = asked.drain(..).unzip();
        if jobs.is_empty() {
            continue;
        }
        match work(jobs.clone()).await {
            Ok(done) => {
                for (answer, done) in answers.into_iter().zip(done) {
                    // Nobody may be waiting any more.
                    let _ = answer.send(Ok(done));
                }
            }
            Err(error) if jobs.len() > 1 && error.may_be_of_one() => {
                for (job, answer) in jobs.into_iter().zip(answers) {
                    let done = work(vec![job]).await;
                    let done = done.and_then(|mut done| done.pop().ok_or(StoreError::Stopped));
                    let _ = answer.send(done);
                }
            }
            Err(error) => {
                for answer in answers {
                    let _ = answer.send(Err(error.clone()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use futures::future::join_all;
    use tokio::sync::Semaphore;

    use super::*;

    type Batches = Arc<Mutex<Vec<usize>>>;

    /// Answers each number with its double, once a permit is there.
    fn workers(gate: &Arc<Semaphore>, batches: &Batches) -> Workers<u32, u32> {
        let (gate, batches) = (gate.clone(), batches.clone());
        Workers::start(move |jobs: Vec<u32>| {
            let (gate, batches) = (gate.clone(), batches.clone());
            async move {
                gate.acquire().await.unwrap().forget();
                batches.lock().unwrap().push(jobs.len());
                Ok(jobs.iter().map(|job| job * 2).collect())
            }
        })
    }

    #[tokio::test]
    async fn what_waits_is_done_together_and_answered_apart() {
        let (gate, batches) = (Arc::new(Semaphore::new(0)), Batches::default());
        let workers = workers(&gate, &batches);
        let jobs = join_all((0..100).map(|number| workers.perform("same", number)));
        let open = async {
            tokio::task::yield_now().await;
            gate.add_permits(2);
        };
        let (answers, ()) = tokio::join!(jobs, open);
        let answers: Vec<u32> = answers.into_iter().map(Result::unwrap).collect();
        assert_eq!(
            answers,
            (0..100).map(|number| number * 2).collect::<Vec<_>>()
        );
        assert_eq!(*batches.lock().unwrap(), [100]);
    }

    #[tokio::test]
    async fn a_full_queue_is_said_at_once() {
        let (gate, batches) = (Arc::new(Semaphore::new(0)), Batches::default());
        let workers = workers(&gate, &batches);
        let all = (0..=QUEUE + MAX_BATCH).map(|_| workers.perform("same", 1));
        let open = async {
            tokio::task::yield_now().await;
            gate.add_permits(2 * QUEUE);
        };
        let (answers, ()) = tokio::join!(join_all(all), open);
        let busy = |answer: &&StoreResult<u32>| matches!(answer, Err(StoreError::Busy));
        assert!(answers.iter().filter(busy).count() > 0);
        assert!(answers.iter().filter(|answer| answer.is_ok()).count() >= QUEUE);
    }

    #[tokio::test]
    async fn what_nobody_waits_for_is_not_begun() {
        let (gate, batches) = (Arc::new(Semaphore::new(0)), Batches::default());
        let workers = workers(&gate, &batches);
        let first = workers.perform("same", 1);
        let given_up = async {
            tokio::task::yield_now().await;
            let job = workers.perform("same", 2);
            assert!(futures::future::FutureExt::now_or_never(job).is_none());
            gate.add_permits(2);
        };
        let (first, ()) = tokio::join!(first, given_up);
        assert_eq!(first.unwrap(), 2);
        assert_eq!(workers.perform("same", 3).await.unwrap(), 6);
        assert_eq!(*batches.lock().unwrap(), [1, 1]);
    }
}
