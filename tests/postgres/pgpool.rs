//! pgpool-II, as Debian has it, which reads from standbys.

use std::fs;

use futures::future::join_all;
use tempfile::TempDir;
use testbed::{
    Missing, Postgres, Process, eventually, free_port,
    postgres::{PASSWORD, USER, as_server_user, connect, give_to_server},
    tests,
};
use tokio::time::Instant;

use crate::{
    Test,
    group::{Group, PATIENCE},
};

const PROGRAM: &str = "/usr/sbin/pgpool";

pub fn missing() -> Option<Missing> {
    Missing::of(&[PROGRAM]).or_else(crate::replication::missing)
}

pub fn tests() -> Vec<Test> {
    tests![a_standby_that_is_behind_makes_no_endpoint_unknown]
}

/// It stops with this.
struct Pgpool {
    url: String,
    _process: Process,
    _dir: TempDir,
}

impl Pgpool {
    /// Reads from the standby only.
    async fn start(primary: &Postgres, standby: &Postgres, database: &str) -> Self {
        let dir = TempDir::with_prefix("pgpool").unwrap();
        give_to_server(dir.path());
        let path = dir.path().display();
        let port = free_port();
        let mut config = format!(
            "backend_clustering_mode = 'streaming_replication'\n\
             listen_addresses = '127.0.0.1'\nport = {port}\n\
             socket_dir = '{path}'\npcp_socket_dir = '{path}'\nwd_ipc_socket_dir = '{path}'\n\
             pcp_port = {}\npid_file_name = '{path}/pid'\nlogdir = '{path}'\n\
             sr_check_user = '{USER}'\n",
            free_port()
        );
        for (number, (server, weight)) in [(primary, 0), (standby, 1)].into_iter().enumerate() {
            config += &format!(
                "backend_hostname{number} = '127.0.0.1'\nbackend_port{number} = {}\n\
                 backend_weight{number} = {weight}\n",
                server.port()
            );
        }
        let config_path = dir.path().join("pgpool.conf");
        fs::write(&config_path, config).unwrap();
        let mut command = as_server_user(PROGRAM.as_ref(), dir.path());
        command.arg("-n").arg("-f").arg(config_path);
        let process = Process::start(&mut command, &dir.path().join("log")).unwrap();
        let url = format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{port}/{database}");
        eventually("pgpool lets clients in", PATIENCE, async || {
            connect(&url).await.ok().map(drop)
        })
        .await;
        Self {
            url,
            _process: process,
            _dir: dir,
        }
    }
}

async fn a_standby_that_is_behind_makes_no_endpoint_unknown(_: ()) {
    const FRESH: usize = 60;
    let primary = Postgres::prepare();
    // Of its clients, pgpool would have to know the passwords.
    primary.admit_by("host all all 127.0.0.1/32 trust");
    primary.launch().await;
    let standby = Postgres::standby_of(&primary, "standby");
    standby.launch().await;
    let url = primary.database().await;
    let pgpool = Pgpool::start(&primary, &standby, "push0").await;
    let group = Group::start(&pgpool.url, 2).await;

    // It has the tables, and gets nothing more.
    let behind = connect(&standby.url("push0")).await;
    let behind = match behind {
        Ok(behind) => behind,
        Err(error) => panic!("the standby has no database: {error}"),
    };
    let tables = "SELECT count(*) FROM unified_push_registrations";
    eventually("the standby has the tables", PATIENCE, async || {
        behind.query_one(tables, &[]).await.ok().map(drop)
    })
    .await;
    behind
        .batch_execute("SELECT pg_wal_replay_pause()")
        .await
        .unwrap();
    let mut statuses = Vec::new();
    let begun = Instant::now();
    for _ in 0..FRESH / 10 {
        let phones = group.away(10).await;
        let pushes = phones
            .iter()
            .enumerate()
            .map(async |(number, phone)| group.push(number % 2, phone, "fresh").await);
        statuses.extend(join_all(pushes).await);
    }
    let unseen: i64 = behind.query_one(tables, &[]).await.unwrap().get(0);
    assert_eq!(unseen, 0, "the standby is not behind");
    assert!(statuses.iter().all(|status| *status == 201), "{statuses:?}");
    let client = connect(&url).await.unwrap();
    let kept = "SELECT count(*) FROM unified_push_queue";
    let kept: i64 = client.query_one(kept, &[]).await.unwrap().get(0);
    assert_eq!(kept, FRESH as i64);
    println!(
        "{FRESH} of {FRESH} fresh endpoints take pushes, in {:?}",
        begun.elapsed()
    );
}
