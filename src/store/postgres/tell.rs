//! What this replica says to the others, by NOTIFY: after the commit and in a transaction of its
//! own, which needs no disk. In one that writes, NOTIFY holds a lock of the whole cluster while the
//! commit waits for the disk, and so each commit would wait for it alone.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tracing::debug;

use super::{
    failure::{PostgresFailure, Result},
    pool::Connection,
    work::Work,
};
use crate::store::{error::StoreResult, messages::News};

const NOTIFY: &str =
    "SELECT count(pg_notify('unified_push', notice)) FROM unnest($1::text[]) AS notice";

/// PostgreSQL takes less than 8000 bytes.
const MAX_NOTICE: usize = 7999;

/// How many news may wait. Beyond it they are dropped: the others look by themselves.
const QUEUE: usize = 4096;
const MAX_BATCH: usize = 512;

/// News as they travel, in JSON.
#[derive(Serialize, Deserialize)]
pub struct Notice {
    /// Who says it; a replica knows what it says itself.
    pub by: String,
    pub news: Vec<News>,
}

/// Ends with its last handle.
pub struct Teller {
    queue: mpsc::Sender<News>,
    work: Arc<Work>,
    instance: String,
}

impl Teller {
    pub fn start(work: Arc<Work>, instance: String) -> Self {
        let (queue, news) = mpsc::channel(QUEUE);
        tokio::spawn(tell_all(news, work.clone(), instance.clone()));
        Self {
            queue,
            work,
            instance,
        }
    }

    /// Says it soon.
    pub fn tell(&self, news: News) {
        // What is lost delays, and strands nothing.
        let _ = self.queue.try_send(news);
    }

    /// Has said it.
    pub async fn tell_now(&self, news: News) -> StoreResult<()> {
        let said = self
            .work
            .single(async |db| notify(db, &self.instance, &[news]).await);
        said.await
    }
}

async fn tell_all(mut queue: mpsc::Receiver<News>, work: Arc<Work>, instance: String) {
    let mut news = Vec::with_capacity(MAX_BATCH);
    while queue.recv_many(&mut news, MAX_BATCH).await > 0 {
        let said = work.single(async |db| notify(db, &instance, &news).await);
        if let Err(error) = said.await {
            debug!(%error, "the other daemons could not be notified");
        }
        news.clear();
    }
}

async fn notify(db: &Connection, by: &str, news: &[News]) -> Result<()> {
    let notices = notices(by, news).map_err(PostgresFailure::from)?;
    if !notices.is_empty() {
        db.run(NOTIFY, &[&notices]).await?;
    }
    Ok(())
}

/// As few as PostgreSQL takes.
fn notices(by: &str, news: &[News]) -> serde_json::Result<Vec<String>> {
    let empty = serde_json::to_string(&Notice {
        by: by.to_owned(),
        news: Vec::new(),
    })?;
    let start = empty.trim_end_matches("]}");
    let mut notices: Vec<String> = Vec::new();
    for news in news {
        let news = serde_json::to_string(news)?;
        match notices.last_mut() {
            Some(last) if last.len() + news.len() + ",]}".len() <= MAX_NOTICE => {
                last.push(',');
                last.push_str(&news);
            }
            // An id of this length is not ours: nobody waits for that answer. A JID is shorter.
            _ if start.len() + news.len() + "]}".len() > MAX_NOTICE => {}
            _ => notices.push(format!("{start}{news}")),
        }
    }
    for notice in &mut notices {
        notice.push_str("]}");
    }
    Ok(notices)
}

#[cfg(test)]
mod tests {
    use jid::Jid;

    use super::*;
    use crate::{link::Answer, model::time::Timestamp};

    fn stored(owner: &str, try_at: Timestamp) -> News {
        let owner = Jid::new(owner).unwrap();
        News::Stored { owner, try_at }
    }

    #[test]
    fn replicas_of_other_versions_read_the_same() {
        let answer = News::Answer {
            from: Jid::new("romeo@example.org/orchard").unwrap(),
            id: "id".to_owned(),
            answer: Answer::NotRegistered,
        };
        let stored = stored("romeo@example.org/orchard", Timestamp::from_secs(7));
        assert_eq!(
            notices("me", &[stored, answer]).unwrap(),
            [concat!(
                r#"{"by":"me","news":["#,
                r#"{"stored":{"owner":"romeo@example.org/orchard","try_at":7000}},"#,
                r#"{"answer":{"from":"romeo@example.org/orchard","id":"id","answer":"not_registered"}}"#,
                "]}"
            )]
        );
    }

    #[test]
    fn many_news_share_notices_and_none_is_lost() {
        let news: Vec<News> = (0..1000)
            .map(|number| {
                stored(
                    &format!("user{number}@example.org/\"x\""),
                    Timestamp::from_secs(7),
                )
            })
            .collect();
        let notices = notices("me", &news).unwrap();
        assert!(notices.len() < 15, "{}", notices.len());
        assert!(notices.iter().all(|notice| notice.len() <= MAX_NOTICE));
        let read = notices
            .iter()
            .map(|notice| serde_json::from_str::<Notice>(notice).unwrap());
        let read: Vec<News> = read.flat_map(|notice| notice.news).collect();
        assert_eq!(read, news);
    }

    #[test]
    fn what_is_too_long_is_left_out_alone() {
        let from = Jid::new("romeo@example.org/orchard").unwrap();
        let answer = |id: String| News::Answer {
            from: from.clone(),
            id,
            answer: Answer::Failed,
        };
        let news = [
            answer("first".to_owned()),
            answer("x".repeat(9000)),
            answer("last".to_owned()),
        ];
        let [notice] = &notices("me", &news).unwrap()[..] else {
            panic!("not one notice")
        };
        let read: Notice = serde_json::from_str(notice).unwrap();
        assert_eq!(read.news, [news[0].clone(), news[2].clone()]);
    }

    #[test]
    fn the_longest_jid_fits_into_a_notice() {
        let (local, resource) = ("l".repeat(1023), "\"".repeat(1023));
        let owner = format!("{local}@example.org/{resource}");
        let longest = stored(&owner, Timestamp::from_millis(u64::MAX));
        let [notice] = &notices(&"0".repeat(36), &[longest]).unwrap()[..] else {
            panic!("not one notice")
        };
        // With a domain as long as XMPP's rules have it, too.
        assert!(notice.len() + 1023 <= MAX_NOTICE, "{}", notice.len());
    }
}
