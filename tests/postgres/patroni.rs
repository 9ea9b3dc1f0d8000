//! Patroni with etcd, which promotes by itself: daemons that are told all hosts, and daemons behind
//! HAProxy, which asks Patroni who the primary is.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tempfile::TempDir;
use testbed::{
    Missing, Process, eventually, free_port,
    postgres::{PASSWORD, USER, as_server_user, connect, give_to_server, programs},
    tests,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout},
};

use crate::{
    Test,
    group::{Endpoint, Group},
    traffic::{self, Sent, Traffic},
};

const PATRONI: &str = "/usr/bin/patroni";
const ETCD: &str = "/usr/bin/etcd";
const HAPROXY: &str = "/usr/sbin/haproxy";

const DATABASE: [&str; 2] = ["direct", "proxied"];

/// Until a cluster is made, or Patroni has seen that its primary is gone.
const PATIENCE: Duration = Duration::from_secs(90);

/// How soon after a promotion something is stored.
const SOON: Duration = Duration::from_secs(1);

pub fn missing() -> Option<Missing> {
    Missing::of(&[PATRONI, ETCD, HAPROXY]).or_else(crate::replication::missing)
}

pub fn tests() -> Vec<Test> {
    tests![
        after_a_switchover_daemons_store_within_a_second,
        after_a_primary_is_lost_daemons_store_within_a_second,
    ]
}

/// Two servers, as their operator has them; they stop with this.
struct Cluster {
    nodes: [Node; 2],
    proxy: u16,
    _haproxy: Process,
    _etcd: Process,
    _dir: TempDir,
}

/// Patroni and its PostgreSQL.
struct Node {
    name: String,
    process: Process,
    data: PathBuf,
    dir: PathBuf,
    port: u16,
    rest: u16,
}

impl Cluster {
    async fn start() -> Self {
        let dir = TempDir::with_prefix("patroni").unwrap();
        give_to_server(dir.path());
        let (etcd_port, etcd) = etcd(dir.path());
        let first = Node::start(dir.path(), "first", etcd_port);
        first.becomes_primary().await;
        let second = Node::start(dir.path(), "second", etcd_port);
        eventually("a synchronous standby", PATIENCE, async || {
            second.says("/sync").await.then_some(())
        })
        .await;
        let nodes = [first, second];
        let (proxy, haproxy) = haproxy(dir.path(), &nodes);
        let client = connect(&nodes[0].url("postgres")).await.unwrap();
        for name in DATABASE {
            let create = format!("CREATE DATABASE {name}");
            client.batch_execute(&create).await.unwrap();
        }
        let cluster = Self {
            nodes,
            proxy,
            _haproxy: haproxy,
            _etcd: etcd,
            _dir: dir,
        };
        cluster.leads_to_primary().await;
        cluster
    }

    /// When somebody who comes by the proxy can write.
    async fn leads_to_primary(&self) -> Instant {
        let [_, proxied] = self.urls();
        eventually("HAProxy leads to the primary", PATIENCE, async || {
            // It holds whoever it leads to a server that is no longer there.
            timeout(Duration::from_millis(200), takes_writes(&proxied))
                .await
                .ok()?
        })
        .await
    }

    /// When each kind of daemons could write again.
    async fn fails_over(&self) -> [Instant; 2] {
        let second = self.nodes[1].becomes_primary().await;
        [second, self.leads_to_primary().await]
    }

    /// One for daemons that know both servers, and one for those that know the proxy. Neither says
    /// which server is meant.
    fn urls(&self) -> [String; 2] {
        let [first, second] = &self.nodes;
        let both = format!("127.0.0.1:{},127.0.0.1:{}", first.port, second.port);
        let hosts = [both, format!("127.0.0.1:{}", self.proxy)];
        let of = |(hosts, name)| format!("postgres://{USER}:{PASSWORD}@{hosts}/{name}");
        [0, 1].map(|which| of((&hosts[which], DATABASE[which])))
    }
}

