//! Two daemons under the same load in turns, so that what else the machine does hits both.

use std::{path::Path, time::Duration};

use unified_push::token::Backend;

use crate::{
    Options,
    daemon::Start,
    load::{Load, requests},
    report::{Spread, Table},
};

const CONNECTIONS: [usize; 3] = [1, 32, 512];

pub async fn run(options: &Options, before: &Path) {
    let rounds = if options.quick { 7 } else { 25 };
    let mut daemons = Vec::new();
    for binary in [before, &options.daemon] {
        let (daemon, mut host) = Start::new(binary, Backend::Paseto).run().await;
        let requests = requests(&host.register(100), 200);
        daemons.push((daemon, host, requests));
    }
    let mut table = Table::new(&[
        "connections",
        "before: per CPU second",
        "after",
        "ratio",
        "ratio of pushes/s",
        "ratio of p99",
    ]);
    for connections in CONNECTIONS {
        let load = Load {
            connections,
            warm_up: Duration::from_millis(100),
            window: Duration::from_millis(400),
        };
        let mut measured = Vec::new();
        for _ in 0..rounds {
            let mut round = Vec::new();
            for (daemon, _, requests) in &daemons {
                round.push(load.run(daemon.pid(), daemon.port(), requests).await);
            }
            measured.push(round);
        }
        let spread = |of: usize| Spread::of(measured.iter().map(|m| m[of].per_cpu_second));
        let ratio = |figure: fn(&crate::load::Measured) -> f64| {
            Spread::of(measured.iter().map(|m| figure(&m[1]) / figure(&m[0])))
        };
        table.row(&[
            connections.to_string(),
            format!("{:.0}", spread(0)),
            format!("{:.0}", spread(1)),
            format!("{:.2}", ratio(|m| m.per_cpu_second)),
            format!("{:.2}", ratio(|m| m.per_second)),
            format!("{:.2}", ratio(|m| m.p99)),
        ]);
    }
    table.publish("compare", false);
}
