//! What a healthy sender notices of clients that take all they can: its latency beside them, as a multiple
//! of its latency without them, in the same rounds.

use std::{
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime,
    time::{Instant, MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::CancellationToken;
use unified_push::token::Backend;

use crate::{
    Options,
    daemon::Start,
    load::requests,
    report::{Spread, Table},
};

/// Between two pushes of the healthy sender.
const PACE: Duration = Duration::from_millis(10);
const BODY: usize = 200;

#[derive(Clone, Copy, Debug)]
enum Flood {
    /// 200 headers that arrive a byte at a time, and 200 clients that ask and never read.
    Slow,
    /// 200 connections that guess endpoints, so many guesses at a time.
    Guesses(usize),
    /// 4 connections with 500 pushes at a time.
    Pipelines,
}

const FLOODS: [(Flood, &str); 4] = [
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
];

/// Milliseconds.
struct Latency {
    p50: f64,
    p99: f64,
}

pub async fn run(options: &Options) {
    let (rounds, window) = if options.quick { (1, 2) } else { (5, 5) };
    let window = Duration::from_secs(window);
    let (daemon, mut host) = Start::new(&options.daemon, Backend::Paseto).run().await;
    let endpoints = host.register(2);
    let port = daemon.port();
    let (healthy, greedy) = (
        &requests(&endpoints, BODY)[0],
        &requests(&endpoints, BODY)[1],
    );
    let mut table = Table::new(&[
        "beside it",
        "p50 ms",
        "p99 ms",
        "p50, of quiet",
        "p99, of quiet",
    ]);
    let mut measured: Vec<Vec<(Latency, Latency)>> = Vec::new();
    for (flood, _) in FLOODS {
        let mut of_flood = Vec::new();
        for _ in 0..rounds {
            let quiet = sender(port, healthy, window).await;
            let attackers = Attackers::start(flood, port, greedy);
            sleep(Duration::from_millis(500)).await;
            let beside = sender(port, healthy, window).await;
            attackers.stop();
            // What they left behind is cleared away.
            sleep(Duration::from_millis(500)).await;
            of_flood.push((quiet, beside));
        }
        measured.push(of_flood);
    }
    let quiet = |figure: fn(&Latency) -> f64| {
        let all = measured.iter().flatten().map(|(quiet, _)| figure(quiet));
        format!("{:.2}", Spread::of(all))
    };
    table.row(&[
        "nobody".to_owned(),
        quiet(|l| l.p50),
        quiet(|l| l.p99),
        String::new(),
        String::new(),
    ]);
    for ((_, name), rounds) in FLOODS.iter().zip(&measured) {
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
    table.publish("floods", options.write);
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

/// In a thread of their own, until they are stopped.
struct Attackers {
    stop: CancellationToken,
    thread: JoinHandle<()>,
}

impl Attackers {
    fn start(flood: Flood, port: u16, push: &[u8]) -> Self {
        let stop = CancellationToken::new();
        let token = stop.clone();
        let push: Arc<[u8]> = push.into();
        let thread = thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.unwrap();
            runtime.block_on(async {
                attack(flood, port, &push);
                token.cancelled().await;
            });
        });
        Self { stop, thread }
    }

    fn stop(self) {
        self.stop.cancel();
        self.thread.join().unwrap();
    }
}

fn attack(flood: Flood, port: u16, push: &[u8]) {
    match flood {
        Flood::Slow => {
            for _ in 0..200 {
                spawn(port, |mut stream| async move {
                    for byte in b"POST /push/x HTTP/1.1\r\nHost: x\r\nX: ".iter().cycle() {
                        stream.write_all(&[*byte]).await.ok()?;
                        sleep(Duration::from_millis(50)).await;
                    }
                    None
                });
                spawn(port, |mut stream| async move {
                    let ask = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(100);
                    loop {
                        stream.write_all(&ask).await.ok()?;
                    }
                });
            }
        }
        Flood::Guesses(pipelined) => {
            let guess = b"POST /push/made-up HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx";
            for _ in 0..200 {
                let guesses = guess.repeat(pipelined);
                spawn(port, |stream| repeat(stream, guesses));
            }
        }
        Flood::Pipelines => {
            for _ in 0..4 {
                let pushes = push.repeat(500);
                spawn(port, |stream| repeat(stream, pushes));
            }
        }
    }
}

/// One attacker, who connects again whenever it is thrown out.
fn spawn<F: Future<Output = Option<()>> + 'static + Send>(
    port: u16,
    attack: impl FnOnce(TcpStream) -> F + Clone + Send + 'static,
) {
    tokio::spawn(async move {
        loop {
            match TcpStream::connect(("127.0.0.1", port)).await {
                Ok(stream) => drop(attack.clone()(stream).await),
                Err(_) => sleep(Duration::from_millis(10)).await,
            }
        }
    });
}

/// Sends again and again, and reads whatever comes.
async fn repeat(stream: TcpStream, requests: Vec<u8>) -> Option<()> {
    let (mut read, mut write) = stream.into_split();
    let writing = async {
        loop {
            write.write_all(&requests).await.ok()?;
        }
    };
    let reading = async {
        let mut answers = vec![0; 1 << 16];
        while read.read(&mut answers).await.ok()? > 0 {}
        None
    };
    tokio::select! {
        ended = writing => ended,
        ended = reading => ended,
    }
}
