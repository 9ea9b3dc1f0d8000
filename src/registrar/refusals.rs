//! Refusals in the log: phones show none to their users, so that this is all that anybody sees of one.
//! The metric counts them all.

use std::time::Duration;

use hashlink::LruCache;
use jid::Jid;
use tokio::time::Instant;
use tracing::{debug, info};

use crate::{
    link::RegisterError,
    metrics::RegistrationResult,
    model::{rate::Limiter, sync::Mutex},
};

/// How often one and the same refusal is logged for one domain.
const EVERY: Duration = Duration::from_secs(60);

/// How many domains and refusals are remembered: who comes from more only uses up [`IN_ALL`].
const REMEMBERED: usize = 256;

/// Strangers have as many domains as they like: they must not fill the log.
const IN_ALL: &str = "1/s, burst 20";

pub(super) struct Refusals {
    /// When each was logged last.
    logged: Mutex<LruCache<(String, RegistrationResult), Instant>>,
    in_all: Limiter,
}

impl Refusals {
    /// The domain is told, since that is what `acl` is about; the account only to those who ask for
    /// more.
    pub fn report(&self, from: &Jid, result: RegistrationResult, error: &RegisterError) {
        let domain = from.domain().as_str();
        if self.is_due(domain, result) && self.in_all.admit(&()) {
            // Not in a field, which a plain `journalctl` does not show.
            info!("registration refused for an account of {domain}: {error}");
        }
        debug!("the refused registration came from {from}");
    }

    fn is_due(&self, domain: &str, result: RegistrationResult) -> bool {
        let now = Instant::now();
        let refusal = (domain.to_owned(), result);
        let mut logged = self.logged.lock();
        let due = logged.get(&refusal).is_none_or(|last| now - *last >= EVERY);
        if due {
            logged.insert(refusal, now);
        }
        due
    }
}

impl Default for Refusals {
    fn default() -> Self {
        Self {
            logged: Mutex::new(LruCache::new(REMEMBERED)),
            in_all: Limiter::new(IN_ALL.parse().expect("the constant is a rate")),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const FORBIDDEN: RegistrationResult = RegistrationResult::Forbidden;

    #[tokio::test(start_paused = true)]
    async fn a_domains_refusal_is_logged_once_a_minute() {
        let refusals = Refusals::default();
        assert!(refusals.is_due("example.org", FORBIDDEN));
        assert!(!refusals.is_due("example.org", FORBIDDEN));
        assert!(refusals.is_due("example.net", FORBIDDEN));
        assert!(refusals.is_due("example.org", RegistrationResult::TooMany));
        advance(EVERY / 2).await;
        assert!(!refusals.is_due("example.org", FORBIDDEN));
        advance(EVERY / 2).await;
        assert!(refusals.is_due("example.org", FORBIDDEN));
    }

    #[tokio::test(start_paused = true)]
    async fn strangers_fill_no_memory() {
        let refusals = Refusals::default();
        for number in 0..10 * REMEMBERED {
            refusals.is_due(&format!("{number}.example.org"), FORBIDDEN);
        }
        assert_eq!(refusals.logged.lock().len(), REMEMBERED);
    }
}
