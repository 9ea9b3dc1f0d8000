//! From the application server's POST to its 201, with an XMPP server and phones that cost next to
//! nothing, beside [`bare`] in the same rounds.

use std::time::Duration;

use crate::{
    Options, bare,
    daemon::{BACKENDS, Daemon, Start},
    host::Host,
    load::{Load, Measured, Requests, requests},
    measured::Process,
    report::{Spread, Table, mib},
};

/// Each has registered one app.
const PHONES: usize = 100;
const BODIES: [usize; 2] = [200, 3072];
const CONNECTIONS: [usize; 4] = [1, 32, 512, 1024];
const LATE: Duration = Duration::from_millis(50);

/// What is measured: the bare handler comes first.
struct Subject {
    name: String,
    server: Server,
    late: bool,
}

#[derive(Clone, Copy)]
enum Server {
    Bare,
    Daemon(usize),
}

struct Servers {
    bare: (Process, u16),
    daemons: Vec<(Daemon, Host, Vec<String>)>,
}

pub async fn run(options: &Options) {
    let servers = Servers::start(options).await;
    let subjects = subjects();
    let mut table = Table::new(&[
        "body",
        "connections",
        "who",
        "pushes/s",
        "per CPU second",
        "of bare",
        "p50 ms",
        "p99 ms",
        "of bare",
        "p99.9 ms",
        "resident MiB",
    ]);
    let mut others = Vec::new();
    for body in BODIES {
        for connections in CONNECTIONS {
            let rounds = servers
                .rounds(&subjects, body, connections, options.quick)
                .await;
            others.extend(rounds.iter().flatten().map(|measured| measured.others));
            for (index, subject) in subjects.iter().enumerate() {
                let mut row = vec![
                    body.to_string(),
                    connections.to_string(),
                    subject.name.clone(),
                ];
                row.extend(cells(&rounds, index, subject.late));
                println!("{}", row.join("  "));
                table.row(&row);
            }
        }
    }
    table.publish("ceiling", options.write);
    println!("CPUs busy with other things: {:.2}", Spread::of(others));
}

fn subjects() -> Vec<Subject> {
    let bare = Subject {
        name: "bare axum handler".to_owned(),
        server: Server::Bare,
        late: false,
    };
    let mut subjects = vec![bare];
    for late in [false, true] {
        for (index, backend) in BACKENDS.iter().enumerate() {
            subjects.push(Subject {
                name: format!("{backend}{}", if late { ", 50 ms late" } else { "" }),
                server: Server::Daemon(index),
                late,
            });
        }
    }
    subjects
}

impl Servers {
    async fn start(options: &Options) -> Self {
        let mut daemons = Vec::new();
        for backend in BACKENDS {
            let (daemon, mut host) = Start::new(&options.daemon, backend).run().await;
            let endpoints = host.register(PHONES);
            daemons.push((daemon, host, endpoints));
        }
        Self {
            bare: bare::start().await,
            daemons,
        }
    }

    /// Measures every subject in turn, several times.
    async fn rounds(
        &self,
        subjects: &[Subject],
        body: usize,
        connections: usize,
        quick: bool,
    ) -> Vec<Vec<Measured>> {
        let (rounds, warm_up, window) = if quick { (1, 200, 400) } else { (5, 300, 1000) };
        let load = Load {
            connections,
            warm_up: Duration::from_millis(warm_up),
            window: Duration::from_millis(window),
        };
        let mut measured = Vec::new();
        for _ in 0..rounds {
            let mut round = Vec::new();
            for subject in subjects {
                let (process, port, requests) = self.aim(subject, body);
                round.push(load.run(process, port, &requests).await);
            }
            measured.push(round);
        }
        measured
    }

    /// The bare handler gets the same requests as the first daemon.
    fn aim(&self, subject: &Subject, body: usize) -> (&Process, u16, Requests) {
        match subject.server {
            Server::Bare => (
                &self.bare.0,
                self.bare.1,
                requests(&self.daemons[0].2, body),
            ),
            Server::Daemon(index) => {
                let (daemon, host, endpoints) = &self.daemons[index];
                host.hold_back(if subject.late { LATE } else { Duration::ZERO });
                (&daemon.process, daemon.http, requests(endpoints, body))
            }
        }
    }
}

fn cells(rounds: &[Vec<Measured>], index: usize, late: bool) -> [String; 8] {
    let spread =
        |figure: fn(&Measured) -> f64| Spread::of(rounds.iter().map(|round| figure(&round[index])));
    let of_bare = |figure: fn(&Measured) -> f64| {
        Spread::of(
            rounds
                .iter()
                .map(|round| figure(&round[index]) / figure(&round[0])),
        )
    };
    let ratio = |shown: Spread| match (index, late) {
        (0, _) | (_, true) => String::new(),
        (_, false) => format!("{shown:.2}"),
    };
    [
        format!("{:.0}", spread(|m| m.per_second)),
        format!("{:.0}", spread(|m| m.per_cpu_second).median),
        match index {
            0 => String::new(),
            _ => format!("{:.2}", of_bare(|m| m.per_cpu_second)),
        },
        format!("{:.2}", spread(|m| m.p50).median),
        format!("{:.2}", spread(|m| m.p99).median),
        ratio(of_bare(|m| m.p99)),
        format!("{:.2}", spread(|m| m.p999).median),
        format!("{:.1}", spread(|m| mib(m.resident.all)).median),
    ]
}
