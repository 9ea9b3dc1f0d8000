//! When the disk is written, and what is said when it cannot be.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use tempfile::TempDir;
use testbed::{
    Account, Behaviour, Config, FakeServer, MovedClock, PATIENCE, Pair, Push, http::post, program,
    server::DOMAIN, suite::Test, tests,
};
use tokio::sync::mpsc::Receiver;

use crate::{daemon::Daemon, disk::Mode};

pub fn tests() -> Vec<Test<Bed>> {
    tests![
        no_201_before_the_write_is_on_the_disk,
        an_acknowledged_push_writes_nothing,
        a_full_disk_is_told_and_recovered_from,
        a_read_only_disk_is_told_and_recovered_from,
        a_failing_fdatasync_is_told_and_recovered_from,
    ]
}

/// A daemon with a phone that answers and one that is away.
pub struct Bed {
    daemon: Daemon,
    server: FakeServer,
    /// Of the phone that answers.
    here: String,
    /// Of the one that is away.
    away: String,
    away_jid: String,
    database: PathBuf,
    _dir: TempDir,
}

impl Bed {
    pub async fn new() -> Self {
        let dir = testbed::directory("disk");
        let account = Account::numbered(0);
        let server = FakeServer::start(account.clone()).await;
        let config = Config::new(dir.path(), &account, server.port)
            .text("delivery.ack_timeout", "5s")
            .text("limits.endpoint_rate", "10000/s, burst 10000");
        let daemon = Daemon::new(&config, program(), &MovedClock::new(dir.path()));
        daemon.start_linked().await;
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
            database: Path::new(config.get("state_dir")).join("unified-push.db"),
            _dir: dir,
        }
    }

    /// The phone that was away is there again.
    fn come_back(&self) -> Receiver<Push> {
        let (arrived, pushes) = tokio::sync::mpsc::channel(8);
        let log = move |push| arrived.try_send(push).expect("a few");
        let known = vec![Pair::of("juliet", "app")];
        self.server.bind(&self.away_jid, known, Arc::new(log));
        self.server.behave(&self.away_jid, Behaviour::Conversations);
        self.server.announce(&self.away_jid);
        pushes
    }

    async fn push(&self, endpoint: &str) -> u16 {
        post(endpoint, &[("TTL", "3600")], b"a message")
            .await
            .status
    }
}

async fn no_201_before_the_write_is_on_the_disk(bed: Bed) {
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
    bed.daemon.stop().await;
}

async fn an_acknowledged_push_writes_nothing(bed: Bed) {
    let before = bed.daemon.disk.calls();
    for _ in 0..1000 {
        assert_eq!(bed.push(&bed.here).await, 201);
    }
    assert_eq!(bed.daemon.disk.calls(), before);
    // One that has to wait shows that the disk counts.
    assert_eq!(bed.push(&bed.away).await, 201);
    let after = bed.daemon.disk.calls();
    assert!(after.writes > before.writes && after.syncs > before.syncs);
    bed.daemon.stop().await;
}

async fn a_full_disk_is_told_and_recovered_from(bed: Bed) {
    recovers_from(Mode::Full, bed).await;
}

async fn a_read_only_disk_is_told_and_recovered_from(bed: Bed) {
    recovers_from(Mode::ReadOnly, bed).await;
}

async fn a_failing_fdatasync_is_told_and_recovered_from(bed: Bed) {
    recovers_from(Mode::SyncFails, bed).await;
}

async fn recovers_from(mode: Mode, bed: Bed) {
    assert_eq!(bed.push(&bed.away).await, 201);
    bed.daemon.disk.set(mode);
    assert_eq!(bed.push(&bed.away).await, 503);
    bed.daemon.store("failing").await;
    bed.daemon
        .becomes("unified_push_store_failing", "", 1.0)
        .await;
    assert_eq!(bed.push(&bed.here).await, 201, "no disk is needed");
    // What waits arrives, and no more than once.
    let mut pushes = bed.come_back();
    assert_eq!(next(&mut pushes).await, b"a message");
    let forwarded = "event=\"forwarded\"";
    let events = "unified_push_queue_events_total";
    bed.daemon.becomes(events, forwarded, 1.0).await;
    assert_eq!(rows(&bed.database), 1, "the disk still has it");
    assert_eq!(bed.push(&bed.away).await, 201, "the phone is there");
    assert_eq!(next(&mut pushes).await, b"a message");

    bed.daemon.disk.set(Mode::Ok);
    bed.daemon.store("ok").await;
    assert_eq!(rows(&bed.database), 0);
    bed.server.leave(&bed.away_jid);
    assert_eq!(bed.push(&bed.away).await, 201, "it is stored");
    drop(pushes);
    let mut pushes = bed.come_back();
    assert_eq!(next(&mut pushes).await, b"a message");
    bed.daemon.becomes(events, forwarded, 2.0).await;
    assert!(pushes.try_recv().is_err(), "it came once");
    bed.daemon.stop().await;

    // A disk that is full or read-only at the start is named.
    let remedy = match mode {
        Mode::Full => "is full. Make room",
        Mode::ReadOnly => "is read-only. Mount it for writing",
        _ => return,
    };
    bed.daemon.disk.set(mode);
    bed.daemon.spawn();
    assert_eq!(bed.daemon.exit().await, Some(1));
    let log = bed.daemon.log();
    assert!(log.contains(remedy) && !log.contains("a backup"), "{log}");
}

async fn next(pushes: &mut Receiver<Push>) -> Vec<u8> {
    let push = tokio::time::timeout(PATIENCE, pushes.recv()).await;
    push.expect("a push in time").expect("a push").payload
}

fn rows(database: &Path) -> i64 {
    let database = rusqlite::Connection::open(database).unwrap();
    let count = database.query_row("SELECT count(*) FROM queue", [], |row| row.get(0));
    count.unwrap()
}
