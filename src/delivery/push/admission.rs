//! What may be in flight: how often an endpoint is pushed to, and how much memory its pushes take.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use hashlink::DefaultHashBuilder;
use prometheus::IntGauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    delivery::Outcome,
    metrics::Metrics,
    model::{
        payload::Payload,
        rate::{Limiter, Rate},
        registration::Registration,
        sync::{Current, Mutex},
    },
};

/// Bytes that a push in flight is counted for beside its payload: its stanza's envelope, the
/// registration and the table's entry.
pub const OVERHEAD: usize = 1024;

/// The keys are hashes already.
type OfAccount = Mutex<HashMap<u64, usize, DefaultHashBuilder>>;

/// What may be in flight.
pub struct Admission {
    endpoint_rate: Limiter,
    /// As configured, with what is left of it.
    memory: Current<(usize, Arc<Semaphore>)>,
    /// What the pushes to each account take of it, in bytes, by the account's hash.
    of_account: Arc<OfAccount>,
    hasher: RandomState,
    gauge: IntGauge,
}

impl Admission {
    /// `memory` is in bytes, for all pushes together.
    pub fn new(endpoint_rate: Rate, memory: usize, metrics: &Metrics) -> Self {
        Self {
            endpoint_rate: Limiter::new(endpoint_rate),
            memory: Current::new((memory, semaphore(memory))),
            of_account: Arc::default(),
            hasher: RandomState::new(),
            gauge: metrics.in_flight_bytes.clone(),
        }
    }

    /// Another limit on memory starts out empty: what is in flight counts for the former one.
    pub fn reconfigure(&self, endpoint_rate: Rate, memory: usize) {
        self.endpoint_rate.set_rate(endpoint_rate);
        if self.memory.read().0 != memory {
            self.memory.set((memory, semaphore(memory)));
        }
    }

    pub fn admit(&self, registration: &Registration, payload: &Payload) -> Result<Share, Outcome> {
        let Registration {
            application,
            instance,
            ..
        } = registration;
        let endpoint = (registration.account(), application, instance);
        if !self.endpoint_rate.admit(&endpoint) {
            return Err(Outcome::RateLimited);
        }
        let bytes = u32::try_from(payload.len() + OVERHEAD).unwrap_or(u32::MAX);
        let (memory, left) = &*self.memory.read();
        let permit = left.clone().try_acquire_many_owned(bytes);
        let permit = permit.map_err(|_| Outcome::MemoryFull)?;
        let account = self.hasher.hash_one(registration.account());
        let mut of_account = self.of_account.lock();
        let taken = of_account.entry(account).or_default();
        if *taken > 0 && *taken + bytes as usize > share(*memory) {
            return Err(Outcome::MemoryFull);
        }
        *taken += bytes as usize;
        self.gauge.add(bytes.into());
        Ok(Share {
            gauge: self.gauge.clone(),
            of_account: self.of_account.clone(),
            account,
            bytes,
            _permit: permit,
        })
    }

    /// Forgets rate limits that have recovered.
    pub fn forget_idle(&self) {
        self.endpoint_rate.forget_idle();
    }
}

fn semaphore(bytes: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS)))
}

/// What the pushes to one account may take of the memory, in bytes: an eighth, but never so little that
/// a few pushes fill it.
fn share(memory: usize) -> usize {
    (memory / 8).max(1 << 20)
}

/// A push's share of the memory for pushes in flight, given back when dropped.
pub struct Share {
    gauge: IntGauge,
    of_account: Arc<OfAccount>,
    account: u64,
    bytes: u32,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.gauge.sub(self.bytes.into());
        let mut of_account = self.of_account.lock();
        if let Entry::Occupied(mut taken) = of_account.entry(self.account) {
            *taken.get_mut() -= self.bytes as usize;
            if *taken.get() == 0 {
                taken.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use jid::Jid;

    use super::*;
    use crate::model::{registration::Digest, time::Timestamp};

    fn registration(owner: &str) -> Registration {
        Registration {
            owner: Jid::new(owner).unwrap(),
            application: Digest::from_bytes([1; 32]),
            instance: Digest::from_bytes([2; 32]),
            issued: Timestamp::from_secs(0),
            expires: Timestamp::from_secs(1),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_account_takes_its_share_and_leaves_the_rest() {
        let rate = "1000000/s, burst 1000000".parse().unwrap();
        let metrics = Metrics::new();
        let admission = Admission::new(rate, 16 << 20, &metrics);
        let payload = Payload::new(vec![b'x'; 4096].into()).unwrap();
        let admit = |resource: usize| {
            let phone = registration(&format!("eve@example.org/{resource}"));
            admission.admit(&phone, &payload).ok()
        };
        let taken: Vec<_> = (0..10_000).map_while(admit).collect();
        assert_eq!(taken.len(), (2 << 20) / (4096 + OVERHEAD));
        let romeo = registration("romeo@example.org/phone");
        assert!(admission.admit(&romeo, &payload).is_ok());
        drop(taken);
        assert!(admit(0).is_some());
        assert!(admission.of_account.lock().is_empty());
        assert_eq!(metrics.in_flight_bytes.get(), 0);
    }
}
