//! What a healthy sender notices of clients that take all they can: its latency beside them, as a multiple
//! of its latency without them, in the same rounds.

use std::time::Duration;

use testbed::{Kind, Server, phone::Stream};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, MissedTickBehavior, interval, sleep},
};
use unified_push::token::Backend;

use crate::{
    Options,
    attackers::{Attackers, Flood, Stanza, attack, echo, repeat, stanzas},
    daemon::{Daemon, Start},
    host::Host,
    load::{Requests, requests},
    phones::Phones,
    report::{Spread, Table},
};

/// Between two pushes of the healthy sender.
const PACE: Duration = Duration::from_millis(10);
const BODY: usize = 200;

/// What a flood is measured against.
#[derive(Clone, Copy, Debug)]
enum Quiet {
    /// Nobody else sends.
    Nobody,
    /// The same, and the phones are away: each push is stored.
    Storing,
    /// Through a real Prosody, beside a flood of the same stanzas at another component.
    Elsewhere(Stanza),
}

type Floods = &'static [(Flood, &'static str)];

const GROUPS: [(Quiet, &str, Floods); 4] = [
    (
        Quiet::Nobody,
        "nobody",
        &[
            (
                Flood::Slow,
                "200 slow headers and 200 clients that read nothing",
            ),
            (
                Flood::Guesses(1),
                "200 connections that guess, one at a time",
            ),
            (
                Flood::Guesses(10),
                "200 connections that guess, 10 pipelined",
            ),
            (
                Flood::Pipelines,
                "4 connections with 500 pipelined pushes each",
            ),
        ],
    ),
    (
        Quiet::Storing,
        "nobody, and each push is stored",
        &[(
            Flood::Storing,
            "one account that stores with `TTL: 1` over 1,500 connections",
        )],
    ),
    (
        Quiet::Elsewhere(Stanza::Ping),
        "one account's pings at another component, through Prosody",
        &[(Flood::Stanzas(Stanza::Ping), "the same pings at the daemon")],
    ),
    (
        Quiet::Elsewhere(Stanza::Register),
        "one account's registrations at another component, through Prosody",
        &[(
            Flood::Stanzas(Stanza::Register),
            "the same registrations at the daemon",
        )],
    ),
];

/// For how many endpoints of one account.
const APPS: usize = 400;

/// Milliseconds.
struct Latency {
    p50: f64,
    p99: f64,
}

pub async fn run(options: &Options) {
    let mut table = Table::new(&[
        "beside it",
        "p50 ms",
        "p99 ms",
        "p50, of quiet",
        "p99, of quiet",
    ]);
    for (quiet, name, floods) in GROUPS {
        let missing = match quiet {
            Quiet::Elsewhere(_) => Kind::Prosody.missing(),
            Quiet::Nobody | Quiet::Storing => None,
        };
        match missing {
            Some(missing) => println!("left out: {missing}"),
            None => measure(options, quiet, name, floods, &mut table).await,
        }
    }
    table.publish("floods", options.write);
}

async fn measure(options: &Options, quiet: Quiet, name: &str, floods: Floods, table: &mut Table) {
    let (rounds, window) = if options.quick { (1, 2) } else { (5, 5) };
    let window = Duration::from_secs(window);
    let mut scene = Scene::new(options, quiet).await;
    let mut measured: Vec<Vec<(Latency, Latency)>> = Vec::new();
    for (flood, _) in floods {
        let mut of_flood = Vec::new();
        for _ in 0..rounds {
            let before = match quiet {
                Quiet::Nobody | Quiet::Storing => scene.sender(window).await,
                Quiet::Elsewhere(stanza) => {
                    let attackers = scene.stanzas(stanza, scene.elsewhere.clone()).await;
                    scene.beside(attackers, window).await
                }
            };
            let attackers = match *flood {
                Flood::Stanzas(stanza) => scene.stanzas(stanza, scene.service.clone()).await,
                flood => scene.connections(flood),
            };
            of_flood.push((before, scene.beside(attackers, window).await));
        }
        measured.push(of_flood);
    }
    let before = |figure: fn(&Latency) -> f64| {
        let all = measured.iter().flatten().map(|(before, _)| figure(before));
        format!("{:.2}", Spread::of(all))
    };
    table.row(&[
        name.to_owned(),
        before(|l| l.p50),
        before(|l| l.p99),
        String::new(),
        String::new(),
    ]);
    for ((_, name), rounds) in floods.iter().zip(&measured) {
        let figure = |of: fn(&Latency) -> f64| Spread::of(rounds.iter().map(|(_, l)| of(l)));
        let ratio = |of: fn(&Latency) -> f64| Spread::of(rounds.iter().map(|(q, l)| of(l) / of(q)));
        table.row(&[
            (*name).to_owned(),
            format!("{:.2}", figure(|l| l.p50)),
            format!("{:.2}", figure(|l| l.p99)),
            format!("{:.1}", ratio(|l| l.p50)),
            format!("{:.1}", ratio(|l| l.p99)),
        ]);
    }
}

