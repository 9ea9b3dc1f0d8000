//! Who gets an answer: everybody who asks now and then. Answers share the link with pushes, and whoever
//! asks faster than this gets some of them only.

use crate::model::rate::{Limiter, Rate};

/// For each account that asks.
const ACCOUNT: &str = "5/s, burst 50";
/// For all accounts of another server together: it may make up as many as it likes.
const DOMAIN: &str = "20/s, burst 200";

pub struct Courtesy {
    /// The domain that this component belongs to. Its accounts are known to its server, and all of them
    /// may come back at once.
    home: String,
    accounts: Limiter,
    domains: Limiter,
}

impl Courtesy {
    /// `component` is the component's own name.
    pub fn new(component: &str) -> Self {
        let rate = |text: &str| -> Rate { text.parse().expect("the constant is a rate") };
        let home = component.split_once('.').map_or("", |(_, home)| home);
        Self {
            home: home.to_owned(),
            accounts: Limiter::new(rate(ACCOUNT)),
            domains: Limiter::new(rate(DOMAIN)),
        }
    }

    /// Whether this address, as it came, gets another answer.
    pub fn admits(&self, to: &str) -> bool {
        let account = to.split_once('/').map_or(to, |(account, _)| account);
        let domain = account
            .split_once('@')
            .map_or(account, |(_, domain)| domain);
        // The domain first: accounts that are made up leave nothing behind then.
        (domain == self.home || self.domains.admit(&domain)) && self.accounts.admit(&account)
    }

    /// Forgets who has not asked lately. To be called now and then.
    pub fn forget_idle(&self) {
        self.accounts.forget_idle();
        self.domains.forget_idle();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_account_has_its_share_whatever_its_resource_is() {
        let courtesy = Courtesy::new("up.example.org");
        let answered = |from: &dyn Fn(usize) -> String| {
            (0..1000).filter(|n| courtesy.admits(&from(*n))).count()
        };
        assert_eq!(answered(&|n| format!("eve@example.org/{n}")), 50);
        assert_eq!(answered(&|_| "eve@example.org".into()), 0);
        assert!(courtesy.admits("romeo@example.org/phone"));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(answered(&|n| format!("eve@example.org/{n}")), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn another_servers_accounts_share_and_our_own_servers_do_not() {
        let courtesy = Courtesy::new("up.example.org");
        let answered = |domain: &str| {
            let from = |n: usize| format!("user{n}@{domain}/phone");
            (0..1000).filter(|n| courtesy.admits(&from(*n))).count()
        };
        assert_eq!(answered("evil.example"), 200);
        assert_eq!(answered("other.example"), 200);
        assert_eq!(answered("example.org"), 1000);
        tokio::time::advance(Duration::from_secs(3600)).await;
        courtesy.forget_idle();
        assert_eq!(courtesy.accounts.keys() + courtesy.domains.keys(), 0);
    }
}
