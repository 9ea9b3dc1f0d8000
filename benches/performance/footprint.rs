//! What the daemon takes: disk, time to start, memory.

use std::{fs, path::Path, time::Duration};

use tempfile::TempDir;
use tokio::{net::TcpStream, time::sleep};
use unified_push::token::Backend;

use crate::{
    Options,
    daemon::{Daemon, Start},
    in_flight,
    load::{exchange, requests},
    measured::{Resident, resident},
    report::{Spread, Table, mib},
    rows::{MILLION, state_with, waiting_phones},
};

const STARTS: usize = 9;
const CONNECTIONS: usize = 10_000;
const SOME: usize = 100;
/// After that the daemon keeps little of an idle connection, and has not closed it yet.
const IDLE: Duration = Duration::from_secs(5);
const IN_FLIGHT: usize = 100_000;

pub async fn run(options: &Options) {
    // First, since it measures this process.
    let in_flight = in_flight::memory(IN_FLIGHT, 200).await;
    let phones = if options.quick { MILLION / 10 } else { MILLION };
    let binary = fs::metadata(&options.daemon).unwrap().len();
    let empty = starts(options, None).await;
    let million = state_with(phones);
    let full = starts(options, Some(million.path())).await;
    let (idle, connected) = connections(options).await;
    let waiting = waiting_phones(phones);
    let of_phone = memory_with(options, &waiting)
        .await
        .saturating_sub(idle.own)
        / u64::from(phones);
    let link_up = in_flight::link_up(waiting, phones).await;
    let per_connection = (connected.all - idle.all) / CONNECTIONS as u64;
    let present = if options.quick {
        "100,000"
    } else {
        "1 million"
    };

    let mut table = Table::new(&["what", "figure", "aim"]);
    for [what, figure, aim] in [
        ["binary", &format!("{:.1} MiB", mib(binary)), ""],
        [
            "start to ready, empty store",
            &format!("{empty:.0} ms"),
            "50 ms",
        ],
        [
            &format!("start to ready, {present} registrations"),
            &format!("{full:.0} ms"),
            "50 ms",
        ],
        [
            "resident when idle",
            &format!(
                "{:.1} MiB, {:.1} MiB of it its own",
                mib(idle.all),
                mib(idle.own)
            ),
            "10 MiB",
        ],
        [
            "with 10,000 idle connections",
            &format!("{:.1} MiB, {per_connection} bytes each", mib(connected.all)),
            "6144 bytes each",
        ],
        [
            "100,000 pushes in flight",
            &format!(
                "{:.1} MiB, {} bytes each",
                mib(in_flight),
                in_flight / IN_FLIGHT as u64
            ),
            "150 MiB",
        ],
        [
            &format!("{present} phones that messages wait for"),
            &format!("{of_phone} bytes each"),
            "200 bytes",
        ],
        [
            "link up for these",
            &format!("{:.3} ms", link_up * 1000.0),
            "10 ms",
        ],
    ] {
        table.row(&[what, figure, aim]);
    }
    table.publish("footprint", options.write);
}

/// Milliseconds until the daemon says that it is ready.
async fn starts(options: &Options, state_dir: Option<&Path>) -> Spread {
    let mut times = Vec::new();
    for _ in 0..STARTS {
        let start = Start::new(&options.daemon, Backend::Storage);
        let start = match state_dir {
            Some(state_dir) => start.on(state_dir),
            None => start,
        };
        let (daemon, _host) = start.run().await;
        times.push(daemon.start.as_secs_f64() * 1000.0);
        daemon.stop().await;
    }
    Spread::of(times)
}

/// The daemon's own memory when phones wait.
async fn memory_with(options: &Options, waiting: &TempDir) -> u64 {
    let start = Start::new(&options.daemon, Backend::Paseto).on(waiting.path());
    let (daemon, _host) = start.run().await;
    sleep(Duration::from_secs(1)).await;
    let own = resident(daemon.pid()).own;
    daemon.stop().await;
    own
}

/// Memory when idle, and when there are many connections that have pushed once and are kept.
async fn connections(options: &Options) -> (Resident, Resident) {
    let start = Start::new(&options.daemon, Backend::Paseto);
    let (daemon, mut host) = start.run().await;
    let endpoints = host.register(1);
    sleep(Duration::from_secs(1)).await;
    let idle = resident(daemon.pid());
    let request = &requests(&endpoints, 200)[0];
    let mut open = Vec::new();
    for _ in 0..CONNECTIONS {
        open.push(push_once(&daemon, request).await);
    }
    sleep(IDLE).await;
    // The allocator gives back what is free when it has something to do.
    for _ in 0..SOME {
        exchange(&mut open[0], request).await.unwrap();
    }
    let connected = resident(daemon.pid());
    daemon.stop().await;
    (idle, connected)
}

async fn push_once(daemon: &Daemon, request: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", daemon.port()))
        .await
        .unwrap();
    exchange(&mut stream, request).await.unwrap();
    stream
}
