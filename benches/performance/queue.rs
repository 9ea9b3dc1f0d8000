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
    load::{Load, Measured, Requests, exchange, requests},
    report::{Spread, Table},
    rows::{MILLION, fill_database, queue_with},
};

/// Who come back, and how much waits for each.
const PHONES: usize = 100;
const MESSAGES: usize = 100;
/// Who stay away.
const OTHERS: usize = 1000;

const BODY: usize = 200;

const WINDOW: Duration = Duration::from_millis(1000);

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

#[derive(Clone, Copy, PartialEq, Eq)]
enum Engine {
    Sqlite,
    Postgres,
}

/// An engine, and how many messages of others wait there.
type Case = (Engine, u32);

struct Round {
    stored: Measured,
    /// Per second.
    forwarded: f64,
    /// Pushes to phones that are there.
    acknowledged: Measured,
    alone: Option<Alone>,
    beside: Option<Beside>,
}

/// What PostgreSQL does without the daemon, and what the daemon asks of it for a message.
struct Beside {
    alone: bare_postgres::Alone,
    stored: Counted,
    forwarded: Counted,
}

/// Without the daemon: messages per second.
struct Alone {
    /// Through its store.
    by_store: f64,
    /// SQLite alone, with as much in a commit.
    stored_together: f64,
    stored: f64,
    forwarded_together: f64,
    forwarded: f64,
}

