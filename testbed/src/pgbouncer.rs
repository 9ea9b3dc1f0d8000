//! PgBouncer, from Debian's package, between the daemons and one database.

use std::{fs, path::PathBuf, process::Command, sync::Mutex};

use rustix::process::{Signal, geteuid};
use tempfile::TempDir;

use crate::{
    Missing, PATIENCE, Process, eventually, free_port,
    postgres::{PASSWORD, USER, connect},
};

const PROGRAM: &str = "/usr/sbin/pgbouncer";

/// It stops with this.
pub struct PgBouncer {
    /// Of the database, through it.
    pub url: String,
    port: u16,
    config: PathBuf,
    database: String,
    process: Mutex<Option<Process>>,
    dir: TempDir,
}

impl PgBouncer {
    pub fn missing() -> Option<Missing> {
        Missing::of(&[PROGRAM])
    }

    /// Before the database at this URL, with its own defaults but for the pool's mode and the
    /// pause after a failed login, which `docs/store.md` advises.
    pub async fn start(database: &str, mode: &str) -> Self {
        let dir = TempDir::with_prefix("pgbouncer").unwrap();
        if geteuid().is_root() {
            // As root it does not run; the file is for all to read.
            let for_all = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            fs::set_permissions(dir.path(), for_all).unwrap();
        }
        let (server, name) = database.rsplit_once('/').unwrap();
        let server = server.rsplit_once(':').unwrap().1;
        let port = free_port();
        let bouncer = Self {
            url: format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{port}/{name}"),
            port,
            config: dir.path().join("pgbouncer.ini"),
            database: format!(
                "{name} = host=127.0.0.1 port={server} user={USER} password={PASSWORD}"
            ),
            process: Mutex::new(None),
            dir,
        };
        bouncer.configure(mode);
        bouncer.launch().await;
        bouncer
    }

    /// Starts it again after it was stopped.
    pub async fn launch(&self) {
        self.spawn();
        eventually("PgBouncer lets clients in", PATIENCE, async || {
            connect(&self.url).await.ok().map(drop)
        })
        .await;
    }

    fn spawn(&self) {
        let mut command = Command::new(PROGRAM);
        if geteuid().is_root() {
            command.args(["--user", "nobody"]);
        }
        let log = self.dir.path().join("log");
        let process = Process::start(command.arg(&self.config), &log).unwrap();
        *self.process.lock().unwrap() = Some(process);
    }

    /// Starts it again if it has ended by itself, as a service manager does.
    pub fn revive(&self) {
        let ended = |process: &mut Process| process.ended().is_some();
        let ended = self.process.lock().unwrap().as_mut().is_some_and(ended);
        if ended {
            self.spawn();
        }
    }

    /// At once, with every connection.
    pub async fn stop(&self) {
        let process = self.process.lock().unwrap().take();
        let mut process = process.expect("PgBouncer runs");
        process.signal(Signal::TERM);
        process.exit(PATIENCE).await;
    }

    /// Has it use this mode from now on, while connections are open.
    pub async fn change_mode(&self, mode: &str) {
        self.configure(mode);
        self.ask("RELOAD").await;
    }

    /// The application names of its clients.
    pub async fn clients(&self) -> Vec<String> {
        let mut clients = self.ask("SHOW CLIENTS").await;
        clients.retain(|name| !name.is_empty());
        clients
    }

    /// The application names in what its console answers.
    async fn ask(&self, statement: &str) -> Vec<String> {
        let console = format!("postgres://admin@127.0.0.1:{}/pgbouncer", self.port);
        let client = connect(&console).await.unwrap();
        let rows = client.simple_query(statement).await.unwrap();
        let names = rows.iter().filter_map(|row| match row {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get("application_name"),
            _ => None,
        });
        names.map(str::to_owned).collect()
    }

    fn configure(&self, mode: &str) {
        let (database, port) = (&self.database, self.port);
        let config = format!(
            "[databases]\n{database}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = any\nadmin_users = admin\npool_mode = {mode}\n\
             server_login_retry = 1\n"
        );
        fs::write(&self.config, config).unwrap();
    }
}
