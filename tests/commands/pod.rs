//! As many connections as the chart admits, in as much memory as the chart's pod has: whatever they leave
//! unfinished, the daemon lives and serves the others.

use std::{fs, io, net::SocketAddr, path::PathBuf, process::Command, time::Duration};

use futures::{StreamExt, stream};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use testbed::{Bed, bed::push};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use crate::metrics::value;

/// `resources.limits.memory` of the chart. Its other limits are the daemon's defaults.
const MEMORY: u64 = 256 << 20;
const IN_THE_CHART: &str = "  limits:\n    memory: 256Mi\n";

const CONNECTIONS: u16 = 10_000;
/// Of as many connections as one client may have.
const CLIENTS: u16 = 20;

/// How long a healthy sender waits beside them, in a build for debugging on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A group of processes with a bound on their memory. It is removed in the end.
struct Group {
    dir: PathBuf,
    /// The file that says how much memory there was at most.
    peak: &'static str,
}

impl Group {
    /// The error says where none can be made: by others than root, and in most containers.
    fn make() -> io::Result<Self> {
        let unified = PathBuf::from("/sys/fs/cgroup");
        let name = format!("unified-push-test-{}", std::process::id());
        let group = if unified.join("cgroup.controllers").exists() {
            // It is turned on already where systemd runs.
            let _ = fs::write(unified.join("cgroup.subtree_control"), "+memory");
            Self {
                dir: unified.join(name),
                peak: "memory.peak",
            }
        } else {
            Self {
                dir: unified.join("memory").join(name),
                peak: "memory.max_usage_in_bytes",
            }
        };
        fs::create_dir(&group.dir)?;
        let limit = match group.peak {
            "memory.peak" => "memory.max",
            _ => "memory.limit_in_bytes",
        };
        fs::write(group.dir.join(limit), MEMORY.to_string())?;
        Ok(group)
    }

    /// Has a command run in the group, with as many files as it may have.
    fn hold(&self, command: &Command) -> Command {
        let mut held = Command::new("sh");
        let enter = "echo $$ > \"$1/cgroup.procs\" && shift && exec \"$@\"";
        held.args(["-c", enter, "sh"]).arg(&self.dir);
        held.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => held.env(name, value),
                None => held.env_remove(name),
            };
        }
        held
    }

    fn peak(&self) -> u64 {
        // Linux has it since 5.19.
        let peak = fs::read_to_string(self.dir.join(self.peak)).unwrap_or_default();
        peak.trim().parse().unwrap_or(0)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.dir);
    }
}

/// False where this process may not open so many files.
fn may_open(files: u64) -> bool {
    let limits = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limits.maximum,
        ..limits
    };
    let _ = setrlimit(Resource::Nofile, raised);
    limits.maximum.is_none_or(|most| most >= files)
}

#[tokio::test]
async fn ten_thousand_connections_do_not_end_a_pod() {
    let values = include_str!("../../helm/values.yaml");
    assert!(values.contains(IN_THE_CHART), "another limit in the chart");
    assert!(values.contains("    connections: 10000\n"), "another limit");
    if !may_open(u64::from(CONNECTIONS) + 500) {
        return println!("left out: this user may not open {CONNECTIONS} files (ulimit -n)");
    }
    let group = match Group::make() {
        Ok(group) => group,
        Err(error) => return println!("left out: no group with a bound on memory: {error}"),
    };
    let mut bed = Bed::new().await;
    bed.text("log.level", "error");
    let daemon = bed.start_with(group.hold(&bed.config.serve())).await;
    let endpoint = bed.register("app").await;

    let head = "POST /push/t HTTP/1.1\r\nHost: x\r\n";
    let long = format!("X: {}", "a".repeat(7000));
    let body = format!("Content-Length: 4096\r\n\r\n{}", "x".repeat(4095));
    for (what, half) in [
        ("nothing", String::new()),
        ("half a header", format!("{head}{long}")),
        ("half a body", format!("{head}{body}")),
        (
            "a long header and half a body",
            format!("{head}{long}\r\n{body}"),
        ),
    ] {
        let address = daemon.config.get("http.listen").parse().unwrap();
        let crowd = stream::iter(0..CONNECTIONS)
            .map(|number| connect(address, number % CLIENTS, half.as_bytes()))
            .buffer_unordered(200);
        let crowd: Vec<TcpStream> = crowd.filter_map(async |one| one.ok()).collect().await;
        // Some are closed for the sake of others, as they come.
        assert!(
            crowd.len() > usize::from(CONNECTIONS) / 2,
            "{what}: {}",
            crowd.len()
        );
        for _ in 0..10 {
            let pushed = timeout(PATIENCE, push(&endpoint)).await;
            assert_eq!(pushed.expect("in time"), 201, "beside {what}");
            bed.arrived().await;
        }
        let open = value(&daemon, "http_connections").await;
        println!(
            "{} connections with {what}: {open} open, {} MiB at most",
            crowd.len(),
            group.peak() >> 20
        );
        assert!(daemon.ended().is_none(), "it has ended beside {what}");
    }
    daemon.stop().await;
}

/// From one of some addresses, with part of a request.
async fn connect(to: SocketAddr, client: u16, half: &[u8]) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    // They cost this side memory as well.
    socket.set_send_buffer_size(4096)?;
    socket.bind(SocketAddr::from(([127, 0, 0, 2 + client as u8], 0)))?;
    let connecting = async {
        let mut stream = socket.connect(to).await?;
        stream.write_all(half).await?;
        Ok(stream)
    };
    let connected = timeout(PATIENCE, connecting).await;
    connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
