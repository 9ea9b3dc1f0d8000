//! What replicas say to each other, by LISTEN and NOTIFY. Nothing rests on it: what is lost is
//! found again by a look at the rows, for which [`News::Rescan`] asks.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{
    sync::{Mutex, mpsc},
    time::{sleep, timeout},
};
use tokio_postgres::AsyncMessage;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, warn};

use super::{
    failure::{PostgresFailure, Result},
    pool::Connection,
    source::Source,
};
use crate::store::messages::News;

const LISTEN: &str = "LISTEN unified_push";
const NOTIFY: &str = "SELECT pg_notify('unified_push', $1)";

/// PostgreSQL takes less than 8000 bytes.
const MAX_NOTICE: usize = 7999;

/// How many news may wait for the daemon. Beyond it they are dropped, and it looks itself.
const QUEUE: usize = 1024;

/// Between two attempts to connect; twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(30);

/// How often a silent connection is tried, and how long it may take to answer or to be made.
const PROBE: Duration = Duration::from_secs(15);
const PATIENCE: Duration = Duration::from_secs(3);

/// News as it travels, in JSON.
#[derive(Serialize, Deserialize)]
struct Notice {
    /// Who says it; a replica does not listen to itself.
    by: String,
    #[serde(flatten)]
    news: News,
}

/// Starts to listen when it is asked for news first: the command line never does.
pub struct Listener {
    source: Source,
    /// This replica's name, random.
    instance: String,
    listening: OnceLock<Listening>,
}

struct Listening {
    queue: Mutex<mpsc::Receiver<News>>,
    missed: Arc<AtomicBool>,
    _task: AbortOnDropHandle<()>,
}

impl Listener {
    pub fn new(source: Source, instance: String) -> Self {
        Self {
            source,
            instance,
            listening: OnceLock::new(),
        }
    }

    pub async fn news(&self) -> News {
        let listening = self.listening.get_or_init(|| self.start());
        let mut queue = listening.queue.lock().await;
        if listening.missed.swap(false, Ordering::Relaxed) {
            return News::Rescan;
        }
        match queue.recv().await {
            Some(news) => news,
            // The task never ends.
            None => std::future::pending().await,
        }
    }

    /// Says it to the others when the transaction commits.
    pub async fn tell(&self, db: &Connection, news: News) -> Result<()> {
        let by = self.instance.clone();
        let notice = serde_json::to_string(&Notice { by, news })?;
        // An id of this length is not ours: nobody waits for that answer. A JID is shorter.
        if notice.len() <= MAX_NOTICE {
            db.run(NOTIFY, &[&notice]).await?;
        }
        Ok(())
    }

    fn start(&self) -> Listening {
        let (sender, queue) = mpsc::channel(QUEUE);
        let missed = Arc::new(AtomicBool::new(false));
        let inbox = Inbox {
            instance: self.instance.clone(),
            queue: sender,
            missed: missed.clone(),
        };
        let task = tokio::spawn(listen(self.source.clone(), inbox));
        Listening {
            queue: Mutex::new(queue),
            missed,
            _task: AbortOnDropHandle::new(task),
        }
    }
}

/// Where the listening task puts what it hears.
struct Inbox {
    instance: String,
    queue: mpsc::Sender<News>,
    /// Something did not fit. It is seen with the next news, of which there are many then.
    missed: Arc<AtomicBool>,
}

impl Inbox {
    fn put(&self, news: News) {
        if self.queue.try_send(news).is_err() {
            self.missed.store(true, Ordering::Relaxed);
        }
    }

    fn hear(&self, notice: &str) {
        match serde_json::from_str::<Notice>(notice) {
            Ok(notice) if notice.by == self.instance => {}
            Ok(notice) => self.put(notice.news),
            // Of a newer version, perhaps.
            Err(_) => self.put(News::Rescan),
        }
    }
}

async fn listen(source: Source, inbox: Inbox) {
    let mut pause = FIRST_PAUSE;
    loop {
        let mut heard = false;
        let why = attend(&source, &inbox, &mut heard).await;
        if heard {
            warn!(
                why,
                "lost the connection that receives notifications from the other daemons"
            );
            pause = FIRST_PAUSE;
        } else {
            debug!(why, "no connection that listens to the other replicas");
        }
        sleep(pause).await;
        pause = (pause * 2).min(LAST_PAUSE);
    }
}

