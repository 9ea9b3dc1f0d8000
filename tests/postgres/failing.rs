//! What the log and readiness say while PostgreSQL refuses to store: what it is, what to do, once,
//! and that it is over. Meanwhile phones that are there get their pushes.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    process::Command,
    time::Duration,
};

use rustix::process::geteuid;
use tempfile::TempDir;
use testbed::{
    Daemon, Missing, Postgres, eventually,
    postgres::{connect, give_to_server},
    tests,
};
use tokio::time::Instant;
use tokio_postgres::Client;

use crate::{
    Test,
    group::{Endpoint, Group, PATIENCE},
};

const FAILS: &str = "the store fails";
const WORKS: &str = "the store works again";

pub fn tests() -> Vec<Test> {
    tests![
        a_full_disk_under_the_tables_is_named,
        a_denied_insert_is_named,
        a_lock_on_the_table_is_named,
    ]
}

pub fn tests_of_newer() -> Vec<Test> {
    tests![a_full_queue_of_notifications_is_named]
}

/// PostgreSQL 17 lets the queue be small enough to be filled.
pub fn missing_newer() -> Option<Missing> {
    (Postgres::version() < Some(17))
        .then(|| Missing::package("PostgreSQL 17 or newer").instead("tests/postgres.sh", false))
}

/// One daemon, whose database has a role of its own that owns it.
struct Case {
    group: Group,
    away: Vec<Endpoint>,
    present: Endpoint,
    /// As whom everything is allowed, in the daemon's database.
    admin: Client,
}

impl Case {
    /// `database` is how its database is made beside.
    async fn new(postgres: &Postgres, database: &str) -> Self {
        let server = connect(&postgres.url("postgres")).await.unwrap();
        for statement in [
            "CREATE ROLE pusher LOGIN PASSWORD 'pusher'",
            &format!("CREATE DATABASE failing OWNER pusher {database}"),
        ] {
            server.batch_execute(statement).await.unwrap();
        }
        let admin = postgres.url("failing");
        let (_, place) = admin.split_once('@').unwrap();
        let group = Group::start(&format!("postgres://pusher:pusher@{place}"), 1).await;
        let mut present = group.present(1).await;
        Self {
            away: group.away(20).await,
            present: present.remove(0),
            admin: connect(&admin).await.unwrap(),
            group,
        }
    }

    fn daemon(&self) -> &Daemon {
        &self.group.daemons[0]
    }

