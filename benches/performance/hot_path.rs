//! How many instructions a push takes, and its parts: counted by valgrind, so that neither the
//! machine nor what else it does matters. The compiler does; `hot_path.txt` names it.
//!
//! Each count is the difference between a long and a short run, which leaves the start out.

use std::{
    collections::BTreeMap,
    env, fs,
    hint::black_box,
    path::Path,
    process::{Command, Stdio, exit},
    sync::Arc,
    time::Duration,
};

use bytes::{BufMut, Bytes};
use clap::ValueEnum;
use jid::{BareJid, Jid};
use rustix::process::Signal;
use testbed::{PATIENCE, vapid::Sender};
use tokio::{net::TcpStream, time::Instant};
use unified_push::{
    link::{PushStanza, Sent, StanzaId},
    model::{
        payload::Payload,
        registration::{Digest, Registration},
        time::{Clock, SystemClock, Timestamp},
    },
    token::Backend,
    xmpp::{
        reader::{Event, Reader},
        session::{Action, Session},
        writer,
    },
};

use crate::{
    Options,
    bare::Bare,
    daemon::{Daemon, Start},
    host::DOMAIN,
    in_flight::Bench,
    load::{exchange, requests},
    report::Table,
};

const COMMITTED: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/benches/performance/hot_path.txt"
);

/// Short and long runs.
const PARTS: [u32; 2] = [200, 2200];
const PUSHES: [u32; 2] = [200, 1200];

const BODY: usize = 200;

/// How a look-up in SQLite meets the thread that makes it differs from run to run: the least of so many
/// counts.
const ROUNDS: u32 = 3;

/// What may grow without a word, in percent.
const TOLERANCE: u64 = 5;

#[derive(Clone, Copy, ValueEnum)]
pub enum Case {
    OpenPaseto,
    OpenJwt,
    OpenStorage,
    BuildStanza,
    ReadAnswer,
}

/// Instructions by what they are for.
type Counts = BTreeMap<String, u64>;

pub async fn run(options: &Options, check: bool) {
    if Command::new("valgrind")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_err()
    {
        println!("left out: there is no valgrind here");
        return;
    }
    let mut counts = Counts::new();
    for case in Case::value_variants() {
        let name = case.to_possible_value().unwrap().get_name().to_owned();
        let count = || per_time(PARTS.map(|times| count_repeated(&name, times)), PARTS);
        let least = (0..ROUNDS).map(|_| count()).min().unwrap();
        counts.insert(name, least);
    }
    for backend in crate::daemon::BACKENDS {
        let mut runs = [0; 2];
        for (run, times) in runs.iter_mut().zip(PUSHES) {
            *run = count_pushes(options, backend, times).await;
        }
        counts.insert(format!("push-{backend}"), per_time(runs, PUSHES));
    }
    let mut runs = [0; 2];
    for (run, times) in runs.iter_mut().zip(PUSHES) {
        *run = count_signed(options, times).await;
    }
    counts.insert("push-vapid".to_owned(), per_time(runs, PUSHES));
    let mut bare = [0; 2];
    for (run, times) in bare.iter_mut().zip(PUSHES) {
        *run = count_bare(times).await;
    }
    counts.insert("push-bare-axum-handler".to_owned(), per_time(bare, PUSHES));
    let grown = compare(&counts, &committed(), options.write);
    if options.write {
        let lines = counts
            .iter()
            .map(|(name, count)| format!("{name} {count}\n"));
        let compiler = format!("# {}\n", compiler());
        fs::write(COMMITTED, compiler + &lines.collect::<String>()).unwrap();
    }
    if check && grown {
        println!("more than {TOLERANCE} % above the committed counts");
        exit(1);
    }
}

/// Shows both, or the new ones alone when they are to be committed, and says whether one has grown
/// too much.
fn compare(counts: &Counts, committed: &Counts, write: bool) -> bool {
    let columns = if write { 2 } else { 3 };
    let mut table = Table::new(&["what", "instructions", "committed"][..columns]);
    let mut grown = false;
    for (name, count) in counts {
        let before = committed.get(name);
        grown |= before.is_some_and(|before| count * 100 > before * (100 + TOLERANCE));
        let before = before.map_or(String::new(), u64::to_string);
        table.row(&[name.clone(), count.to_string(), before][..columns]);
    }
    table.publish("hot-path", write);
    grown
}

fn committed() -> Counts {
    let text = fs::read_to_string(COMMITTED).unwrap_or_default();
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    lines
        .filter_map(|(name, count)| Some((name.to_owned(), count.parse().ok()?)))
        .collect()
}