pub async fn run(options: &Options) {
    let (rounds, waiting) = if options.quick {
        (1, MILLION / 10)
    } else {
        (5, MILLION)
    };
    let postgres = match Postgres::missing() {
        None => Some(Postgres::start().await),
        Some(_) => None,
    };
    let counters = match &postgres {
        Some(postgres) => Some(Counters::start(postgres).await),
        None => None,
    };
    let million = queue_with(waiting);
    let database_with_million = match &postgres {
        Some(postgres) => {
            let url = postgres.database().await;
            fill_database(&url, waiting).await;
            Some(url)
        }
        None => None,
    };
    let cases: [Case; 4] = [
        (Engine::Sqlite, 0),
        (Engine::Sqlite, waiting),
        (Engine::Postgres, 0),
        (Engine::Postgres, waiting),
    ];
    let mut measured = cases.map(|_| Vec::new());
    for _ in 0..rounds {
        for ((engine, waiting), rounds) in cases.iter().zip(&mut measured) {
            let empty = tempfile::tempdir().unwrap();
            let state_dir = match engine {
                Engine::Sqlite if *waiting > 0 => &million,
                _ => &empty,
            };
            let url = match (engine, &postgres) {
                (Engine::Sqlite, _) => None,
                (Engine::Postgres, Some(_)) if *waiting > 0 => database_with_million.clone(),
                (Engine::Postgres, Some(postgres)) => Some(postgres.database().await),
                (Engine::Postgres, None) => continue,
            };
            let mut round = round(options, state_dir, *waiting > 0, url, counters.as_ref()).await;
            if let (Some(beside), Some(postgres)) = (&mut round.beside, &postgres) {
                beside.alone = bare_postgres::store(postgres, WINDOW).await;
            }
            rounds.push(round);
        }
    }
    let mut table = Table::new(&[
        "store",
        "waiting",
        "what",
        "messages/s",
        "writes in a commit",
        "of SQLite alone",
        "of PostgreSQL alone, 1 row a commit",
        "100 rows a commit",
        "fsyncs a message",
        "statements a message",
        "of those with 0 waiting",
    ]);
    for (index, (case, rounds)) in cases.iter().zip(&measured).enumerate() {
        if rounds.is_empty() {
            println!("left out: there is no PostgreSQL here");
            continue;
        }
        // Before each engine's own with many waiting come those with none.
        for row in rows(*case, rounds, &measured[index - index % 2]) {
            table.row(&row);
        }
    }
    table.publish("queue", options.write);
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
        match &url {
            Some(url) => config.text("store.url", url),
            None => config,
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
        warm_up: Duration::from_millis(300),
        window: WINDOW,
    };
    let counters = counters.filter(|_| !is_sqlite);
    let to_phones = requests(&present, BODY);
    let acknowledged = load.run(daemon.pid(), daemon.port(), &to_phones).await;

    host.send_away();
    store_for_each(&daemon, &to_phones).await;
    let before = read(counters).await;
    let commits = Commits::since_now(state_dir.path(), is_sqlite);
    let forwarded = forward(&host).await;
    // Each is claimed, and then deleted.
    let forwarded_together = 2.0 * forwarded / commits.per_second();
    let between = read(counters).await;

    host.send_away();
    let load = Load {
        connections: STORING,
        ..load
    };
    let to_others = requests(&others, BODY);
    let commits = Commits::since_now(state_dir.path(), is_sqlite);
    let stored = load.run(daemon.pid(), daemon.port(), &to_others).await;
    let stored_together = stored.per_second / commits.per_second();
    let after = read(counters).await;
    daemon.stop().await;
    // The warm-up stores, too.
    let lasted = load.warm_up + load.window;
    let messages = stored.per_second * lasted.as_secs_f64();
    let beside = before.zip(between).zip(after);
    let beside = beside.map(|((before, between), after)| Beside {
        alone: bare_postgres::Alone {
            single: 0.0,
            together: 0.0,
        },
        stored: after.since(between, messages),
        forwarded: between.since(before, (PHONES * MESSAGES) as f64),
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
        beside,
    }
}

async fn read(counters: Option<&Counters>) -> Option<Counted> {
    match counters {
        Some(counters) => Some(counters.read().await),
        None => None,
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
                exchange(&mut stream, &requests[number]).await.unwrap();
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

fn rows((engine, waiting): Case, rounds: &[Round], empty: &[Round]) -> Vec<[String; 11]> {
    let name = match engine {
        Engine::Sqlite => "SQLite",
        Engine::Postgres => "PostgreSQL",
    };
    let row = |what: &str, figure: fn(&Round) -> f64| {
        let per_second = Spread::of(rounds.iter().map(figure));
        let of_empty = rounds.iter().zip(empty);
        let of_empty = of_empty.map(|(round, empty)| figure(round) / figure(empty));
        let of_empty = (waiting > 0).then(|| Spread::of(of_empty));
        [
            name.to_owned(),
            waiting.to_string(),
            what.to_owned(),
            format!("{per_second:.0}"),
            String::new(),
            String::new(),
            String::new(),
            String::new(),
            String::new(),
            String::new(),
            of_empty.map_or(String::new(), |ratio| format!("{ratio:.2}")),
        ]
    };
    let mut stored = row("stored over HTTP", |round| round.stored.per_second);
    let mut forwarded = row("forwarded", |round| round.forwarded);
    let acknowledged = row("acknowledged at once, per CPU second", |round| {
        round.acknowledged.per_cpu_second
    });
    let mut rows = Vec::new();
    if engine == Engine::Sqlite {
        let alone = |figure: fn(&Round, &Alone) -> f64| {
            Spread::of(
                rounds
                    .iter()
                    .filter_map(|round| Some(figure(round, round.alone.as_ref()?))),
            )
        };
        stored[4] = format!("{:.0}", alone(|_, alone| alone.stored_together));
        stored[5] = format!(
            "{:.2}",
            alone(|round, alone| round.stored.per_second / alone.stored)
        );
        forwarded[4] = format!("{:.0}", alone(|_, alone| alone.forwarded_together));
        forwarded[5] = format!(
            "{:.2}",
            alone(|round, alone| round.forwarded / alone.forwarded)
        );
        if waiting == 0 {
            let by_store = |round: &Round| round.alone.as_ref().map_or(0.0, |alone| alone.by_store);
            let mut inside = row("stored, without HTTP", by_store);
            inside[5] = format!("{:.2}", alone(|_, alone| alone.by_store / alone.stored));
            rows.push(inside);
        }
    }
    if engine == Engine::Postgres {
        let beside = |figure: fn(&Round, &Beside) -> f64| {
            Spread::of(
                rounds
                    .iter()
                    .filter_map(|round| Some(figure(round, round.beside.as_ref()?))),
            )
        };
        let single = beside(|round, beside| round.stored.per_second / beside.alone.single);
        let together = beside(|round, beside| round.stored.per_second / beside.alone.together);
        stored[6] = format!("{single:.2}");
        stored[7] = format!("{together:.2}");
        stored[8] = format!("{:.3}", beside(|_, beside| beside.stored.fsyncs));
        stored[9] = format!("{:.2}", beside(|_, beside| beside.stored.statements));
        forwarded[8] = format!("{:.3}", beside(|_, beside| beside.forwarded.fsyncs));
        forwarded[9] = format!("{:.2}", beside(|_, beside| beside.forwarded.statements));
    }
    rows.extend([stored, forwarded, acknowledged]);
    rows
}
