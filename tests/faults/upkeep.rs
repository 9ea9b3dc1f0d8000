//! What an administrator does to a daemon: reloads, right and wrong ones, and upgrades.

use std::{fs, path::Path, time::Duration};

use rustix::process::Signal;
use testbed::{Config, PATIENCE, bed::BACKENDS, eventually, http::try_post, program};
use tokio::time::sleep;

use crate::{
    faults::{Kind, Planned},
    world::{Replica, World},
};

/// Of the messages that wait for an upgrade, in seconds.
const TTL: u64 = 86_400;

/// Every daemon knows all of these: one is `secret`, the others are `previous_secrets`.
const SECRETS: [&str; 3] = [
    "the first secret of the harness, in use at the start",
    "the second secret of the harness, used after an upgrade",
    "the third secret of the harness, used after another one",
];

/// Issues this kind of endpoint, and with this secret.
pub fn issues(config: Config, backend: usize, secret: usize) -> Config {
    let secret = secret % SECRETS.len();
    let others = SECRETS.iter().filter(|other| **other != SECRETS[secret]);
    config
        .text("backend", BACKENDS[backend % BACKENDS.len()])
        .text("secret", SECRETS[secret])
        .value(
            "previous_secrets",
            format!("{:?}", others.collect::<Vec<_>>()),
        )
}

impl World {
    /// Has a daemon read its configuration with a change in it, and then as it was. Its process is held:
    /// nobody else starts it with what is wrong.
    pub async fn reload(&self, replica: &Replica, planned: Planned) {
        let settings = replica.settings.borrow().clone();
        let path = settings.file();
        let changed = settings.clone();
        let right = match planned.form % 5 {
            0 => Some(changed.text("delivery.ack_timeout", "300ms")),
            // For as long as this lasts nobody can renew.
            1 => Some(changed.text("acl", "elsewhere.example")),
            2 => {
                fs::write(&path, "[this is no configuration").unwrap();
                None
            }
            3 => {
                changed.text("backend", "pasteo").file();
                None
            }
            _ => {
                // All endpoints would be dead.
                let lost = changed.text("secret", "a secret under which no endpoint was issued");
                lost.value("previous_secrets", "[]").file();
                None
            }
        };
        if let Some(config) = &right {
            config.file();
        }
        self.hang_up(replica, right.is_some()).await;
        sleep(planned.length).await;
        settings.file();
        // While the store fails, the daemon keeps the configuration that it has.
        for _ in 0..PATIENCE.as_secs() {
            if self.hang_up(replica, true).await {
                return;
            }
            sleep(Duration::from_secs(1)).await;
        }
        let log = replica.daemon.log_path();
        self.ledger
            .violation(format!("it keeps a wrong configuration, see {log:?}"));
    }

    /// SIGHUP; awaits what the daemon says of it. Whether it has reloaded.
    async fn hang_up(&self, replica: &Replica, right: bool) -> bool {
        let excused = self.store_fails(replica);
        let log = replica.daemon.log_path();
        let before = fs::metadata(log).unwrap().len() as usize;
        replica.daemon.signal(Signal::HUP);
        let reloaded = eventually("the daemon has reloaded", 2 * PATIENCE, async || {
            let log = fs::read(log).unwrap();
            let new = String::from_utf8_lossy(&log[before..]).into_owned();
            let not = new.contains("not reloaded");
            (not || new.contains("INFO reloaded")).then_some(!not)
        })
        .await;
        let excused = excused || self.store_fails(replica);
        if reloaded != right && !(right && excused) {
            let what = format!("a configuration that is right, {right}, was reloaded, {reloaded}");
            self.ledger.violation(format!("{what}, see {log:?}"));
        }
        reloaded
    }

    /// A daemon comes back with another back end and another secret.
    pub async fn upgrade(&self, replica: &Replica, planned: Planned) {
        let settings = replica.settings.borrow().clone();
        let settings = issues(settings, planned.form, planned.form / BACKENDS.len());
        settings.file();
        replica.settings.replace(settings);
        self.stop(replica).await;
        sleep(planned.length).await;
        self.start_again(replica).await;
    }

    /// This version's program takes over from an old one, with messages that wait for phones that are away.
    pub async fn replace(&self, old: &Path) {
        println!("{} is replaced by this version", old.display());
        let record = self.ledger.begin(Kind::Upgraded, None);
        for phone in self.phones() {
            phone.lock().await.leave().await;
        }
        let daemon = &self.replicas[0].daemon;
        let count = self.ledger.inner().subscriptions.len();
        for subscription in 0..count {
            let endpoint = self.ledger.inner().subscriptions[subscription].endpoints[0].clone();
            let (number, payload) = self.ledger.post(subscription, None, TTL, 0);
            let ttl = TTL.to_string();
            let answer = try_post(&daemon.at(&endpoint), &[("TTL", &ttl)], &payload).await;
            self.ledger.answered(number, answer);
        }
        for replica in &self.replicas {
            self.stop(replica).await;
            let settings = replica.settings.borrow().clone();
            let settings =
                settings.value("registration_ttl", self.host.registration_ttl().as_secs());
            settings.file();
            replica.settings.replace(settings);
            replica.daemon.upgrade(program(), &replica.clock);
        }
        for replica in &self.replicas {
            self.start_again(replica).await;
        }
        self.linked().await;
        for phone in self.phones() {
            let mut phone = phone.lock().await;
            // The others go on with the endpoints that they have.
            match phone.index.is_multiple_of(2) {
                true => phone.set_up().await,
                false => phone.bind().await,
            }
        }
        self.ledger.end(record);
    }
}