    /// What is told while nothing can be stored. `words` are the code and the remedy.
    async fn fails(&self, words: &[&str]) {
        let begun = Instant::now();
        let mut number = 0;
        let large = random_text(3900);
        eventually("a push is refused", PATIENCE, async || {
            number += 1;
            let to = &self.away[number % self.away.len()];
            (self.group.push(0, to, &large).await == 503).then_some(())
        })
        .await;
        self.daemon().store("failing").await;
        let told = begun.elapsed();
        assert_eq!(
            self.daemon().metric("unified_push_store_failing", "").await,
            1.0
        );
        // For a while, and more is refused.
        for number in 0..4 {
            let text = format!("{begun:?} {number}");
            assert_eq!(self.group.push(0, &self.present, &text).await, 201);
            self.group.arrive(&[text]).await;
            assert_eq!(self.group.push(0, &self.away[number], &large).await, 503);
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        let log = self.daemon().log();
        let said = log.lines().filter(|line| line.contains(FAILS));
        let [said] = &said.collect::<Vec<_>>()[..] else {
            panic!("not said once:\n{log}")
        };
        for word in words {
            assert!(said.contains(word), "{said}");
        }
        assert!(!said.contains("backup"), "{said}");
        println!("told within {told:?}: {said}");
    }

    /// The cause is over.
    async fn works(&self) {
        let again = Instant::now();
        self.daemon().logged(WORKS).await;
        let told = again.elapsed();
        assert_eq!(self.group.push(0, &self.away[0], "works").await, 201);
        self.daemon().store("ok").await;
        assert_eq!(
            self.daemon().metric("unified_push_store_failing", "").await,
            0.0
        );
        assert_eq!(self.daemon().log().matches(WORKS).count(), 1);
        println!("works again {told:?} after its cause");
    }
}

fn random_text(length: usize) -> String {
    let mut random = testbed::Random::new(1, 1);
    (0..length)
        .map(|_| char::from(b'!' + random.below(90) as u8))
        .collect()
}

async fn a_denied_insert_is_named(_: ()) {
    let postgres = Postgres::start().await;
    let case = Case::new(&postgres, "").await;
    let deny = "REVOKE INSERT ON unified_push_queue FROM pusher";
    case.admin.batch_execute(deny).await.unwrap();
    case.fails(&["42501", "Grant the user all on the tables"])
        .await;
    let allow = "GRANT INSERT ON unified_push_queue TO pusher";
    case.admin.batch_execute(allow).await.unwrap();
    case.works().await;
}

async fn a_lock_on_the_table_is_named(_: ()) {
    let postgres = Postgres::start().await;
    let case = Case::new(&postgres, "").await;
    let lock = "BEGIN; LOCK TABLE unified_push_queue";
    case.admin.batch_execute(lock).await.unwrap();
    case.fails(&["57014", "holds a lock", "pg_stat_activity"])
        .await;
    case.admin.batch_execute("ROLLBACK").await.unwrap();
    case.works().await;
}

async fn a_full_disk_under_the_tables_is_named(_: ()) {
    let postgres = Postgres::start().await;
    let disk = SmallDisk::new();
    let server = connect(&postgres.url("postgres")).await.unwrap();
    let space = format!(
        "CREATE TABLESPACE small LOCATION '{}'",
        disk.path().display()
    );
    server.batch_execute(&space).await.unwrap();
    let case = Case::new(&postgres, "TABLESPACE small").await;
    disk.fill();
    case.fails(&["53100", "make room there"]).await;
    disk.make_room();
    case.works().await;
}

/// A file system of its own that holds little more than an empty database.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn new() -> Self {
        let disk = Self(tempfile::tempdir().unwrap());
        as_root(
            &["mount", "-t", "tmpfs", "-o", "size=32m,mode=1777", "none"],
            disk.0.path(),
        );
        give_to_server(disk.0.path());
        fs::create_dir(disk.path()).unwrap();
        give_to_server(&disk.path());
        disk
    }

    fn path(&self) -> std::path::PathBuf {
        self.0.path().join("space")
    }

    fn fill(&self) {
        let mut file = File::create(self.0.path().join("filled")).unwrap();
        // Until there is no room.
        while file.write_all(&[0; 4096]).is_ok() {}
    }

    fn make_room(&self) {
        fs::remove_file(self.0.path().join("filled")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // PostgreSQL may still have files open.
        as_root(&["umount", "--lazy"], self.0.path());
    }
}

fn as_root(command: &[&str], path: &Path) {
    let sudo: &[&str] = if geteuid().is_root() { &[] } else { &["sudo"] };
    let words = [sudo, command].concat();
    let done = Command::new(words[0]).args(&words[1..]).arg(path).status();
    assert!(
        done.unwrap().success(),
        "{command:?} on a directory of the test"
    );
}

/// Somebody listens in a transaction that stays open, so nothing leaves the queue.
async fn a_full_queue_of_notifications_is_named(_: ()) {
    let postgres = Postgres::prepare();
    postgres.configure("max_notify_queue_pages = 64");
    postgres.launch().await;
    let url = postgres.database().await;
    let group = Group::with_one_link(&url).await;
    let phones = group.present(20).await;
    let stuck = connect(&url).await.unwrap();
    for statement in ["LISTEN something", "BEGIN", "SELECT 1"] {
        stuck.batch_execute(statement).await.unwrap();
    }
    let filler = connect(&url).await.unwrap();
    let fill = "SELECT count(pg_notify('something', repeat('x', 7000) || number))
         FROM generate_series(1, 50) AS number";
    while filler.batch_execute(fill).await.is_ok() {}
    let says = "has kept a transaction open for long";
    let [linked, other] = &group.daemons[..] else {
        panic!("not two")
    };
    linked.logged(says).await;
    linked.becomes("unified_push_store_deaf", "", 1.0).await;
    let mut accepted = Vec::new();
    for phone in &phones {
        let payload = format!("{phone:?}");
        assert_eq!(group.push(1, phone, &payload).await, 201, "{}", other.log());
        accepted.push(payload);
    }
    let found = group.arrive(&accepted).await;
    assert!(found < Duration::from_secs(15), "{found:?}");
    assert_eq!(linked.log().matches(says).count(), 1, "{}", linked.log());
    stuck.batch_execute("COMMIT; UNLISTEN *").await.unwrap();
    let again = Instant::now();
    linked.logged("arrive again").await;
    println!(
        "all arrived within {found:?}; notifications again after {:?}",
        again.elapsed()
    );
}
