//! When the disk is written, and what is said when it cannot be.

use std::{future::Future, sync::Arc};

use libtest_mimic::Trial;
use tempfile::TempDir;
use tokio::task::LocalSet;

use crate::{
    daemon::{Daemon, PATIENCE},
    disk::{self, Mode},
    http::post,
    loopback::Loopback,
    phone::{Behaviour, Pair},
    server::{Account, DOMAIN},
    unless_missing,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial(
            "no_201_before_the_write_is_on_the_disk",
            no_201_before_the_write_is_on_the_disk,
        ),
        trial(
            "an_acknowledged_push_writes_nothing",
            an_acknowledged_push_writes_nothing,
        ),
        trial("a_full_disk_is_told_and_recovered_from", || {
            a_failing_disk_is_told_and_recovered_from(Mode::Full)
        }),
        trial("a_read_only_disk_is_told_and_recovered_from", || {
            a_failing_disk_is_told_and_recovered_from(Mode::ReadOnly)
        }),
        trial("a_failing_fdatasync_is_told_and_recovered_from", || {
            a_failing_disk_is_told_and_recovered_from(Mode::SyncFails)
        }),
    ]
}

fn trial<F: Future<Output = ()>>(name: &str, test: impl FnOnce() -> F + Send + 'static) -> Trial {
    let name = format!("durability::{name}");
    let missing = disk::missing();
    unless_missing(name, missing, move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        LocalSet::new().block_on(&runtime, test());
        Ok(())
    })
}

/// A daemon with a phone that answers and one that is away.
struct Bed {
    daemon: Daemon,
    server: Loopback,
    /// Of the phone that answers.
    here: String,
    /// Of the one that is away.
    away: String,
    away_jid: String,
    _dir: TempDir,
}

impl Bed {
    async fn new() -> Self {
        let dir = TempDir::with_prefix_in("disk", env!("CARGO_TARGET_TMPDIR")).unwrap();
        let account = Account::numbered(0);
        let server = Loopback::start(account.clone(), 1).await;
        let settings = [
            ("secret", "the-daemon-s-token-secret-of-more-than-32-bytes"),
            ("component.domain", &account.domain),
            ("component.secret", &account.secret),
            ("delivery.ack_timeout", "5s"),
            ("limits.endpoint_rate", "10000/s, burst 10000"),
        ];
        let mut settings = settings
            .map(|(key, value)| (key, format!("{value:?}")))
            .to_vec();
        settings.push(("component.port", server.port.to_string()));
        let daemon = Daemon::new(dir.path(), &settings);
        daemon.start(|| false).await.expect("the daemon starts");
        daemon.linked().await;
        let mut endpoints = Vec::new();
        for user in ["romeo", "juliet"] {
            let jid = format!("{user}@{DOMAIN}/phone");
            server.bind(&jid, Vec::new(), Arc::new(|_| ()));
            endpoints.push(server.register(&jid, &Pair::of(user, "app")).await);
        }
        let away_jid = format!("juliet@{DOMAIN}/phone");
        server.leave(&away_jid);
        let away = endpoints.pop().expect("two");
        let here = endpoints.pop().expect("two");
        Self {
            daemon,
            server,
            here,
            away,
            away_jid,
            _dir: dir,
        }
    }

    async fn push(&self, endpoint: &str) -> u16 {
        post(endpoint, &[("TTL", "3600")], b"a message")
            .await
            .status
    }
}

async fn no_201_before_the_write_is_on_the_disk() {
    let bed = Bed::new().await;
    bed.daemon.disk.set(Mode::Hold);
    let endpoint = bed.away.clone();
    let waiting = tokio::spawn(async move { post(&endpoint, &[("TTL", "60")], b"kept").await });
    bed.daemon.disk.holds(PATIENCE).await;
    // Whatever could answer without the disk has the time of these.
    for _ in 0..20 {
        assert_eq!(bed.push(&bed.here).await, 201);
    }
    assert!(!waiting.is_finished(), "an answer before the disk's");
    bed.daemon.disk.set(Mode::Ok);
    let answer = waiting.await.unwrap();
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(answer.header("TTL"), Some("60"));
    assert!(bed.daemon.stop().await.success());
}

async fn an_acknowledged_push_writes_nothing() {
    let bed = Bed::new().await;
    let before = bed.daemon.disk.calls();
    for _ in 0..1000 {
        assert_eq!(bed.push(&bed.here).await, 201);
    }
    assert_eq!(bed.daemon.disk.calls(), before);
    // One that has to wait shows that the disk counts.
    assert_eq!(bed.push(&bed.away).await, 201);
    let after = bed.daemon.disk.calls();
    assert!(after.writes > before.writes && after.syncs > before.syncs);
    assert!(bed.daemon.stop().await.success());
}

async fn a_failing_disk_is_told_and_recovered_from(mode: Mode) {
    let bed = Bed::new().await;
    bed.daemon.disk.set(mode);
    assert_eq!(bed.push(&bed.away).await, 503);
    bed.daemon.ready(503).await;
    assert_eq!(bed.push(&bed.here).await, 201, "no disk is needed");
    bed.daemon.disk.set(Mode::Ok);
    bed.daemon.ready(200).await;
    assert_eq!(bed.push(&bed.away).await, 201);
    // And what was accepted arrives.
    let (arrived, mut pushes) = tokio::sync::mpsc::channel(8);
    let log = move |push| arrived.try_send(push).expect("a few");
    let known = vec![Pair::of("juliet", "app")];
    bed.server.bind(&bed.away_jid, known, Arc::new(log));
    bed.server.behave(&bed.away_jid, Behaviour::Conversations);
    bed.server.announce(&bed.away_jid);
    let push = tokio::time::timeout(PATIENCE, pushes.recv()).await;
    assert_eq!(push.unwrap().unwrap().payload, b"a message");
    assert!(bed.daemon.stop().await.success());
}