/// One connection's life; returns why it ended.
async fn attend(source: &Source, inbox: &Inbox, heard: &mut bool) -> String {
    let (client, mut connection) = match timeout(PATIENCE, source.connect()).await {
        Ok(Ok(connected)) => connected,
        Ok(Err(failure)) => return failure.to_string(),
        Err(_) => return "no connection in time".to_owned(),
    };
    let receive = pin!(async {
        loop {
            match poll_fn(|context| connection.poll_message(context)).await {
                Some(Ok(AsyncMessage::Notification(notice))) => inbox.hear(notice.payload()),
                Some(Ok(_)) => {}
                Some(Err(error)) => return words(error),
                None => return "closed".to_owned(),
            }
        }
    });
    let probe = pin!(async {
        let mut statement = LISTEN;
        loop {
            match timeout(PATIENCE, client.batch_execute(statement)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return words(error),
                Err(_) => return "no answer in time".to_owned(),
            }
            if !*heard {
                // Whatever was said before this is lost.
                inbox.put(News::Rescan);
                *heard = true;
            }
            statement = "";
            sleep(PROBE).await;
        }
    });
    tokio::select! {
        why = receive => why,
        why = probe => why,
    }
}

fn words(error: tokio_postgres::Error) -> String {
    PostgresFailure::from(error).to_string()
}

#[cfg(test)]
mod tests {
    use jid::Jid;

    use super::*;
    use crate::{link::Answer, model::time::Timestamp};

    fn inbox(size: usize) -> (Inbox, mpsc::Receiver<News>) {
        let (queue, receiver) = mpsc::channel(size);
        let inbox = Inbox {
            instance: "me".to_owned(),
            queue,
            missed: Arc::default(),
        };
        (inbox, receiver)
    }

    fn notice(by: &str, news: News) -> String {
        let by = by.to_owned();
        serde_json::to_string(&Notice { by, news }).unwrap()
    }

    #[test]
    fn news_come_out_as_they_were_put_in_unless_they_are_ones_own() {
        let (inbox, mut heard) = inbox(8);
        let owner = Jid::new("romeo@example.org/\"or\\chard\"").unwrap();
        let news = [
            News::Stored {
                owner: owner.clone(),
                try_at: Timestamp::from_secs(7),
            },
            News::Drained {
                owner: owner.clone(),
            },
            News::Answer {
                from: owner,
                id: "id".to_owned(),
                answer: Answer::Failed,
            },
        ];
        for news in &news {
            inbox.hear(&notice("me", news.clone()));
            inbox.hear(&notice("you", news.clone()));
        }
        inbox.hear("what a newer version says");
        inbox.hear(r#"{"by":"you","drained":{"owner":"@"}}"#);
        for news in news.into_iter().chain([News::Rescan, News::Rescan]) {
            assert_eq!(heard.try_recv().unwrap(), news);
        }
        assert!(heard.try_recv().is_err());
    }

    #[test]
    fn replicas_of_other_versions_read_the_same() {
        let owner = Jid::new("romeo@example.org/orchard").unwrap();
        let answer = News::Answer {
            from: owner.clone(),
            id: "id".to_owned(),
            answer: Answer::NotRegistered,
        };
        let try_at = Timestamp::from_secs(7);
        for (news, text) in [
            (
                News::Stored { owner, try_at },
                r#"{"by":"me","stored":{"owner":"romeo@example.org/orchard","try_at":7000}}"#,
            ),
            (
                answer,
                r#"{"by":"me","answer":{"from":"romeo@example.org/orchard","id":"id","answer":"not_registered"}}"#,
            ),
        ] {
            assert_eq!(notice("me", news), text);
        }
    }

    #[test]
    fn what_does_not_fit_is_noticed() {
        let (inbox, _news) = inbox(1);
        inbox.put(News::Rescan);
        assert!(!inbox.missed.load(Ordering::Relaxed));
        inbox.hear("anything");
        assert!(inbox.missed.load(Ordering::Relaxed));
    }

    #[test]
    fn the_longest_jid_fits_into_a_notice() {
        let (local, resource) = ("l".repeat(1023), "\"".repeat(1023));
        let owner = Jid::new(&format!("{local}@example.org/{resource}")).unwrap();
        let try_at = Timestamp::from_millis(u64::MAX);
        let notice = notice(&"0".repeat(36), News::Stored { owner, try_at });
        // With a domain as long as XMPP's rules have it, too.
        assert!(notice.len() + 1023 <= MAX_NOTICE, "{}", notice.len());
    }
}
