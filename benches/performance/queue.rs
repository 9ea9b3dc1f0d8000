//! Messages for phones that are away: how fast they are stored, each on the disk before its 201, and
//! how fast they go out once the phones are back. Beside it, what SQLite alone and PostgreSQL alone do.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tempfile::TempDir;
use testbed::Postgres;
use tokio::{
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep},
};
use unified_push::{
    model::{
        message::{Hold, MessageId, MessageKey, Urgency},
        payload::Payload,
        registration::{Digest, Registration},
        time::{Clock, SystemClock, Timestamp},
    },
    store::{Caps, Enqueued, NewMessage, Store},
    token::Backend,
};

use crate::{
    Options,
    bare_postgres::{self, Counted, Counters},
    bare_sqlite::{self, commits, key},
    daemon::{Daemon, Start},
    host::{Host, phone},
    load::{Load, Requests, requests, try_exchange},
    queue_table::{self, Alone, Case, Engine, PerMessage, Round},
    rows::{MILLION, fill_database, queue_with},
};

/// Who come back, and how much waits for each.
const PHONES: usize = 100;
const MESSAGES: usize = 100;
/// Who stay away.
const OTHERS: usize = 1000;

const BODY: usize = 200;

const WINDOW: Duration = Duration::from_secs(3);

/// As many as the daemon asks its store to write at a time.
const STORING: usize = 512;
const ACKNOWLEDGED: usize = 32;

/// The daemon looks once at each phone that something waits for, 500 a second.
const SETTLE: Duration = Duration::from_secs(10);

const NO_CAPS: Caps = Caps {
    per_endpoint: u32::MAX,
    per_account: u32::MAX,
    bytes: u64::MAX,
};

/// For the messages to go out.
const PATIENCE: Duration = Duration::from_secs(120);

/// With `short`, only PostgreSQL with nothing else waiting.
pub async fn run(options: &Options, short: bool) {
    assert!(!(short && options.write), "a table in part");
    let (rounds, waiting): (_, u32) = if options.quick {
        (1, MILLION / 10)
    } else {
        (5, MILLION)
    };
    let postgres = match Postgres::missing() {
        None => Some(Postgres::start().await),
        Some(_) => {
            println!("PostgreSQL is left out: it is not installed");
            None
        }
    };
    let counters = match &postgres {
        Some(postgres) => Some(Counters::start(postgres).await),
        None => None,
    };
    let million = queue_with(if short { 0 } else { waiting });
    let database_with_million = match &postgres {
        Some(postgres) if !short => {
            let url = postgres.database().await;
            fill_database(&url, waiting).await;
            Some(url)
        }
        _ => None,
    };
    let cases: [Case; 4] = [
        (Engine::Sqlite, 0),
        (Engine::Sqlite, waiting),
        (Engine::Postgres, 0),
        (Engine::Postgres, waiting),
    ];
    let mut measured = cases.map(|_| Vec::new());
    let mut counted = cases.map(|_| None);
    // The last one counts, and is not timed: counting takes a way round.
    for number in 0..=rounds {
        let counts = number == rounds;
        for (index, (engine, waiting)) in cases.into_iter().enumerate() {
            if short && (engine, waiting) != (Engine::Postgres, 0) {
                continue;
            }
            let empty = tempfile::tempdir().unwrap();
            let state_dir = match engine {
                Engine::Sqlite if counts => continue,
                Engine::Sqlite if waiting > 0 => &million,
                _ => &empty,
            };
            let url = match (engine, &postgres) {
                (Engine::Sqlite, _) => None,
                (Engine::Postgres, Some(_)) if waiting > 0 => database_with_million.clone(),
                (Engine::Postgres, Some(postgres)) => Some(postgres.database().await),
                (Engine::Postgres, None) => continue,
            };
            let counters = counters.as_ref().filter(|_| counts);
            let mut round = round(options, state_dir, waiting > 0, url, counters).await;
            if counts {
                counted[index] = round.counted;
                continue;
            }
            if engine == Engine::Postgres
                && let Some(postgres) = &postgres
            {
                round.postgres = Some(bare_postgres::store(postgres, WINDOW).await);
            }
            measured[index].push(round);
        }
    }
    queue_table::publish(&cases, &measured, &counted, options.write);
}

