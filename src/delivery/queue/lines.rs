//! A line for each account, so that one that gets very many messages does not stand before all others:
//! only so many of an account's are with the store at a time.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use hashlink::DefaultHashBuilder;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use crate::model::sync::Mutex;

/// How many messages of one account the store is asked to keep at a time. They share a commit with those
/// of others, which wait for all that is in it: few enough that nobody notices, and enough that a
/// single account gets more than a thousand messages a second where a commit takes ten milliseconds.
const PLACES: usize = 16;

/// The lines that somebody stands in.
#[derive(Default)]
pub struct Lines {
    /// By the account's hash; the keys are hashes already.
    of_account: Mutex<HashMap<u64, Line, DefaultHashBuilder>>,
    hasher: RandomState,
}

struct Line {
    places: Arc<Semaphore>,
    /// Who waits for a place or has one.
    people: usize,
}

/// The front of a line, until it is dropped.
pub struct Place<'a> {
    _permit: OwnedSemaphorePermit,
    _standing: Standing<'a>,
}

struct Standing<'a> {
    lines: &'a Lines,
    account: u64,
}

impl Lines {
    /// Waits behind those who came before for the same account.
    pub async fn stand(&self, account: &str) -> Result<Place<'_>, AcquireError> {
        let account = self.hasher.hash_one(account);
        let places = self.enter(account);
        let standing = Standing {
            lines: self,
            account,
        };
        Ok(Place {
            _permit: places.acquire_owned().await?,
            _standing: standing,
        })
    }

    fn enter(&self, account: u64) -> Arc<Semaphore> {
        let mut of_account = self.of_account.lock();
        let line = of_account.entry(account).or_insert_with(|| Line {
            places: Arc::new(Semaphore::new(PLACES)),
            people: 0,
        });
        line.people += 1;
        line.places.clone()
    }
}

/// Whoever no longer waits leaves the line as well.
impl Drop for Standing<'_> {
    fn drop(&mut self) {
        let mut of_account = self.lines.of_account.lock();
        if let Entry::Occupied(mut line) = of_account.entry(self.account) {
            line.get_mut().people -= 1;
            if line.get().people == 0 {
                line.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, future::join_all};

    use super::*;

    #[test]
    fn one_account_does_not_stand_before_another() {
        let lines = Lines::default();
        let all = join_all((0..PLACES).map(|_| lines.stand("romeo@montague.example")));
        let mut first = all.now_or_never().unwrap();
        assert!(
            lines
                .stand("romeo@montague.example")
                .now_or_never()
                .is_none()
        );
        assert!(
            lines
                .stand("juliet@capulet.example")
                .now_or_never()
                .is_some()
        );
        first.pop();
        assert!(
            lines
                .stand("romeo@montague.example")
                .now_or_never()
                .is_some()
        );
    }

    #[test]
    fn those_of_one_account_keep_their_order() {
        let lines = Lines::default();
        let all = join_all((0..PLACES).map(|_| lines.stand("romeo@montague.example")));
        let mut first = all.now_or_never().unwrap();
        let mut earlier = Box::pin(lines.stand("romeo@montague.example"));
        let mut later = Box::pin(lines.stand("romeo@montague.example"));
        assert!(earlier.as_mut().now_or_never().is_none());
        assert!(later.as_mut().now_or_never().is_none());
        first.pop();
        assert!(later.as_mut().now_or_never().is_none());
        assert!(earlier.as_mut().now_or_never().is_some());
    }

    #[test]
    fn a_line_that_nobody_stands_in_is_forgotten() {
        let lines = Lines::default();
        let all = join_all((0..=PLACES).map(|_| lines.stand("romeo@montague.example")));
        assert!(all.now_or_never().is_none());
        assert!(lines.of_account.lock().is_empty());
    }
}
