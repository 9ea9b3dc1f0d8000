//! The tokens that were opened lately: most of what a push costs is to authenticate one, or to look
//! it up, and apps get several pushes in a row.
//!
//! It holds what is true whatever the time and the revocations say: whoever opens a token looks at
//! these each time.

use std::sync::Arc;

use hashlink::LruCache;

use super::Format;
use crate::model::sync::Mutex;
use crate::model::{registration::Registration, secret::KeyId, vapid::KeyHash};

/// A token has some 260 bytes in general, at most [`MAX_TOKEN`](super::MAX_TOKEN): 2 MiB in all, or
/// 20 MiB at the worst.
const CAPACITY: usize = 4096;

pub(super) struct Opened(Mutex<Known>);

struct Known {
    /// Only authentic ones, so that nobody can choose some whose hashes collide.
    tokens: LruCache<String, Content>,
    /// How often something was forgotten because it has changed.
    changes: u64,
}

/// What a token says, and the secret that it rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Content {
    pub format: Format,
    pub key: KeyId,
    pub endpoint: Endpoint,
}

/// What an endpoint stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub registration: Arc<Registration>,
    /// The only key that may sign messages to it; None: it takes what nobody has signed.
    pub signer: Option<KeyHash>,
}

/// A token was not known when so much had changed: what is read from the store may be older than
/// the next change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Miss(u64);

impl Default for Opened {
    fn default() -> Self {
        Self(Mutex::new(Known {
            tokens: LruCache::new(CAPACITY),
            changes: 0,
        }))
    }
}

impl Opened {
    pub(super) fn get(&self, token: &str) -> Result<Content, Miss> {
        self.with(|known| {
            let content = known.tokens.get(token).cloned();
            content.ok_or(Miss(known.changes))
        })
    }

    /// Remembers what a token says, unless something has changed since the miss.
    pub(super) fn insert(&self, token: &str, content: Content, miss: Miss) {
        self.with(|known| {
            if known.changes == miss.0 {
                known.tokens.insert(token.to_owned(), content);
            }
        });
    }

    /// The store says something else now, or may.
    pub(super) fn forget(&self, token: &str) -> Miss {
        self.with(|known| {
            known.tokens.remove(token);
            known.changes += 1;
            Miss(known.changes)
        })
    }

    /// The store may say something else now.
    pub(super) fn forget_all(&self) {
        self.with(|known| {
            known.tokens.clear();
            known.changes += 1;
        });
    }

    fn with<T>(&self, work: impl FnOnce(&mut Known) -> T) -> T {
        work(&mut self.0.lock())
    }
}

#[cfg(test)]
mod tests {
    use jid::Jid;

    use super::*;
    use crate::model::{registration::Digest, secret::Secret, time::Timestamp};
    use crate::token::Backend;

    fn content() -> Content {
        Content {
            format: Format::Own(Backend::Paseto),
            key: Secret::new([7; 32]).id(),
            endpoint: Endpoint {
                registration: Arc::new(Registration {
                    owner: Jid::new("romeo@example.org/orchard").unwrap(),
                    application: Digest::from_bytes([1; 32]),
                    instance: Digest::from_bytes([2; 32]),
                    issued: Timestamp::from_secs(1),
                    expires: Timestamp::from_secs(2),
                }),
                signer: None,
            },
        }
    }

    fn miss(opened: &Opened, token: &str) -> Miss {
        opened.get(token).unwrap_err()
    }

    #[test]
    fn the_latest_are_kept() {
        let opened = Opened::default();
        for number in 0..=CAPACITY {
            let token = number.to_string();
            opened.insert(&token, content(), miss(&opened, &token));
        }
        assert_eq!(opened.with(|known| known.tokens.len()), CAPACITY);
        miss(&opened, "0");
        assert_eq!(opened.get("1"), Ok(content()));
    }

    #[test]
    fn what_has_changed_is_forgotten_even_while_it_is_read() {
        let opened = Opened::default();
        let reading = miss(&opened, "token");
        opened.forget("token");
        opened.insert("token", content(), reading);
        let reading = miss(&opened, "token");
        opened.insert("token", content(), reading);
        assert_eq!(opened.get("token"), Ok(content()));
        opened.forget("token");
        let reading = miss(&opened, "token");
        opened.forget_all();
        opened.insert("token", content(), reading);
        miss(&opened, "token");
    }
}
