//! Pushes that go on while a test does something to the database.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    task::{JoinHandle, JoinSet},
    time::Instant,
};

use crate::group::{Endpoint, Group, push};

/// Between two pushes to the same daemon.
const PAUSE: Duration = Duration::from_millis(50);

/// A push and what became of it.
#[derive(Clone, Debug)]
pub struct Sent {
    pub daemon: usize,
    pub payload: String,
    pub begun: Instant,
    pub answered: Instant,
    pub status: u16,
}

/// To every daemon of a group, to phones that are away.
pub struct Traffic {
    over: Arc<AtomicBool>,
    sent: Arc<Mutex<Vec<Sent>>>,
    task: JoinHandle<()>,
}

impl Traffic {
    /// No push waits for the one before.
    pub fn start(group: &Group, phones: &[Endpoint]) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let sent: Arc<Mutex<Vec<Sent>>> = Arc::default();
        let urls: Vec<Vec<String>> = (0..group.daemons.len())
            .map(|daemon| phones.iter().map(|to| group.url(daemon, to)).collect())
            .collect();
        let (ends, log) = (over.clone(), sent.clone());
        let task = tokio::spawn(async move {
            let mut pushes = JoinSet::new();
            for number in 0.. {
                if ends.load(Ordering::Relaxed) {
                    break;
                }
                for (daemon, urls) in urls.iter().enumerate() {
                    let url = urls[number % urls.len()].clone();
                    let (log, begun) = (log.clone(), Instant::now());
                    let payload = format!("{begun:?} {number} by {daemon}");
                    pushes.spawn(async move {
                        let status = push(&url, &payload).await;
                        log.lock().unwrap().push(Sent {
                            daemon,
                            payload,
                            begun,
                            answered: Instant::now(),
                            status,
                        });
                    });
                }
                tokio::time::sleep(PAUSE).await;
            }
            pushes.join_all().await;
        });
        Self { over, sent, task }
    }

    /// Every push, with its answer.
    pub async fn end(self) -> Vec<Sent> {
        self.over.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
        let sent = self.sent.lock().unwrap();
        sent.clone()
    }
}

/// What was answered with 201.
pub fn accepted(sent: &[Sent]) -> Vec<String> {
    let accepted = sent.iter().filter(|sent| sent.status == 201);
    accepted.map(|sent| sent.payload.clone()).collect()
}

/// Nobody was told anything else than 201 or 503.
pub fn assert_harmless(sent: &[Sent]) {
    let harmful = sent.iter().find(|sent| ![201, 503].contains(&sent.status));
    assert!(harmful.is_none(), "{harmful:?}");
}

/// How long after this moment each daemon stored something again.
pub fn stored_after(moment: Instant, sent: &[Sent], daemons: usize) -> Vec<Duration> {
    let of = |daemon: usize| {
        let stored = sent
            .iter()
            .filter(|it| it.daemon == daemon && it.status == 201);
        let later = stored.filter_map(|it| it.answered.checked_duration_since(moment));
        later.min().expect("a push that was stored afterwards")
    };
    (0..daemons).map(of).collect()
}

/// Which of those that began later than this moment were not stored.
pub fn refused_after(moment: Instant, sent: &[Sent]) -> usize {
    let later = sent.iter().filter(|it| it.begun > moment);
    later.filter(|it| it.status != 201).count()
}
