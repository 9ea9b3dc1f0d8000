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

use jid::Jid;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{Mutex, mpsc},
    time::{sleep, timeout},
};
use tokio_postgres::AsyncMessage;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, warn};

use super::{
    failure::{DatabaseError, Result},
    pool::{Connection, Source},
};
use crate::{link::Answer, model::time::Timestamp, store::messages::News};

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

/// As it travels, in JSON.
#[derive(Serialize, Deserialize)]
struct Letter {
    /// Who says it; a replica does not listen to itself.
    by: String,
    #[serde(flatten)]
    notice: Notice,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    Stored {
        owner: String,
        try_at: u64,
    },
    Drained {
        owner: String,
    },
    Answer {
        from: String,
        id: String,
        answer: Word,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    Acknowledged,
    NotRegistered,
    Unreachable,
    Failed,
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
    pub async fn tell(&self, db: &Connection, notice: Notice) -> Result<()> {
        let by = self.instance.clone();
        let letter = serde_json::to_string(&Letter { by, notice })?;
        // An id of this length is not ours: nobody waits for that answer. A JID is shorter.
        if letter.len() <= MAX_NOTICE {
            db.run(NOTIFY, &[&letter]).await?;
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

    fn hear(&self, letter: &str) {
        let news = match serde_json::from_str::<Letter>(letter) {
            Ok(letter) if letter.by == self.instance => return,
            Ok(letter) => letter.notice.open(),
            // Of a newer version, perhaps.
            Err(_) => None,
        };
        self.put(news.unwrap_or(News::Rescan));
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
                "the connection that listens to the other replicas is lost"
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
        Ok(Err(error)) => return words(error),
        Err(_) => return "no connection in time".to_owned(),
    };
    let receive = pin!(async {
        loop {
            match poll_fn(|context| connection.poll_message(context)).await {
                Some(Ok(AsyncMessage::Notification(letter))) => inbox.hear(letter.payload()),
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
    DatabaseError::from(error).to_string()
}

impl Notice {
    pub fn stored(owner: &Jid, try_at: Timestamp) -> Self {
        Self::Stored {
            owner: owner.to_string(),
            try_at: try_at.as_millis(),
        }
    }

    pub fn drained(owner: &Jid) -> Self {
        Self::Drained {
            owner: owner.to_string(),
        }
    }

    pub fn answer(from: &Jid, id: &str, answer: Answer) -> Self {
        Self::Answer {
            from: from.to_string(),
            id: id.to_owned(),
            answer: match answer {
                Answer::Acknowledged => Word::Acknowledged,
                Answer::NotRegistered => Word::NotRegistered,
                Answer::Unreachable => Word::Unreachable,
                Answer::Failed => Word::Failed,
            },
        }
    }

    /// None when a JID is none.
    fn open(self) -> Option<News> {
        let jid = |text: &str| Jid::new(text).ok();
        Some(match self {
            Self::Stored { owner, try_at } => News::Stored {
                owner: jid(&owner)?,
                try_at: Timestamp::from_millis(try_at),
            },
            Self::Drained { owner } => News::Drained {
                owner: jid(&owner)?,
            },
            Self::Answer { from, id, answer } => News::Answer {
                from: jid(&from)?,
                id,
                answer: match answer {
                    Word::Acknowledged => Answer::Acknowledged,
                    Word::NotRegistered => Answer::NotRegistered,
                    Word::Unreachable => Answer::Unreachable,
                    Word::Failed => Answer::Failed,
                },
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inbox(size: usize) -> (Inbox, mpsc::Receiver<News>) {
        let (queue, receiver) = mpsc::channel(size);
        let inbox = Inbox {
            instance: "me".to_owned(),
            queue,
            missed: Arc::default(),
        };
        (inbox, receiver)
    }

    fn letter(by: &str, notice: Notice) -> String {
        let by = by.to_owned();
        serde_json::to_string(&Letter { by, notice }).unwrap()
    }

    #[test]
    fn a_letter_comes_out_as_it_was_put_in_unless_it_is_ones_own() {
        let (inbox, mut news) = inbox(8);
        let owner = Jid::new("romeo@example.org/\"or\\chard\"").unwrap();
        let try_at = Timestamp::from_secs(7);
        inbox.hear(&letter("me", Notice::drained(&owner)));
        inbox.hear(&letter("you", Notice::stored(&owner, try_at)));
        inbox.hear(&letter("you", Notice::drained(&owner)));
        inbox.hear(&letter("you", Notice::answer(&owner, "id", Answer::Failed)));
        inbox.hear("what a newer version says");
        inbox.hear(&letter("you", Notice::Drained { owner: "@".into() }));
        let (from, id) = (owner.clone(), "id".to_owned());
        let answer = Answer::Failed;
        let expected = [
            News::Stored {
                owner: owner.clone(),
                try_at,
            },
            News::Drained { owner },
            News::Answer { from, id, answer },
            News::Rescan,
            News::Rescan,
        ];
        for expected in expected {
            assert_eq!(news.try_recv().unwrap(), expected);
        }
        assert!(news.try_recv().is_err());
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
    fn the_longest_jid_fits_into_a_letter() {
        let (local, resource) = ("l".repeat(1023), "\"".repeat(1023));
        let owner = Jid::new(&format!("{local}@example.org/{resource}")).unwrap();
        let by = "0".repeat(36);
        let letter = letter(
            &by,
            Notice::stored(&owner, Timestamp::from_millis(u64::MAX)),
        );
        // With a domain as long as XMPP's rules have it, too.
        assert!(letter.len() + 1023 <= MAX_NOTICE, "{}", letter.len());
    }
}
