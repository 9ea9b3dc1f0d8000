//! The daemon as a component of a real Prosody, beside Prosody's own mod_unified_push and beside
//! what any component could do at most there; and on a real ejabberd.

use std::{fmt::Write, fs, path::Path, time::Duration};

use testbed::{
    Kind, Server,
    server::{ORACLE, ORACLE_SECRET},
};
use unified_push::token::Backend;

use crate::{
    Options,
    daemon::{Daemon, Start},
    load::{Load, Measured, Requests, requests},
    phones::Phones,
    report::{Spread, Table},
    round_trip::RoundTrip,
};

const PHONES: usize = 100;
/// What only exchanges stanzas, and a daemon for each back end.
const COMPONENTS: usize = 3;
const CONNECTIONS: usize = 32;
const BODIES: [usize; 2] = [200, 3072];

/// The components that are Prosody's own push service with the other back ends; [`ORACLE`] is the one
/// with jwt.
const STORING: &str = "storing-oracle.example.test";
const PASETO: &str = "paseto-oracle.example.test";

/// Back ends, and the components of the server's own that have them.
type Modules = [(Backend, &'static str)];

enum Subject {
    /// The server's most.
    RoundTrip(RoundTrip),
    Daemon(Backend, Box<Daemon>, Vec<String>),
    Module(Backend, Vec<String>),
}

pub async fn run(options: &Options, prosody_13: Option<&Path>) {
    let mut table = Table::new(&[
        "server",
        "body",
        "who",
        "pushes/s",
        "pushes/s, of the module's",
        "of round trips",
        "p50 ms",
        "p99 ms",
        "CPU µs of the server",
        "own CPU µs",
        "CPU, of the module's",
    ]);
    for kind in Kind::ALL {
        if let Some(missing) = kind.missing() {
            println!("left out: {missing}");
            continue;
        }
        let server = Server::prepare(kind, COMPONENTS);
        let modules: &Modules = match kind {
            Kind::Prosody => &[(Backend::Storage, STORING), (Backend::Jwt, ORACLE)],
            Kind::Ejabberd => &[],
        };
        let backends = [Backend::Storage, Backend::Jwt];
        on(
            &kind.to_string(),
            server,
            &backends,
            modules,
            options,
            &mut table,
        )
        .await;
    }
    match prosody_13 {
        None => println!("left out: no Prosody 13 was named"),
        Some(program) => {
            let mut server = Server::prepare(Kind::Prosody, COMPONENTS);
            server.layout.program = program.to_owned();
            let modules = [(Backend::Paseto, PASETO)];
            let backends = [Backend::Paseto];
            on(
                "prosody 13",
                server,
                &backends,
                &modules,
                options,
                &mut table,
            )
            .await;
        }
    }
    table.publish("side-by-side", options.write);
}

async fn on(
    name: &str,
    server: Server,
    backends: &[Backend],
    modules: &Modules,
    options: &Options,
    table: &mut Table,
) {
    for (backend, service) in modules {
        if *service != ORACLE {
            add_oracle(&server, *backend, service);
        }
    }
    server.start().await;
    let pid = server.pid();
    let mut phones = Phones::log_in(&server, PHONES).await;
    let mut subjects = subjects(options, &server, &mut phones, backends, modules).await;
    let rounds = if options.quick { 1 } else { 7 };
    let load = Load {
        connections: CONNECTIONS,
        warm_up: Duration::from_millis(500),
        window: Duration::from_millis(if options.quick { 500 } else { 1500 }),
    };
    for body in BODIES {
        let mut measured = Vec::new();
        for _ in 0..rounds {
            let mut round = Vec::new();
            for subject in &mut subjects {
                let before = phones.pushed();
                let one = subject.run(load, &server, pid, &phones.jids, body).await;
                let answered = one.per_second * load.window.as_secs_f64();
                assert!((phones.pushed() - before) as f64 >= answered.floor());
                round.push(one);
            }
            measured.push(round);
        }
        for (index, subject) in subjects.iter().enumerate() {
            let mut row = vec![name.to_owned(), body.to_string(), subject.name()];
            row.extend(cells(&measured, &subjects, index));
            println!("{}", row.join("  "));
            table.row(&row);
        }
    }
    server.stop().await;
}

async fn subjects(
    options: &Options,
    server: &Server,
    phones: &mut Phones,
    backends: &[Backend],
    modules: &Modules,
) -> Vec<Subject> {
    let account = server.component();
    let port = server.layout.components;
    let round_trip = RoundTrip::connect(port, &account).await;
    let mut subjects = vec![Subject::RoundTrip(round_trip)];
    for backend in backends {
        let account = server.component();
        let start = Start::new(&options.daemon, *backend);
        let daemon = start.at(&account, port).await;
        let endpoints = phones.register(&account.domain).await;
        subjects.push(Subject::Daemon(*backend, Box::new(daemon), endpoints));
    }
    for (backend, service) in modules {
        let endpoints = phones.register(service).await;
        subjects.push(Subject::Module(*backend, endpoints));
    }
    subjects
}

/// Prosody tells its push services apart by the host that is asked.
fn add_oracle(server: &Server, backend: Backend, service: &str) {
    let file = server.layout.dir.join("prosody.cfg.lua");
    let mut config = fs::read_to_string(&file).unwrap();
    let port = server.layout.http;
    write!(
        config,
        r#"
Component "{service}" "unified_push"
    unified_push_acl = {{ "example.test" }}
    unified_push_backend = "{backend}"
    unified_push_secret = "{ORACLE_SECRET}"
    http_external_url = "http://{service}:{port}/"
"#
    )
    .unwrap();
    fs::write(file, config).unwrap();
}

impl Subject {
    fn name(&self) -> String {
        match self {
            Self::RoundTrip(_) => "round trips alone".to_owned(),
            Self::Daemon(backend, ..) => backend.to_string(),
            Self::Module(backend, _) => format!("mod_unified_push, {backend}"),
        }
    }

    async fn run(
        &mut self,
        load: Load,
        server: &Server,
        pid: u32,
        jids: &[String],
        body: usize,
    ) -> Measured {
        let bodies = |endpoints: &[String]| -> Requests { requests(endpoints, body) };
        match self {
            Self::RoundTrip(component) => component.run(load, pid, jids, body).await,
            Self::Daemon(_, daemon, endpoints) => {
                let (own, requests) = (daemon.pid(), bodies(endpoints));
                load.run_beside(pid, Some(own), daemon.port(), &requests)
                    .await
            }
            Self::Module(_, endpoints) => {
                let requests = bodies(endpoints);
                load.run_beside(pid, None, server.layout.http, &requests)
                    .await
            }
        }
    }

    fn backend(&self) -> Option<Backend> {
        match self {
            Self::RoundTrip(_) => None,
            Self::Daemon(backend, ..) | Self::Module(backend, _) => Some(*backend),
        }
    }
}

fn cells(rounds: &[Vec<Measured>], subjects: &[Subject], index: usize) -> [String; 8] {
    let subject = &subjects[index];
    let ours = matches!(subject, Subject::Daemon(..));
    let module = subjects
        .iter()
        .position(|other| {
            matches!(other, Subject::Module(..)) && other.backend() == subject.backend()
        })
        .filter(|_| ours);
    let spread = |figure: &dyn Fn(&Measured) -> f64| {
        Spread::of(rounds.iter().map(|round| figure(&round[index])))
    };
    let ratio = |to: Option<usize>, figure: &dyn Fn(&Measured, &Measured) -> f64| {
        let to = to?;
        let ratios = rounds.iter().map(|round| figure(&round[index], &round[to]));
        Some(Spread::of(ratios))
    };
    let shown = |ratio: Option<Spread>, digits: usize| {
        ratio.map_or(String::new(), |ratio| format!("{ratio:.digits$}"))
    };
    let speed = |one: &Measured, other: &Measured| one.per_second / other.per_second;
    [
        format!("{:.0}", spread(&|m| m.per_second)),
        shown(ratio(module, &speed), 2),
        shown(ratio((index > 0).then_some(0), &speed), 2),
        format!("{:.1}", spread(&|m| m.p50).median),
        format!("{:.1}", spread(&|m| m.p99).median),
        format!("{:.0}", spread(&|m| m.cpu * 1e6).median),
        match ours {
            true => format!("{:.0}", spread(&|m| m.cpu_beside * 1e6).median),
            false => String::new(),
        },
        shown(ratio(module, &|one, other| one.cpu_beside / other.cpu), 3),
    ]
}
