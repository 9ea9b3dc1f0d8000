//! Registrations that come over the link, and pushes to what is registered, when much is
//! registered already.

use std::{path::Path, time::Duration};

use tokio::time::Instant;
use unified_push::token::Backend;

use crate::{
    Options,
    daemon::Start,
    load::{Load, Measured, requests},
    measured::cpu_seconds,
    report::{Spread, Table},
    rows::{MILLION, state_with},
};

/// Who is measured: a back end, and how many registrations the store holds at the start. Those with
/// none come first.
const CASES: [(Backend, u32); 6] = [
    (Backend::Paseto, 0),
    (Backend::Paseto, MILLION),
    (Backend::Jwt, 0),
    (Backend::Jwt, MILLION),
    (Backend::Storage, 0),
    (Backend::Storage, MILLION),
];

struct Round {
    per_second: f64,
    per_cpu_second: f64,
    /// Afterwards, to all the endpoints in turn.
    pushes: Measured,
}

pub async fn run(options: &Options) {
    let (rounds, count) = if options.quick {
        (1, 2000)
    } else {
        (5, 10_000)
    };
    let million = state_with(MILLION);
    let mut measured: Vec<Vec<Round>> = CASES.map(|_| Vec::new()).into();
    for _ in 0..rounds {
        for (case, rounds) in CASES.iter().zip(&mut measured) {
            rounds.push(round(options, *case, million.path(), count).await);
        }
    }
    let mut table = Table::new(&[
        "back end",
        "present",
        "registrations/s",
        "per CPU second",
        "pushes per CPU second",
        "of those with 0 present",
    ]);
    for (index, (backend, present)) in CASES.iter().enumerate() {
        let (rounds, empty) = (&measured[index], &measured[index - index % 2]);
        let spread = |figure: fn(&Round) -> f64| Spread::of(rounds.iter().map(figure));
        let flat = Spread::of(
            rounds
                .iter()
                .zip(empty)
                .map(|(round, empty)| round.pushes.per_cpu_second / empty.pushes.per_cpu_second),
        );
        table.row(&[
            backend.to_string(),
            present.to_string(),
            format!("{:.0}", spread(|r| r.per_second)),
            format!("{:.0}", spread(|r| r.per_cpu_second).median),
            format!("{:.0}", spread(|r| r.pushes.per_cpu_second)),
            if *present > 0 {
                format!("{flat:.2}")
            } else {
                String::new()
            },
        ]);
    }
    table.publish("registration", options.write);
}

async fn round(
    options: &Options,
    (backend, present): (Backend, u32),
    million: &Path,
    count: usize,
) -> Round {
    let start = Start::new(&options.daemon, backend);
    let start = if present > 0 {
        start.on(million)
    } else {
        start
    };
    let (daemon, mut host) = start.run().await;
    let (begin, cpu) = (Instant::now(), cpu_seconds(daemon.pid()));
    let endpoints = host.register(count);
    let seconds = begin.elapsed().as_secs_f64();
    let cpu = cpu_seconds(daemon.pid()) - cpu;
    let load = Load {
        connections: 32,
        warm_up: Duration::from_millis(300),
        window: Duration::from_millis(1000),
    };
    let requests = requests(&endpoints, 200);
    let pushes = load.run(daemon.pid(), daemon.port(), &requests).await;
    daemon.stop().await;
    Round {
        per_second: count as f64 / seconds,
        per_cpu_second: count as f64 / cpu,
        pushes,
    }
}
