//! The store that the replicas share: a PostgreSQL with a synchronous standby, poolers before both, and
//! what operators and machines do to them.

use std::{cell::Cell, path::Path, rc::Rc, sync::Arc};

use testbed::{PgBouncer, Postgres, eventually, postgres::connect};
use tokio::{
    sync::Mutex,
    task::spawn_local,
    time::{Duration, Instant, sleep},
};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    disk::{Disk, Mode},
    faults::{Kind, Planned},
};

/// What the nodes are called by each other.
const NAMES: [&str; 2] = ["node_1", "node_2"];

/// Enough for three daemons and those who look.
const CONNECTIONS: usize = 40;

/// How long a node may take to follow the other one.
const FOLLOWS: Duration = Duration::from_secs(60);

pub struct Database {
    nodes: [Postgres; 2],
    /// Which of them takes writes.
    primary: Cell<usize>,
    disk: Disk,
    /// One before each; none where there is a single daemon.
    poolers: Rc<Vec<PgBouncer>>,
    _revived: AbortOnDropHandle<()>,
    name: String,
    /// Held while it has a fault; while somebody dumps it.
    pub busy: Arc<Mutex<()>>,
    pub dumped: Arc<Mutex<()>>,
    pub fails: Cell<bool>,
}

impl Database {
    pub async fn start(dir: &Path, pooled: bool) -> Self {
        let disk = Disk::of_a_server(&dir.join("database"));
        let first = Postgres::prepare();
        first.configure(&format!("max_connections = {CONNECTIONS}"));
        first.configure("wal_retrieve_retry_interval = '500ms'");
        first.environment(disk.environment());
        first.launch().await;
        let name = first
            .database()
            .await
            .rsplit_once('/')
            .unwrap()
            .1
            .to_owned();
        let second = Postgres::standby_of(&first, NAMES[1]);
        second.environment(disk.environment());
        second.launch().await;
        let nodes = [first, second];
        let mut poolers = Vec::new();
        for node in nodes.iter().take(if pooled { 2 } else { 0 }) {
            poolers.push(PgBouncer::start(&node.url(&name), "session").await);
        }
        let poolers = Rc::new(poolers);
        let kept = poolers.clone();
        let revived = spawn_local(async move {
            loop {
                sleep(Duration::from_millis(500)).await;
                for pooler in &*kept {
                    pooler.revive();
                }
            }
        });
        let database = Self {
            nodes,
            primary: Cell::new(0),
            disk,
            poolers,
            _revived: AbortOnDropHandle::new(revived),
            name,
            busy: Arc::default(),
            dumped: Arc::default(),
            fails: Cell::new(false),
        };
        database.wait_for_standby().await;
        database
    }

    /// For the replica with this number: every other one comes through the poolers. The standby is named
    /// as well.
    pub fn url(&self, replica: usize) -> String {
        let [first, second] = match replica % 2 == 1 && !self.poolers.is_empty() {
            true => [0, 1].map(|node: usize| self.poolers[node].url.clone()),
            false => [0, 1].map(|node: usize| self.nodes[node].url(&self.name)),
        };
        let (_, other) = second.split_once('@').expect("an address");
        let (before, _) = first.rsplit_once('/').expect("a database");
        format!("{before},{other}")
    }

    fn primary(&self) -> &Postgres {
        &self.nodes[self.primary.get()]
    }

    fn standby(&self) -> &Postgres {
        &self.nodes[1 - self.primary.get()]
    }