fn etcd(dir: &Path) -> (u16, Process) {
    let port = free_port();
    let (clients, peers) = (
        format!("http://127.0.0.1:{port}"),
        format!("http://127.0.0.1:{}", free_port()),
    );
    let mut command = as_server_user(ETCD.as_ref(), dir);
    command.arg("--data-dir").arg(dir.join("etcd"));
    command.args([
        "--listen-client-urls",
        &clients,
        "--advertise-client-urls",
        &clients,
    ]);
    command.args([
        "--listen-peer-urls",
        &peers,
        "--initial-advertise-peer-urls",
        &peers,
    ]);
    command.args(["--initial-cluster", &format!("default={peers}")]);
    (
        port,
        Process::start(&mut command, &dir.join("etcd.log")).unwrap(),
    )
}

/// As Patroni's manual has it, but that it asks more often.
fn haproxy(dir: &Path, nodes: &[Node; 2]) -> (u16, Process) {
    let port = free_port();
    let mut config = format!(
        "defaults\n mode tcp\n timeout client 30m\n timeout server 30m\n timeout connect 1s\n\
         listen primary\n bind 127.0.0.1:{port}\n option httpchk OPTIONS /primary\n\
         \x20http-check expect status 200\n\
         \x20default-server inter 100ms fall 2 rise 1 on-marked-down shutdown-sessions\n"
    );
    for Node {
        name, port, rest, ..
    } in nodes
    {
        config += &format!(" server {name} 127.0.0.1:{port} maxconn 100 check port {rest}\n");
    }
    let file = dir.join("haproxy.cfg");
    fs::write(&file, config).unwrap();
    let mut command = as_server_user(HAPROXY.as_ref(), dir);
    command.arg("-db").arg("-f").arg(file);
    (
        port,
        Process::start(&mut command, &dir.join("haproxy.log")).unwrap(),
    )
}

/// What Patroni answers, whose HTTP is of another age than what push senders speak.
async fn ask(port: u16, request: &str) -> std::io::Result<String> {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await?;
    socket.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await?;
    Ok(answer)
}

async fn takes_writes(url: &str) -> Option<Instant> {
    let client = connect(url).await.ok()?;
    let asked = client.query_one("SELECT pg_is_in_recovery()", &[]).await;
    (!asked.ok()?.get::<_, bool>(0)).then(Instant::now)
}

impl Node {
    fn start(parent: &Path, name: &str, etcd: u16) -> Self {
        let dir = parent.join(name);
        fs::create_dir(&dir).unwrap();
        give_to_server(&dir);
        let (port, rest) = (free_port(), free_port());
        let data = dir.join("data");
        let address = |port: u16| format!("127.0.0.1:{port}");
        // YAML, which JSON is.
        let config = json!({
            "scope": "unified", "name": name,
            "restapi": {"listen": address(rest), "connect_address": address(rest)},
            "etcd3": {"host": address(etcd)},
            "bootstrap": {
                "dcs": {
                    "ttl": 20, "loop_wait": 1, "retry_timeout": 3, "synchronous_mode": true,
                    "postgresql": {"use_pg_rewind": true},
                },
                "initdb": ["no-sync", "no-locale", {"encoding": "UTF8"}],
                "pg_hba": [
                    "host all all 127.0.0.1/32 scram-sha-256",
                    "host replication all 127.0.0.1/32 scram-sha-256",
                ],
            },
            "postgresql": {
                "listen": address(port), "connect_address": address(port),
                "data_dir": data, "bin_dir": programs().unwrap(), "pgpass": dir.join("pgpass"),
                "authentication": {
                    "superuser": {"username": USER, "password": PASSWORD},
                    "replication": {"username": "copies", "password": "copies"},
                },
                "parameters": {"unix_socket_directories": dir, "max_connections": 60},
            },
        });
        let file = dir.join("patroni.yml");
        fs::write(&file, config.to_string()).unwrap();
        let mut command = as_server_user(PATRONI.as_ref(), &dir);
        let process = Process::start(command.arg(file), &dir.join("log")).unwrap();
        let name = name.to_owned();
        Self {
            name,
            process,
            data,
            dir,
            port,
            rest,
        }
    }

