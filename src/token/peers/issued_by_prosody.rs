//! Whether the store has what Prosody's back end `storage` has issued. Until something is imported, a
//! made-up name costs no look-up of its own.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use tokio::sync::Mutex;

use super::prosody_ids;
use crate::store::{Store, StoreError};

#[derive(Default)]
pub struct IssuedByProsody {
    /// It has, as far as is known.
    known: AtomicBool,
    /// How many questions have begun.
    begun: AtomicU64,
    last: Mutex<Answered>,
}

/// What the store said to a question, which has a number.
struct Answered {
    question: u64,
    has: Result<bool, StoreError>,
}

impl Default for Answered {
    fn default() -> Self {
        Self {
            question: 0,
            has: Ok(false),
        }
    }
}

impl IssuedByProsody {
    /// False only when the store says so now: another process may have imported a moment ago, and
    /// senders take a 404 for final.
    pub async fn may_be_known(&self, store: &Store) -> Result<bool, StoreError> {
        self.ask(async || {
            let issuers = store.issuers().await?;
            Ok(issuers.iter().any(|issuer| issuer.key == prosody_ids::KEY))
        })
        .await
    }

    /// The store may say something else now.
    pub fn forget(&self) {
        self.known.store(false, Relaxed);
    }

    /// One question at a time, however many names are made up: whoever comes meanwhile shares the
    /// next one, which has begun after all of them came.
    async fn ask(
        &self,
        question: impl AsyncFnOnce() -> Result<bool, StoreError>,
    ) -> Result<bool, StoreError> {
        if self.known.load(Relaxed) {
            return Ok(true);
        }
        let before = self.begun.load(Relaxed);
        let mut last = self.last.lock().await;
        if last.question <= before {
            let number = self.begun.fetch_add(1, Relaxed) + 1;
            let has = question().await;
            self.known.store(matches!(has, Ok(true)), Relaxed);
            *last = Answered {
                question: number,
                has,
            };
        }
        last.has.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures::future::join_all;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn names_that_are_made_up_at_once_share_a_question() {
        let issued = IssuedByProsody::default();
        let (asked, (go, gone)) = (Cell::new(0), oneshot::channel::<()>());
        let first = issued.ask(async || {
            asked.set(asked.get() + 1);
            gone.await.unwrap();
            Ok(false)
        });
        let others = async {
            tokio::task::yield_now().await;
            // An import comes between the first question and these.
            let guess = || {
                issued.ask(async || {
                    asked.set(asked.get() + 1);
                    Ok(true)
                })
            };
            let all = join_all((0..1000).map(|_| guess()));
            let release = async {
                tokio::task::yield_now().await;
                go.send(()).unwrap();
            };
            tokio::join!(all, release).0
        };
        let (first, others) = tokio::join!(first, others);
        assert!(!first.unwrap());
        assert!(others.into_iter().all(|has| has.unwrap()));
        assert_eq!(asked.get(), 2);
    }

    #[tokio::test]
    async fn who_gives_up_answers_for_nobody() {
        let issued = IssuedByProsody::default();
        {
            let mut given_up =
                Box::pin(issued.ask(std::future::pending::<Result<bool, StoreError>>));
            assert!(futures::poll!(&mut given_up).is_pending());
        }
        assert!(issued.ask(async || Ok(true)).await.unwrap());
    }

    #[tokio::test]
    async fn a_no_is_asked_for_again_and_a_yes_is_not() {
        let issued = IssuedByProsody::default();
        assert!(!issued.ask(async || Ok(false)).await.unwrap());
        assert!(issued.ask(async || Err(StoreError::Busy)).await.is_err());
        assert!(issued.ask(async || Ok(true)).await.unwrap());
        assert!(issued.ask(async || panic!("it is known")).await.unwrap());
        issued.forget();
        assert!(!issued.ask(async || Ok(false)).await.unwrap());
    }
}