/// A daemon with a healthy sender, and what an attacker needs.
struct Scene {
    port: u16,
    healthy: Vec<u8>,
    /// What the attacker may push.
    greedy: Requests,
    /// The daemon's, and another component's.
    service: String,
    elsewhere: String,
    server: Option<Server>,
    attacks: usize,
    _daemon: Daemon,
    _far_side: FarSide,
}

enum FarSide {
    Alone { _host: Host },
    Prosody { _phones: Phones, _echo: Attackers },
}

impl Scene {
    async fn new(options: &Options, quiet: Quiet) -> Self {
        let start = Start::new(&options.daemon, Backend::Paseto)
            .with(|config| config.value("limits.connections_per_client", 20_000));
        let Quiet::Elsewhere(_) = quiet else {
            let (daemon, mut host) = start.run().await;
            let healthy = host.register(1);
            let greedy = match quiet {
                Quiet::Storing => host.register_apps(APPS),
                _ => host.register(1),
            };
            if let Quiet::Storing = quiet {
                host.send_away();
            }
            return Self {
                port: daemon.port(),
                healthy: requests(&healthy, BODY)[0].clone(),
                greedy: requests(&greedy, BODY),
                service: String::new(),
                elsewhere: String::new(),
                server: None,
                attacks: 0,
                _daemon: daemon,
                _far_side: FarSide::Alone { _host: host },
            };
        };
        let server = Server::prepare(Kind::Prosody, 2);
        server.start().await;
        let (account, other) = (server.component(), server.component());
        let port = server.layout.components;
        // As it is by default: the healthy phone has registered before the flood.
        let start = start.with(|config| config.text("limits.registration_rate", "1/s, burst 60"));
        let daemon = start.at(&account, port).await;
        let mut phones = Phones::log_in(&server, 1).await;
        let healthy = phones.register(&account.domain).await;
        let elsewhere = other.domain.clone();
        let echo = Attackers::start(move || {
            tokio::spawn(echo(port, other));
        });
        Self {
            port: daemon.port(),
            healthy: requests(&healthy, BODY)[0].clone(),
            greedy: requests(&healthy, BODY),
            service: account.domain,
            elsewhere,
            server: Some(server),
            attacks: 0,
            _daemon: daemon,
            _far_side: FarSide::Prosody {
                _phones: phones,
                _echo: echo,
            },
        }
    }

    async fn sender(&self, window: Duration) -> Latency {
        sender(self.port, &self.healthy, window).await
    }

    async fn beside(&self, attackers: Attackers, window: Duration) -> Latency {
        sleep(Duration::from_millis(500)).await;
        let latency = self.sender(window).await;
        attackers.stop();
        // What they left behind is cleared away.
        sleep(Duration::from_millis(500)).await;
        latency
    }

    fn connections(&self, flood: Flood) -> Attackers {
        let (port, pushes) = (self.port, self.greedy.clone());
        Attackers::start(move || attack(flood, port, &pushes))
    }

    /// From an account that has not been heard of.
    async fn stanzas(&mut self, stanza: Stanza, to: String) -> Attackers {
        self.attacks += 1;
        let server = self.server.as_ref().unwrap();
        let mut client = Stream::log_in(server, &format!("mallory-{}", self.attacks)).await;
        client.bind("flood").await;
        let socket = client.read.reunite(client.write).unwrap();
        // It goes to another thread.
        let socket = socket.into_std().unwrap();
        Attackers::start(move || {
            let socket = TcpStream::from_std(socket).unwrap();
            tokio::spawn(repeat(socket, stanzas(stanza, &to)));
        })
    }
}

/// One that sends at a steady pace over one connection, and opens another when that is closed.
async fn sender(port: u16, request: &[u8], window: Duration) -> Latency {
    let mut latencies = Vec::new();
    let mut stream = connect(port).await;
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let end = Instant::now() + window;
    while Instant::now() < end {
        // Counted from when it wanted to send.
        let due = pace.tick().await;
        while ask(&mut stream, request).await.is_none() {
            stream = connect(port).await;
        }
        latencies.push(due.elapsed().as_secs_f64() * 1000.0);
    }
    latencies.sort_by(f64::total_cmp);
    Latency {
        p50: latencies[latencies.len() / 2],
        p99: latencies[latencies.len() * 99 / 100],
    }
}

async fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// None: the connection ended before the answer.
async fn ask(stream: &mut TcpStream, request: &[u8]) -> Option<()> {
    stream.write_all(request).await.ok()?;
    let mut answer = [0; 2048];
    let read = stream.read(&mut answer).await.ok()?;
    assert!(answer.starts_with(b"HTTP/1.1 201") || read == 0, "refused");
    (read > 0).then_some(())
}
