//! The stateless tokens that were opened lately: most of what a push costs is to authenticate one,
//! and apps get several pushes in a row.
//!
//! It holds what was authentic for good, whatever the time and the revocations say: whoever opens a
//! token looks at these each time.

use std::{
    hash::RandomState,
    sync::{Mutex, PoisonError},
};

use hashlink::LruCache;

use crate::{registration::Registration, secret::KeyId};

/// A token has some 400 bytes in general, at most [`MAX_TOKEN`](super::MAX_TOKEN): 3 MiB in all, or
/// 20 MiB at the worst.
const CAPACITY: usize = 4096;

pub(super) struct Opened(Mutex<LruCache<String, Content, RandomState>>);

/// What a token says, and the secret that it rests on.
type Content = (KeyId, Registration);

impl Default for Opened {
    fn default() -> Self {
        Self(Mutex::new(LruCache::with_hasher(
            CAPACITY,
            RandomState::new(),
        )))
    }
}

impl Opened {
    /// Opens a token unless that was done lately.
    pub(super) fn get_or(
        &self,
        token: &str,
        open: impl FnOnce() -> Option<Content>,
    ) -> Option<Content> {
        if let Some(known) = self.with(|tokens| tokens.get(token).cloned()) {
            return Some(known);
        }
        let content = open()?;
        self.with(|tokens| tokens.insert(token.to_owned(), content.clone()));
        Some(content)
    }

    fn with<T>(&self, work: impl FnOnce(&mut LruCache<String, Content, RandomState>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use jid::Jid;

    use super::*;
    use crate::{clock::Timestamp, registration::Digest, secret::Secret};

    fn content() -> Content {
        let registration = Registration {
            owner: Jid::new("romeo@example.org/orchard").unwrap(),
            application: Digest::from_bytes([1; 32]),
            instance: Digest::from_bytes([2; 32]),
            issued: Timestamp::from_secs(1),
            expires: Timestamp::from_secs(2),
        };
        (Secret::new([7; 32]).id(), registration)
    }

    #[test]
    fn what_is_authentic_is_opened_once_and_what_is_not_is_forgotten() {
        let opened = Opened::default();
        assert_eq!(opened.get_or("token", || None), None);
        assert_eq!(opened.get_or("token", || Some(content())), Some(content()));
        assert_eq!(opened.get_or("token", || None), Some(content()));
        assert_eq!(opened.get_or("tokens", || None), None);
    }

    #[test]
    fn the_latest_are_kept() {
        let opened = Opened::default();
        for number in 0..=CAPACITY {
            opened.get_or(&number.to_string(), || Some(content()));
        }
        assert_eq!(opened.with(|tokens| tokens.len()), CAPACITY);
        assert_eq!(opened.get_or("0", || None), None);
        assert_eq!(opened.get_or("1", || None), Some(content()));
    }
}