    fn url(&self, database: &str) -> String {
        format!(
            "postgres://{USER}:{PASSWORD}@127.0.0.1:{}/{database}",
            self.port
        )
    }

    /// Whether Patroni says yes.
    async fn says(&self, path: &str) -> bool {
        let answer = ask(self.rest, &format!("OPTIONS {path} HTTP/1.0\r\n\r\n")).await;
        answer.is_ok_and(|answer| answer.contains(" 200 "))
    }

    async fn becomes_primary(&self) -> Instant {
        let url = self.url("postgres");
        eventually("PostgreSQL takes writes", PATIENCE, async || {
            takes_writes(&url).await
        })
        .await
    }

    /// Everything of it is gone at once.
    fn kill(&self) {
        self.process.signal(Signal::KILL);
        let pid = fs::read_to_string(self.data.join("postmaster.pid")).unwrap();
        let pid = pid.lines().next().unwrap().parse().unwrap();
        // Its children see that it is gone.
        kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    }
}

impl Drop for Node {
    /// PostgreSQL outlives Patroni.
    fn drop(&mut self) {
        self.process.signal(Signal::KILL);
        if std::thread::panicking() {
            println!("{}:\n{}", self.name, self.process.log());
        }
        let mut stop = as_server_user(&programs().unwrap().join("pg_ctl"), &self.dir);
        stop.args(["stop", "--mode=immediate", "--silent", "-t", "10", "-D"]);
        // It may be gone.
        let _ = stop.arg(&self.data).output();
    }
}

/// Daemons of each kind, with their phones.
struct Kind {
    group: Group,
    phones: Vec<Endpoint>,
}

async fn kinds(cluster: &Cluster) -> Vec<Kind> {
    let mut kinds = Vec::new();
    for url in cluster.urls() {
        let group = Group::start(&url, 2).await;
        let phones = group.away(50).await;
        kinds.push(Kind { group, phones });
    }
    kinds
}

async fn after_a_switchover_daemons_store_within_a_second(_: ()) {
    fail_over(async |cluster: &Cluster| {
        let order = json!({"leader": "first", "candidate": "second"}).to_string();
        let length = order.len();
        let order = format!("POST /switchover HTTP/1.0\r\nContent-Length: {length}\r\n\r\n{order}");
        let (ordered, promoted) =
            tokio::join!(ask(cluster.nodes[0].rest, &order), cluster.fails_over());
        let answer = ordered.unwrap();
        assert!(answer.contains(" 200 "), "{answer}");
        promoted
    })
    .await;
}

async fn after_a_primary_is_lost_daemons_store_within_a_second(_: ()) {
    fail_over(async |cluster: &Cluster| {
        cluster.nodes[0].kill();
        cluster.fails_over().await
    })
    .await;
}

async fn fail_over(cause: impl AsyncFn(&Cluster) -> [Instant; 2]) {
    let cluster = Cluster::start().await;
    let kinds = kinds(&cluster).await;
    let traffic: Vec<_> = kinds
        .iter()
        .map(|Kind { group, phones }| Traffic::start(group, phones))
        .collect();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let promoted = cause(&cluster).await;
    // The former primary comes back as a standby meanwhile, if it does.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let mut all: Vec<Vec<Sent>> = Vec::new();
    for traffic in traffic {
        all.push(traffic.end().await);
    }
    for (((kind, sent), promoted), name) in kinds.iter().zip(all).zip(promoted).zip(DATABASE) {
        traffic::assert_harmless(&sent);
        let stored = traffic::stored_after(promoted, &sent, 2);
        let accepted = traffic::accepted(&sent);
        println!(
            "{name}: stored again {stored:?} after; {} of {} accepted, {} refused a second later",
            accepted.len(),
            sent.len(),
            traffic::refused_after(promoted + SOON, &sent)
        );
        assert!(stored.iter().all(|took| *took < SOON), "{stored:?}");
        let took = kind.group.call_back(&kind.phones, &accepted).await;
        println!("{name}: all arrived within {took:?}");
    }
}
