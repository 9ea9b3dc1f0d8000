//! The tokens that were opened lately: most of what a push costs is to authenticate one, or to look
//! it up, and apps get several pushes in a row.
//!
//! It holds what is true whatever the time and the revocations say: whoever opens a token looks at
//! these each time.

use std::{hash::Hasher, sync::Arc};

use hashlink::LruCache;
use siphasher::sip128::{Hasher128, SipHasher13};

use super::Format;
use crate::model::{
    random::{Random, random_array},
    registration::Registration,
    secret::KeyId,
    sync::Mutex,
    vapid::KeyHash,
};

/// How many bytes of memory the tokens may take that are remembered.
const BUDGET: usize = 32 << 20;

/// What one takes beside the text of its JID. `cargo bench --bench performance -- endpoints` measures it.
const ENTRY: usize = 256;

pub(super) struct Opened {
    /// Hashes tokens. Nobody else knows its key, so nobody can make up a token whose hash is another
    /// one's: a hash of 128 bits stands for its token, at a fifth of the memory.
    hasher: SipHasher13,
    known: Mutex<Known>,
}

struct Known {
    /// By the hashes of the tokens; authentic ones only.
    tokens: LruCache<u128, Content>,
    /// What they take.
    bytes: usize,
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
pub(super) struct Miss {
    hash: u128,
    changes: u64,
}

impl Content {
    fn bytes(&self) -> usize {
        ENTRY + self.endpoint.registration.owner.as_str().len()
    }
}

impl Opened {
    pub(super) fn new(random: &dyn Random) -> Self {
        Self {
            hasher: SipHasher13::new_with_key(&random_array(random)),
            known: Mutex::new(Known {
                tokens: LruCache::new_unbounded(),
                bytes: 0,
                changes: 0,
            }),
        }
    }

    pub(super) fn get(&self, token: &str) -> Result<Content, Miss> {
        let hash = self.hash(token);
        let known = &mut *self.known.lock();
        let changes = known.changes;
        let content = known.tokens.get(&hash).cloned();
        content.ok_or(Miss { hash, changes })
    }

    /// Remembers what the missed token says, unless something has changed since.
    pub(super) fn insert(&self, content: Content, miss: Miss) {
        let mut known = self.known.lock();
        if known.changes == miss.changes {
            known.insert(miss.hash, content);
        }
    }

    /// The store says something else now, or may.
    pub(super) fn forget(&self, token: &str) -> Miss {
        let hash = self.hash(token);
        let mut known = self.known.lock();
        known.remove(hash);
        known.changes += 1;
        let changes = known.changes;
        Miss { hash, changes }
    }

    /// The store may say something else now.
    pub(super) fn forget_all(&self) {
        let mut known = self.known.lock();
        known.tokens.clear();
        known.bytes = 0;
        known.changes += 1;
    }

    fn hash(&self, token: &str) -> u128 {
        let mut hasher = self.hasher;
        hasher.write(token.as_bytes());
        hasher.finish128().as_u128()
    }
}

impl Known {
    /// Makes room by forgetting what was not asked for longest.
    fn insert(&mut self, hash: u128, content: Content) {
        self.remove(hash);
        self.bytes += content.bytes();
        self.tokens.insert(hash, content);
        while self.bytes > BUDGET
            && let Some((_, oldest)) = self.tokens.remove_lru()
        {
            self.bytes -= oldest.bytes();
        }
    }

    fn remove(&mut self, hash: u128) {
        if let Some(content) = self.tokens.remove(&hash) {
            self.bytes -= content.bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use jid::Jid;

    use super::*;
    use crate::model::{
        random::SystemRandom, registration::Digest, secret::Secret, time::Timestamp,
    };
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

    fn opened() -> Opened {
        Opened::new(&SystemRandom)
    }

    fn miss(opened: &Opened, token: &str) -> Miss {
        opened.get(token).unwrap_err()
    }

    #[test]
    fn the_latest_are_kept_within_the_budget() {
        let opened = opened();
        let one = content();
        let room = BUDGET / one.bytes();
        for number in 0..=room {
            let token = number.to_string();
            opened.insert(one.clone(), miss(&opened, &token));
        }
        assert_eq!(opened.known.lock().tokens.len(), room);
        miss(&opened, "0");
        assert_eq!(opened.get("1"), Ok(one.clone()));

        // It was asked for last. A long JID takes the place of others.
        let mut long = one.clone();
        let owner = format!("romeo@example.org/{}", "x".repeat(1000));
        long.endpoint.registration = Arc::new(Registration {
            owner: Jid::new(&owner).unwrap(),
            ..Registration::clone(&one.endpoint.registration)
        });
        opened.insert(long.clone(), miss(&opened, "long"));
        assert_eq!(opened.get("1"), Ok(one));
        for forgotten in ["2", "3", "4"] {
            miss(&opened, forgotten);
        }
        assert!(opened.known.lock().bytes <= BUDGET);

        for token in ["long", "5", "nothing"] {
            opened.forget(token);
        }
        let known = opened.known.lock();
        let bytes = known.tokens.iter().map(|(_, content)| content.bytes());
        assert_eq!(known.bytes, bytes.sum::<usize>());
    }

    #[test]
    fn what_has_changed_is_forgotten_even_while_it_is_read() {
        let opened = opened();
        let reading = miss(&opened, "token");
        opened.forget("token");
        opened.insert(content(), reading);
        let reading = miss(&opened, "token");
        opened.insert(content(), reading);
        assert_eq!(opened.get("token"), Ok(content()));
        opened.forget("token");
        let reading = miss(&opened, "token");
        opened.forget_all();
        opened.insert(content(), reading);
        miss(&opened, "token");
    }
}
