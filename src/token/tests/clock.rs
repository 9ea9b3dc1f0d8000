//! Endpoints whose clock was wrong when they were issued, or was set since.

use super::{grace::*, *};
use crate::model::{
    time::{ManualSource, RELEASED},
    timekeeper::Timekeeper,
};

const HOUR: Duration = Duration::from_secs(3600);

/// A daemon with its own time, which can be started again.
struct Daemon {
    _dir: TempDir,
    store: Store,
    source: ManualSource,
    backend: Backend,
}

struct Run {
    clock: Arc<Timekeeper>,
    tokens: Tokens,
}

impl Daemon {
    fn new(backend: Backend, wall: Timestamp) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self {
            store: Store::open(dir.path()).unwrap(),
            _dir: dir,
            source: ManualSource::new(wall),
            backend,
        }
    }

    async fn start(&self) -> Run {
        let origin = self.store.time_origin().await.unwrap();
        let clock = Arc::new(Timekeeper::new(self.source.clone(), origin));
        let (keys, store) = (Keyring::new(&secret(), &[]), self.store.clone());
        let random = Arc::new(SystemRandom);
        let tokens = Tokens::load(keys, policy(self.backend), store, clock.clone(), random);
        let tokens = tokens.await.unwrap();
        let run = Run { clock, tokens };
        run.keep(self).await;
        run
    }
}

impl Run {
    /// As once a second.
    async fn keep(&self, daemon: &Daemon) {
        if let Some(kept) = self.clock.kept() {
            daemon.store.keep_time(&kept).await.unwrap();
        }
        self.tokens.clock_was_set();
        self.tokens.purge().await.unwrap();
    }
}

#[tokio::test]
async fn an_endpoint_outlives_every_clock_that_is_set() {
    let right = RELEASED.saturating_add(4000 * DAY);
    let behind = |days: u32| right.saturating_sub(days * DAY);
    for backend in BACKENDS {
        for wrong in [
            behind(40),
            behind(365),
            behind(3650),
            right.saturating_add(6 * HOUR),
            right.saturating_add(3650 * DAY),
        ] {
            for (keeps, boots) in [(true, false), (false, false), (true, true)] {
                let daemon = Daemon::new(backend, wrong);
                let run = daemon.start().await;
                let issued = issued(&run.tokens).await;
                assert_eq!(issued.told.as_secs(), wrong.saturating_add(WEEK).as_secs());
                daemon.source.pass(HOUR);
                daemon.source.set(right);
                if keeps {
                    run.keep(&daemon).await;
                }
                if boots {
                    daemon.source.boot();
                }
                let again = daemon.start().await;
                for tokens in [&run.tokens, &again.tokens] {
                    assert!(tokens.open(&issued.token).await.is_ok(), "{backend}");
                }
                // As long as ever after it was issued, and no longer, if the daemon has had a
                // second to keep what it knows.
                let end = WEEK + GRACE - HOUR;
                daemon.source.pass(end - DAY);
                again.keep(&daemon).await;
                assert!(again.tokens.open(&issued.token).await.is_ok(), "{backend}");
                daemon.source.pass(DAY);
                again.keep(&daemon).await;
                if keeps {
                    assert_dead(again.tokens.open(&issued.token).await);
                }
            }
        }
    }
}

#[tokio::test]
async fn a_clock_that_was_behind_before_a_boot_ends_no_endpoint() {
    let right = RELEASED.saturating_add(4000 * DAY);
    for backend in BACKENDS {
        let daemon = Daemon::new(backend, right.saturating_sub(40 * DAY));
        let issued = issued(&daemon.start().await.tokens).await;
        // The clock is set before the daemon starts, and nobody knows whether it was off for so long.
        daemon.source.boot();
        daemon.source.set(right);
        let again = daemon.start().await;
        assert!(again.tokens.open(&issued.token).await.is_ok(), "{backend}");
        daemon.source.pass(WEEK);
        assert!(again.tokens.open(&issued.token).await.is_ok(), "{backend}");
    }
}

#[tokio::test]
async fn a_renewal_after_the_clock_was_set_is_told_the_right_time() {
    let right = RELEASED.saturating_add(4000 * DAY);
    for backend in BACKENDS {
        let daemon = Daemon::new(backend, right.saturating_sub(40 * DAY));
        let run = daemon.start().await;
        let first = issued(&run.tokens).await;
        daemon.source.set(right);
        let renewed = issued(&run.tokens).await;
        assert_eq!(renewed.told, right.saturating_add(WEEK));
        assert_eq!(renewed.token == first.token, backend == Backend::Storage);
    }
}

#[tokio::test]
async fn what_is_revoked_is_dead_whatever_the_clock_does() {
    let right = RELEASED.saturating_add(4000 * DAY);
    for backend in BACKENDS {
        for wrong in [
            right.saturating_sub(40 * DAY),
            right.saturating_add(40 * DAY),
        ] {
            let daemon = Daemon::new(backend, right);
            let run = daemon.start().await;
            let first = issued(&run.tokens).await;
            daemon.source.set(wrong);
            daemon.source.pass(HOUR);
            let owner = Scope::Owner(first.registration.owner.to_bare());
            let now = run.clock.now();
            run.tokens.revoke(owner, now, now).await.unwrap();
            daemon.source.pass(HOUR);
            let second = issued(&run.tokens).await;
            run.keep(&daemon).await;
            daemon.source.pass(HOUR);
            daemon.source.set(right);
            let again = daemon.start().await;
            for run in [&run, &again] {
                assert_dead(run.tokens.open(&first.token).await);
                assert!(run.tokens.open(&second.token).await.is_ok(), "{backend}");
            }
            daemon.source.pass(WEEK + GRACE - 4 * HOUR);
            again.keep(&daemon).await;
            assert_dead(again.tokens.open(&first.token).await);
        }
    }
}

#[tokio::test]
async fn nothing_is_issued_by_a_clock_that_is_certainly_wrong() {
    for backend in BACKENDS {
        let daemon = Daemon::new(backend, Timestamp::from_secs(5));
        let run = daemon.start().await;
        let jid = Jid::new("romeo@example.org/orchard").unwrap();
        let digest = Digest::from_bytes([1; 32]);
        for begun in [false, true] {
            let refused = run.tokens.issue(&jid, digest, digest, None).await;
            assert!(matches!(refused, Err(IssueError::ClockWrong)), "{begun}");
            daemon.source.set(RELEASED.saturating_add(DAY));
            run.clock.begin();
            issued(&run.tokens).await;
            // Set back while it runs.
            daemon.source.set(Timestamp::from_secs(5));
        }
    }
}