    /// Returns when what it does to the database is over.
    pub async fn fault(&self, planned: Planned) {
        match planned.kind {
            Kind::Promoted => self.fail_over(planned).await,
            Kind::PoolerRestarted => {
                let both = planned.form.is_multiple_of(2);
                let chosen = self.poolers.iter().skip(usize::from(!both));
                for pooler in chosen.clone() {
                    pooler.stop().await;
                }
                sleep(planned.length).await;
                for pooler in chosen {
                    pooler.launch().await;
                }
            }
            Kind::DatabaseFull => {
                self.disk.set(Mode::Full);
                sleep(planned.length).await;
                self.disk.set(Mode::Ok);
                // It may have given up.
                self.primary().launch().await;
                self.standby().launch().await;
                self.wait_for_standby().await;
            }
            Kind::ConnectionsExhausted => self.exhaust(planned).await,
            Kind::CommitHung if planned.form.is_multiple_of(2) => {
                self.synchronous("nobody").await;
                sleep(planned.length).await;
                self.synchronous(NAMES[1 - self.primary.get()]).await;
            }
            Kind::CommitHung => {
                self.standby().freeze();
                sleep(planned.length).await;
                self.standby().thaw();
            }
            Kind::DumpHeld => {
                // It may go with the server.
                let _dump = self.begin_dump().await;
                sleep(planned.length).await;
            }
            _ => {
                self.primary().kill().await;
                sleep(planned.length).await;
                self.primary().launch().await;
                self.wait_for_standby().await;
            }
        }
    }

    /// The primary is lost, hangs, is stopped, or takes no more writes; the other one takes over.
    async fn fail_over(&self, planned: Planned) {
        let (old, new) = (self.primary(), self.standby());
        match planned.form % 4 {
            0 => old.kill().await,
            1 => {
                old.freeze();
                sleep(planned.length).await;
            }
            2 => old.stop().await,
            _ => {
                let read_only = "ALTER SYSTEM SET default_transaction_read_only = on";
                self.set(old, read_only).await;
                sleep(planned.length).await;
                old.stop().await;
            }
        }
        // Whom the old one waited for is itself now.
        self.set(new, "ALTER SYSTEM RESET synchronous_standby_names")
            .await;
        self.set(new, "SELECT pg_promote()").await;
        self.primary.set(1 - self.primary.get());
        if planned.form % 4 == 1 {
            // It is not woken any more.
            sleep(planned.length).await;
            old.kill().await;
        }
        old.copy(new, NAMES[1 - self.primary.get()]).await;
        old.launch().await;
        self.wait_for_standby().await;
    }

    /// From when the standby has all, each commit waits for it.
    async fn wait_for_standby(&self) {
        let name = NAMES[1 - self.primary.get()];
        let state = format!(
            "SELECT 1 FROM pg_stat_replication WHERE application_name = '{name}' AND state = 'streaming'"
        );
        eventually("the standby follows", FOLLOWS, async || {
            let client = connect(&self.primary().url("postgres")).await.ok()?;
            client.query_opt(&state, &[]).await.ok().flatten().map(drop)
        })
        .await;
        self.synchronous(name).await;
    }

    async fn synchronous(&self, name: &str) {
        let set = format!("ALTER SYSTEM SET synchronous_standby_names = '{name}'");
        self.set(self.primary(), &set).await;
    }

    /// Also while nothing can be committed.
    async fn set(&self, node: &Postgres, statement: &str) {
        let set = async || {
            let client = connect(&node.url("postgres")).await?;
            client.batch_execute(statement).await?;
            client.batch_execute("SELECT pg_reload_conf()").await
        };
        let until = Instant::now() + FOLLOWS;
        while let Err(error) = set().await {
            assert!(Instant::now() < until, "{statement}: {error:?}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Throws the daemons out, and takes every connection that there is.
    async fn exhaust(&self, planned: Planned) {
        let url = self.primary().url("postgres");
        let mut taken = Vec::new();
        let until = Instant::now() + planned.length;
        while Instant::now() < until {
            match connect(&url).await {
                Ok(client) => {
                    if taken.is_empty() {
                        let out = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                             WHERE application_name = 'unified-push'";
                        let _ = client.batch_execute(out).await;
                    }
                    taken.push(client);
                }
                Err(_) => sleep(Duration::from_millis(50)).await,
            }
        }
    }

    async fn begin_dump(&self) -> Option<impl Sized + use<>> {
        let client = connect(&self.primary().url(&self.name)).await.ok()?;
        let begin = client.batch_execute(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
             LOCK TABLE unified_push_queue, unified_push_registrations, unified_push_revocations,
                 unified_push_issuers, unified_push_changes, unified_push_schema
                 IN ACCESS SHARE MODE;
             SELECT count(*) FROM unified_push_queue",
        );
        begin.await.ok()?;
        Some(client)
    }
}