fn compiler() -> String {
    let output = Command::new("rustc").arg("--version").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn per_time(runs: [u64; 2], times: [u32; 2]) -> u64 {
    (runs[1] - runs[0]) / u64::from(times[1] - times[0])
}

/// Runs this program under valgrind, with [`repeat`] as its work.
fn count_repeated(case: &str, times: u32) -> u64 {
    let dir = tempfile::tempdir().unwrap();
    let [valgrind, arguments @ ..] = valgrind(dir.path());
    let status = Command::new(valgrind)
        .args(arguments)
        .arg(env::current_exe().unwrap())
        .args(["repeat", case, &times.to_string()])
        .status();
    assert!(status.unwrap().success());
    counted(dir.path())
}

/// Runs the bare handler under valgrind, with the same requests.
async fn count_bare(times: u32) -> u64 {
    let dir = tempfile::tempdir().unwrap();
    let mut bare = Bare::under(&valgrind(dir.path()), Duration::ZERO).await;
    // As long as a token of the back end paseto.
    let endpoint = format!("http://127.0.0.1:{}/push/{}", bare.port, "x".repeat(249));
    push(bare.port, &requests(&[endpoint], BODY)[0], times).await;
    bare.process.signal(Signal::TERM);
    bare.process.exit(PATIENCE).await;
    counted(dir.path())
}

/// Runs the daemon under valgrind; one connection pushes.
async fn count_pushes(options: &Options, backend: Backend, times: u32) -> u64 {
    let dir = tempfile::tempdir().unwrap();
    let wrapper = valgrind(dir.path());
    let start = Start::new(&options.daemon, backend).under(&wrapper);
    let (daemon, mut host) = start.run().await;
    let request = requests(&host.register(1), BODY)[0].clone();
    count_exchanges(dir.path(), daemon, &request, times).await
}

/// The same with a signature that the endpoint asks for; with the back end paseto.
async fn count_signed(options: &Options, times: u32) -> u64 {
    let dir = tempfile::tempdir().unwrap();
    let wrapper = valgrind(dir.path());
    let start = Start::new(&options.daemon, Backend::Paseto).under(&wrapper);
    let (daemon, mut host) = start.run().await;
    let sender = Sender::new();
    let vapid = format!(" vapid='{}'", sender.key());
    let request = requests(&host.register_with(1, &vapid), BODY)[0].clone();
    let origin = format!("http://127.0.0.1:{}", daemon.port());
    let request = signed(&sender, &origin, &request);
    count_exchanges(dir.path(), daemon, &request, times).await
}

async fn count_exchanges(dir: &Path, daemon: Daemon, request: &[u8], times: u32) -> u64 {
    push(daemon.port(), request, times).await;
    daemon.stop().await;
    counted(dir)
}

/// A request with one more header.
fn signed(sender: &Sender, origin: &str, request: &[u8]) -> Vec<u8> {
    let exp = SystemClock.now().as_secs() + 12 * 3600;
    let header = format!("\r\nauthorization: {}", sender.authorization(origin, exp));
    let end_of_head = request.windows(4).position(|four| four == b"\r\n\r\n");
    let (head, rest) = request.split_at(end_of_head.unwrap());
    [head, header.as_bytes(), rest].concat()
}

async fn push(port: u16, request: &[u8], times: u32) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    for _ in 0..times {
        exchange(&mut stream, request).await.unwrap();
    }
}

fn valgrind(dir: &Path) -> [String; 4] {
    [
        "valgrind".to_owned(),
        "--quiet".to_owned(),
        "--tool=callgrind".to_owned(),
        format!("--callgrind-out-file={}", dir.join("counts").display()),
    ]
}

fn counted(dir: &Path) -> u64 {
    let counts = fs::read_to_string(dir.join("counts")).unwrap();
    let total = counts
        .lines()
        .find_map(|line| line.strip_prefix("summary: "));
    total.unwrap().trim().parse().unwrap()
}

/// What is counted.
pub async fn repeat(case: Case, times: u32) {
    match case {
        Case::OpenPaseto => open(Backend::Paseto, times).await,
        Case::OpenJwt => open(Backend::Jwt, times).await,
        Case::OpenStorage => open(Backend::Storage, times).await,
        Case::BuildStanza => build_stanza(times),
        Case::ReadAnswer => read_answer(times),
    }
}

async fn open(backend: Backend, times: u32) {
    let bench = Bench::new(backend).await;
    let mut tokens = Vec::new();
    for phone in 0..PARTS[1] {
        tokens.push(bench.token(phone as usize).await);
    }
    // Each once: what was opened lately is remembered.
    for token in &tokens[..times as usize] {
        black_box(bench.tokens.open(token).await.unwrap());
    }
}

fn build_stanza(times: u32) {
    let domain = BareJid::new(DOMAIN).unwrap();
    let stanza = PushStanza {
        id: StanzaId::encode(&[9; StanzaId::BYTES]),
        registration: Arc::new(Registration {
            owner: Jid::new("user-1@example.org/Conversations.AbCd").unwrap(),
            application: Digest::from_bytes([7; 32]),
            instance: Digest::from_bytes([8; 32]),
            issued: Timestamp::from_secs(0),
            expires: Timestamp::from_secs(1),
        }),
        stand_in: None,
        payload: Payload::new(Bytes::from(vec![b'x'; BODY])).unwrap(),
        deadline: Instant::now(),
        sent: Sent::default(),
    };
    let mut out = Vec::new();
    for _ in 0..times {
        out.clear();
        writer::push(&mut out, &domain, black_box(&stanza));
        black_box(&out);
    }
}

fn read_answer(times: u32) {
    let domain = BareJid::new(DOMAIN).unwrap();
    let session = Session::new(
        domain,
        Default::default(),
        Default::default(),
        "ping".to_owned(),
    );
    let answer = format!(
        "<iq type='result' id='{}' from='user-1@example.org/Conversations.AbCd' to='{DOMAIN}'/>",
        "x".repeat(51)
    );
    let mut reader = Reader::default();
    for _ in 0..times {
        reader.buffer().put_slice(answer.as_bytes());
        let Ok(Some(Event::Stanza(stanza))) = reader.next_event() else {
            panic!("the answer is a stanza");
        };
        assert!(matches!(
            session.handle(stanza),
            Some(Action::Answer { .. })
        ));
    }
}
