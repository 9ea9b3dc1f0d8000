//! What replicas say to each other, by LISTEN and NOTIFY. Nothing rests on it: each looks by itself
//! for what was stored, and [`News::Rescan`] asks for a look at all that waits.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jid::Jid;
use tokio::{
    sync::{Mutex, Notify, mpsc},
    time::{sleep, timeout},
};
use tokio_postgres::{AsyncMessage, error::SqlState};
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info, warn};

use super::{account, failure::PostgresFailure, queue, source::Source, tell::Notice, work::Work};
use crate::{
    model::sync::Current,
    store::messages::{News, Silence},
};

const LISTEN: &str = "LISTEN unified_push";
const NOTIFY: &str = "NOTIFY unified_push";

/// A queue that was full stays so, though nothing holds it any more, until somebody asks for this.
const EMPTY: &str = "SELECT pg_notification_queue_usage()";

/// How many news may wait for the daemon. Beyond it they are dropped, and it looks itself.
const QUEUE: usize = 1024;

/// Between two attempts to connect. What is said meanwhile is lost, and phones' answers with it.
const PAUSE: Duration = Duration::from_secs(1);

/// How often a connection is tried by a notification to itself, and how long that may take.
const PROBE: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(3);

/// Between two looks. Longer than whoever stores a message waits for the commit: what an earlier
/// look found numbered has been committed by the next one, or nobody was told that it is stored.
const LOOK: Duration = Duration::from_secs(4);

/// How many of the messages that have numbers when the first look is taken may not be seen yet.
const STILL_COMMITTED: i64 = 2000;

/// Starts to listen when it is asked for news first: the command line never does.
pub struct Listener {
    source: Source,
    /// This replica's name, random.
    instance: String,
    work: Arc<Work>,
    listening: OnceLock<Listening>,
    silence: Arc<Current<Option<Silence>>>,
}

struct Listening {
    queue: Mutex<mpsc::Receiver<News>>,
    missed: Arc<AtomicBool>,
    _listens: AbortOnDropHandle<()>,
    _looks: AbortOnDropHandle<()>,
}

impl Listener {
    pub fn new(source: Source, instance: String, work: Arc<Work>) -> Self {
        Self {
            source,
            instance,
            work,
            listening: OnceLock::new(),
            silence: Arc::default(),
        }
    }

    /// Why what is said does not arrive; None until it is tried.
    pub fn silence(&self) -> Option<Silence> {
        *self.silence.read()
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

    fn start(&self) -> Listening {
        let (sender, queue) = mpsc::channel(QUEUE);
        let missed = Arc::new(AtomicBool::new(false));
        let inbox = Arc::new(Inbox {
            instance: self.instance.clone(),
            queue: sender,
            missed: missed.clone(),
            echo: Notify::new(),
            silence: self.silence.clone(),
        });
        let listens = tokio::spawn(listen(self.source.clone(), inbox.clone()));
        let looks = tokio::spawn(look(self.work.clone(), inbox));
        Listening {
            queue: Mutex::new(queue),
            missed,
            _listens: AbortOnDropHandle::new(listens),
            _looks: AbortOnDropHandle::new(looks),
        }
    }
}

/// Where the tasks put what they hear and find.
struct Inbox {
    instance: String,
    queue: mpsc::Sender<News>,
    /// Something did not fit. It is seen with the next news, of which there are many then.
    missed: Arc<AtomicBool>,
    /// It has heard itself.
    echo: Notify,
    silence: Arc<Current<Option<Silence>>>,
}

impl Inbox {
    fn put(&self, news: News) {
        if self.queue.try_send(news).is_err() {
            self.missed.store(true, Ordering::Relaxed);
        }
    }

    /// Notes why nothing arrives; returns what was noted before.
    fn note(&self, silence: Option<Silence>) -> Option<Silence> {
        let before = *self.silence.read();
        self.silence.set(silence);
        before
    }