async fn round(
    options: &Options,
    state_dir: &TempDir,
    waits: bool,
    url: Option<String>,
    counters: Option<&Counters>,
) -> Round {
    let is_sqlite = url.is_none();
    let start = Start::new(&options.daemon, Backend::Paseto);
    let start = start.on(state_dir.path()).with(|config| {
        let config = config
            .value("delivery.max_queued_per_endpoint", 1_000_000)
            .value("delivery.max_queued_per_jid", 1_000_000)
            .text("delivery.max_queued_bytes", "64GiB");
        match (&url, counters) {
            (Some(url), Some(counters)) => config.text("store.url", &counters.relay.url(url)),
            (Some(url), None) => config.text("store.url", url),
            (None, _) => config,
        }
    });
    let (daemon, mut host) = start.run().await;
    // Apart, since endpoints come in any order.
    let present = host.register(PHONES);
    let others = host.register(OTHERS);
    if waits {
        sleep(SETTLE).await;
    }
    let load = Load {
        connections: ACKNOWLEDGED,
        warm_up: Duration::from_secs(1),
        window: WINDOW,
    };
    let to_phones = requests(&present, BODY);
    let acknowledged = load.run(daemon.pid(), daemon.port(), &to_phones).await;

    host.send_away();
    store_for_each(&daemon, &to_phones).await;
    let before = read(counters, &url).await;
    let commits = Commits::since_now(state_dir.path(), is_sqlite);
    let forwarded = forward(&host).await;
    // Each is claimed, and then deleted.
    let forwarded_together = 2.0 * forwarded / commits.per_second();
    let between = read(counters, &url).await;

    host.send_away();
    let load = Load {
        connections: STORING,
        ..load
    };
    let to_others = requests(&others, BODY);
    let commits = Commits::since_now(state_dir.path(), is_sqlite);
    let stored = load.run_refused(daemon.pid(), None, daemon.port(), &to_others);
    let stored = stored.await;
    let stored_together = stored.per_second / commits.per_second();
    let after = read(counters, &url).await;
    daemon.stop().await;
    let counted = before.zip(between).zip(after);
    let counted = counted.map(|((before, between), after)| PerMessage {
        stored: after.0.since(between.0, after.1 - between.1),
        forwarded: between.0.since(before.0, (PHONES * MESSAGES) as f64),
    });

    let alone = match is_sqlite {
        true => Some(Alone {
            by_store: by_store(load.window).await,
            stored_together,
            stored: bare_sqlite::store(stored_together.round() as usize, load.window),
            forwarded_together,
            forwarded: bare_sqlite::forward(forwarded_together.round() as usize, PHONES * MESSAGES),
        }),
        false => None,
    };
    Round {
        stored,
        forwarded,
        acknowledged,
        alone,
        postgres: None,
        counted,
    }
}

/// What was counted, and how many messages were stored.
async fn read(counters: Option<&Counters>, url: &Option<String>) -> Option<(Counted, f64)> {
    match (counters, url) {
        (Some(counters), Some(url)) => {
            Some((counters.read().await, bare_postgres::stored(url).await))
        }
        _ => None,
    }
}

/// Messages per second that the store takes from as many at a time as the daemon lets at it.
async fn by_store(window: Duration) -> f64 {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let stored = Arc::new(AtomicU64::new(0));
    let (begin, until) = (Instant::now(), Instant::now() + window);
    let mut senders = JoinSet::new();
    for _ in 0..STORING {
        let (store, stored) = (store.clone(), stored.clone());
        senders.spawn(async move {
            while Instant::now() < until {
                let number = stored.fetch_add(1, Ordering::Relaxed);
                let now = SystemClock.now();
                let kept = store.enqueue(message(number, now), NO_CAPS, now).await;
                assert!(matches!(kept, Ok(Enqueued::Stored { .. })), "{kept:?}");
            }
        });
    }
    senders.join_all().await;
    stored.load(Ordering::Relaxed) as f64 / begin.elapsed().as_secs_f64()
}

fn message(number: u64, now: Timestamp) -> NewMessage {
    let number = usize::try_from(number).unwrap();
    let digest = Digest::from_bytes([7; 32]);
    NewMessage {
        key: MessageKey::from_bytes(key(number)),
        id: MessageId::from_bytes(key(!number)),
        registration: Registration {
            owner: phone(number % OTHERS).parse().unwrap(),
            application: digest,
            instance: digest,
            issued: now,
            expires: now.saturating_add(Duration::from_secs(604_800)),
        },
        topic: None,
        urgency: Urgency::High,
        payload: Payload::new(Bytes::from_static(&[b'x'; BODY])).unwrap(),
        arrived: now,
        expires: now.saturating_add(Duration::from_secs(86_400)),
        sent: None,
        hold: Hold::Free,
        try_at: now,
    }
}

/// Counts what SQLite commits.
struct Commits<'a> {
    state_dir: Option<&'a Path>,
    before: f64,
    begin: Instant,
}

impl<'a> Commits<'a> {
    fn since_now(state_dir: &'a Path, is_sqlite: bool) -> Self {
        let state_dir = is_sqlite.then_some(state_dir);
        Self {
            state_dir,
            before: state_dir.map_or(0.0, commits),
            begin: Instant::now(),
        }
    }

    fn per_second(&self) -> f64 {
        let now = self.state_dir.map_or(0.0, commits);
        (now - self.before) / self.begin.elapsed().as_secs_f64()
    }
}

/// One connection for each phone.
async fn store_for_each(daemon: &Daemon, requests: &Requests) {
    let mut connections = JoinSet::new();
    for number in 0..PHONES {
        let (port, requests) = (daemon.port(), requests.clone());
        connections.spawn(async move {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            stream.set_nodelay(true).unwrap();
            for _ in 0..MESSAGES {
                // Some builds refuse what is too much at a time.
                while !try_exchange(&mut stream, &requests[number]).await.unwrap() {}
            }
        });
    }
    connections.join_all().await;
}

/// Messages per second.
async fn forward(host: &Host) -> f64 {
    let (begin, before) = (Instant::now(), host.acknowledged());
    host.bring_back(PHONES);
    while host.acknowledged() - before < (PHONES * MESSAGES) as u64 {
        assert!(begin.elapsed() < PATIENCE, "not all were forwarded");
        sleep(Duration::from_millis(1)).await;
    }
    (PHONES * MESSAGES) as f64 / begin.elapsed().as_secs_f64()
}
