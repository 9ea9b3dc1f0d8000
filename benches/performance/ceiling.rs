//! From the application server's POST to its 201, with an XMPP server and phones that cost next to
//! nothing, beside [`bare`] in the same rounds.

use std::time::Duration;

use crate::{
    Options,
    bare::Bare,
    daemon::{BACKENDS, Daemon, Start},
    host::Host,
    load::{Load, Measured, Requests, requests},
    report::{Spread, Table, mib},
};

/// Each has registered one app.
const PHONES: usize = 100;
const BODIES: [usize; 2] = [200, 3072];
const CONNECTIONS: [usize; 4] = [1, 32, 512, 1024];
const LATE: Duration = Duration::from_millis(50);

/// What is measured.
struct Subject {
    name: String,
    server: Server,
    /// How late it is answered, or acknowledged.
    late: Duration,
    /// Which subject's figures its own are compared with.
    bare: usize,
}

#[derive(Clone, Copy)]
enum Server {
    Bare,
    Daemon(usize),
}

struct Servers {
    bare: Bare,
    bare_late: Bare,
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
        "CPU, of bare",
        "p50 ms",
        "p99 ms",
        "p99, of bare",
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
                row.extend(cells(&rounds, index, subject.bare));
                println!("{}", row.join("  "));
                table.row(&row);
            }
        }
    }
    table.publish("ceiling", options.write);
    println!("CPUs busy with other things: {:.2}", Spread::of(others));
}

/// At once and late: the bare handler, and after it the daemon with each back end.
fn subjects() -> Vec<Subject> {
    let mut subjects = Vec::new();
    for (late, suffix) in [(Duration::ZERO, ""), (LATE, ", 50 ms late")] {
        let bare = subjects.len();
        let subject = |name: &str, server| Subject {
            name: format!("{name}{suffix}"),
            server,
            late,
            bare,
        };
        subjects.push(subject("bare axum handler", Server::Bare));
        for (index, backend) in BACKENDS.iter().enumerate() {
            subjects.push(subject(&backend.to_string(), Server::Daemon(index)));
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
            bare: Bare::start(Duration::ZERO).await,
            bare_late: Bare::start(LATE).await,
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
    fn aim(&self, subject: &Subject, body: usize) -> (u32, u16, Requests) {
        match subject.server {
            Server::Bare => {
                let bare = match subject.late.is_zero() {
                    true => &self.bare,
                    false => &self.bare_late,
                };
                let requests = requests(&self.daemons[0].2, body);
                (bare.process.id(), bare.port, requests)
            }
            Server::Daemon(index) => {
                let (daemon, host, endpoints) = &self.daemons[index];
                host.hold_back(subject.late);
                (daemon.pid(), daemon.port(), requests(endpoints, body))
            }
        }
    }
}

fn cells(rounds: &[Vec<Measured>], index: usize, bare: usize) -> [String; 8] {
    let spread =
        |figure: fn(&Measured) -> f64| Spread::of(rounds.iter().map(|round| figure(&round[index])));
    let of_bare = |figure: fn(&Measured) -> f64| {
        let ratios = rounds
            .iter()
            .map(|round| figure(&round[index]) / figure(&round[bare]));
        match index == bare {
            true => String::new(),
            false => format!("{:.2}", Spread::of(ratios)),
        }
    };
    [
        format!("{:.0}", spread(|m| m.per_second)),
        format!("{:.0}", spread(|m| m.per_cpu_second).median),
        of_bare(|m| m.per_cpu_second),
        format!("{:.2}", spread(|m| m.p50).median),
        format!("{:.2}", spread(|m| m.p99).median),
        of_bare(|m| m.p99),
        format!("{:.2}", spread(|m| m.p999).median),
        format!("{:.1}", spread(|m| mib(m.resident.all)).median),
    ]
}