    fn hear(&self, notice: &str) {
        match serde_json::from_str::<Notice>(notice) {
            Ok(notice) if notice.by == self.instance => self.echo.notify_one(),
            Ok(notice) => notice.news.into_iter().for_each(|news| self.put(news)),
            // Of a newer version, perhaps.
            Err(_) => self.put(News::Rescan),
        }
    }
}

/// Finds what was stored and not heard of, and says so as whoever stored it would have done.
async fn look(work: Arc<Work>, inbox: Arc<Inbox>) {
    // What the last look but one, and the last one, found numbered.
    let mut seen: Option<[i64; 2]> = None;
    loop {
        let found = work.single(async |db| {
            let last = queue::last_number(db).await?;
            let mut owners: Vec<Jid> = Vec::new();
            if let Some([from, to]) = seen {
                owners = queue::owners_between(db, from, to).await?;
            }
            Ok((last, owners))
        });
        match found.await {
            Ok((last, owners)) => {
                seen = Some([seen.map_or(last - STILL_COMMITTED, |[_, to]| to), last]);
                if !owners.is_empty() {
                    inbox.put(News::Found { owners });
                }
            }
            Err(error) => debug!(%error, "what other daemons have stored could not be looked for"),
        }
        sleep(LOOK).await;
    }
}

async fn listen(source: Source, inbox: Arc<Inbox>) {
    loop {
        let mut heard = false;
        let why = attend(&source, &inbox, &mut heard).await;
        match why {
            Why::Silent(silence) if inbox.note(Some(silence)) != Some(silence) => warn!(
                "notifications from the other daemons {}: messages that they store are found some \
                 seconds later. {}",
                silence.reason(),
                remedy(silence)
            ),
            Why::Silent(_) => debug!("notifications still do not arrive"),
            Why::Lost(why) if heard && inbox.silence.read().is_none() => warn!(
                why,
                "lost the connection that receives notifications from the other daemons"
            ),
            Why::Lost(why) => debug!(why, "no connection that listens to the other replicas"),
        }
        sleep(PAUSE).await;
    }
}

fn remedy(silence: Silence) -> &'static str {
    match silence {
        Silence::Pooled => {
            "Have the pooler use session mode, or let store.url name PostgreSQL itself"
        }
        Silence::QueueFull => {
            "A session that listens has kept a transaction open for long: end it (the server's log names \
             it, and pg_stat_activity)"
        }
    }
}

enum Why {
    /// The server answers, and what is said does not arrive.
    Silent(Silence),
    Lost(String),
}

impl From<tokio_postgres::Error> for Why {
    fn from(error: tokio_postgres::Error) -> Self {
        // Of a statement that notifies, this says that the queue is full.
        match error.code() {
            Some(&SqlState::PROGRAM_LIMIT_EXCEEDED) => Self::Silent(Silence::QueueFull),
            _ => Self::Lost(PostgresFailure::from(error).to_string()),
        }
    }
}

/// One connection's life; returns why it ended. `heard` says that it has heard itself.
async fn attend(source: &Source, inbox: &Inbox, heard: &mut bool) -> Why {
    let (client, mut connection) = match timeout(PATIENCE, source.connect()).await {
        Ok(Ok(connected)) => connected,
        Ok(Err(failure)) => return Why::Lost(failure.to_string()),
        Err(_) => return Why::Lost("no connection in time".to_owned()),
    };
    let receive = pin!(async {
        loop {
            match poll_fn(|context| connection.poll_message(context)).await {
                Some(Ok(AsyncMessage::Notification(notice))) => inbox.hear(notice.payload()),
                Some(Ok(_)) => {}
                Some(Err(error)) => return error.into(),
                None => return Why::Lost("closed".to_owned()),
            }
        }
    });
    let (by, news) = (inbox.instance.clone(), Vec::new());
    let to_itself = serde_json::to_string(&Notice { by, news }).unwrap_or_default();
    let to_itself = format!("{NOTIFY}, '{to_itself}'");
    let lives = account::live(account::number_of_daemon(&inbox.instance));
    let begin = format!("{lives}; {LISTEN}; {EMPTY}");
    let probe = pin!(async {
        let mut statement = &begin;
        loop {
            match timeout(PATIENCE, client.batch_execute(statement)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return error.into(),
                Err(_) => return Why::Lost("no answer in time".to_owned()),
            }
            if statement == &begin {
                // Whatever was said before this is lost.
                inbox.put(News::Rescan);
                statement = &to_itself;
                continue;
            }
            if timeout(PATIENCE, inbox.echo.notified()).await.is_err() {
                return Why::Silent(Silence::Pooled);
            }
            *heard = true;
            if inbox.note(None).is_some() {
                info!("notifications from the other daemons arrive again");
            }
            sleep(PROBE).await;
        }
    });
    tokio::select! {
        why = receive => why,
        why = probe => why,
    }
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
            echo: Notify::new(),
            silence: Arc::default(),
        };
        (inbox, receiver)
    }

    fn notice(by: &str, news: News) -> String {
        let (by, news) = (by.to_owned(), vec![news]);
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
        inbox.hear(r#"{"by":"you","news":[{"drained":{"owner":"@"}}]}"#);
        for news in news.into_iter().chain([News::Rescan, News::Rescan]) {
            assert_eq!(heard.try_recv().unwrap(), news);
        }
        assert!(heard.try_recv().is_err());
    }

    #[test]
    fn what_does_not_fit_is_noticed() {
        let (inbox, _news) = inbox(1);
        inbox.put(News::Rescan);
        assert!(!inbox.missed.load(Ordering::Relaxed));
        inbox.hear("anything");
        assert!(inbox.missed.load(Ordering::Relaxed));
    }
}
