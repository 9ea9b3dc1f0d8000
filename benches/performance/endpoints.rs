//! Pushes to many endpoints in turn, beside pushes to few: what it takes to remember what their tokens
//! say, and whether it helps.

use std::{sync::Arc, time::Duration};

use tokio::{net::TcpStream, task::JoinSet};
use unified_push::token::Backend;

use crate::{
    Options,
    daemon::{BACKENDS, Start},
    load::{Load, Measured, Requests, exchange, requests},
    measured::resident,
    report::{Spread, Table, mib},
};

const FEW: usize = 100;
const MANY: usize = 100_000;
const BODY: usize = 200;
const CONNECTIONS: usize = 32;

/// What a daemon was measured with.
struct Measurement {
    few: Vec<Measured>,
    many: Vec<Measured>,
    /// By how many bytes it grew with each endpoint that was pushed to.
    bytes: f64,
    resident: u64,
}

pub async fn run(options: &Options) {
    let many = if options.quick { MANY / 10 } else { MANY };
    let mut table = Table::new(&[
        "back end",
        "endpoints",
        "pushes/s",
        "per CPU second",
        "CPU, of those to 100",
        "bytes each",
        "resident MiB",
    ]);
    for backend in BACKENDS {
        let measured = measure(options, backend, many).await;
        let rows = [(FEW, &measured.few), (many, &measured.many)];
        for (endpoints, rounds) in rows {
            let spread = |figure: fn(&Measured) -> f64| Spread::of(rounds.iter().map(figure));
            let ratios = measured.many.iter().zip(&measured.few);
            let ratio = ratios.map(|(many, few)| many.per_cpu_second / few.per_cpu_second);
            let [ratio, bytes, resident] = match endpoints == many {
                true => [
                    format!("{:.2}", Spread::of(ratio)),
                    format!("{:.0}", measured.bytes),
                    format!("{:.1}", mib(measured.resident)),
                ],
                false => Default::default(),
            };
            table.row(&[
                backend.to_string(),
                endpoints.to_string(),
                format!("{:.0}", spread(|m| m.per_second)),
                format!("{:.0}", spread(|m| m.per_cpu_second).median),
                ratio,
                bytes,
                resident,
            ]);
        }
    }
    table.publish("endpoints", options.write);
}

async fn measure(options: &Options, backend: Backend, many: usize) -> Measurement {
    let (rounds, millis) = if options.quick { (1, 400) } else { (5, 1000) };
    let load = Load {
        connections: CONNECTIONS,
        warm_up: Duration::from_millis(300),
        window: Duration::from_millis(millis),
    };
    let (daemon, mut host) = Start::new(&options.daemon, backend).run().await;
    let endpoints = host.register(many);
    let (few, many) = (
        requests(&endpoints[..FEW], BODY),
        requests(&endpoints, BODY),
    );
    // What the daemon needs for any push is not what one more endpoint takes.
    load.run(daemon.pid(), daemon.port(), &few).await;
    let before = resident(daemon.pid()).own;
    each_once(daemon.port(), &many).await;
    let resident = resident(daemon.pid());
    let grown = resident.own.saturating_sub(before);
    let mut measured = Measurement {
        few: Vec::new(),
        many: Vec::new(),
        bytes: grown as f64 / (many.len() - FEW) as f64,
        resident: resident.all,
    };
    for _ in 0..rounds {
        for (requests, rounds) in [(&few, &mut measured.few), (&many, &mut measured.many)] {
            rounds.push(load.run(daemon.pid(), daemon.port(), requests).await);
        }
    }
    daemon.stop().await;
    measured
}

/// One push to each of the endpoints.
async fn each_once(port: u16, requests: &Requests) {
    let mut connections = JoinSet::new();
    for first in 0..CONNECTIONS {
        let requests = Arc::clone(requests);
        connections.spawn(async move {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            stream.set_nodelay(true).unwrap();
            for request in requests.iter().skip(first).step_by(CONNECTIONS) {
                exchange(&mut stream, request).await.unwrap();
            }
        });
    }
    while let Some(ended) = connections.join_next().await {
        ended.unwrap();
    }
}
