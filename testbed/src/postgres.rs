//! A PostgreSQL of a test's own, from Debian's package: a cluster in a temporary directory, on a
//! Unix socket and a free port of 127.0.0.1, with fsync as in earnest. Whatever a test does to it,
//! it is stopped and removed with it.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

use crate::{Missing, PATIENCE, Process, authority::Certificate, eventually, free_port};

mod standby;

pub const USER: &str = "unified";
pub const PASSWORD: &str = "the-databases-password-Xq7";

/// Whom the server runs as when the tests run as root, which it refuses to.
const SERVER_USER: &str = "postgres";

const PACKAGES: &str = "/usr/lib/postgresql";

/// The variable with the directory of another version's programs, which `tests/postgres.sh` sets.
pub const PROGRAMS: &str = "UNIFIED_PUSH_TEST_POSTGRES";

const CERTIFICATE: &str = "certificate.pem";
const AUTHORITY: &str = "authority.pem";

pub struct Postgres {
    dir: TempDir,
    programs: PathBuf,
    port: u16,
    process: Mutex<Option<Process>>,
    databases: AtomicU32,
    /// What its process has in its environment.
    environment: Mutex<Vec<(String, String)>>,
}

impl Postgres {
    pub fn missing() -> Option<Missing> {
        let missing = || Missing::package("postgresql");
        programs().is_none().then(missing)
    }

    /// A new one that runs.
    pub async fn start() -> Self {
        let postgres = Self::prepare();
        postgres.launch().await;
        postgres
    }

    /// A new one that does not run yet.
    pub fn prepare() -> Self {
        let postgres = Self::empty(programs().expect("PostgreSQL is installed"));
        let password = postgres.path("password");
        fs::write(&password, PASSWORD).unwrap();
        let mut initdb = postgres.command("initdb");
        initdb.args(["--no-sync", "--no-locale", "--encoding=UTF8"]);
        initdb.args(["--auth=scram-sha-256", "--username", USER, "--pwfile"]);
        initdb.arg(&password).arg(postgres.path("data"));
        let made = initdb.output().unwrap();
        assert!(made.status.success(), "{made:?}");
        postgres
    }

    /// Which version the tests have.
    pub fn version() -> Option<u32> {
        let asked = Command::new(programs()?.join("postgres"))
            .arg("--version")
            .output();
        let said = String::from_utf8(asked.ok()?.stdout).ok()?;
        let number = said.split(' ').nth(2)?.split('.').next()?;
        number.trim().parse().ok()
    }

    /// Where it listens on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Without a cluster.
    fn empty(programs: PathBuf) -> Self {
        let dir = TempDir::with_prefix("postgres").unwrap();
        give_to_server(dir.path());
        Self {
            dir,
            programs,
            port: free_port(),
            process: Mutex::new(None),
            databases: AtomicU32::new(0),
            environment: Mutex::default(),
        }
    }

    /// From its next start on it has this in its environment.
    pub fn environment(&self, variables: Vec<(String, String)>) {
        *self.environment.lock().unwrap() = variables;
    }

    /// Appends a line to postgresql.conf, for the next start.
    pub fn configure(&self, line: &str) {
        let path = self.path("data/postgresql.conf");
        let lines = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{lines}\n{line}\n")).unwrap();
    }

    /// With a certificate for 127.0.0.1 that nobody has signed; it lets clients come by TLS. To be
    /// called before it is launched.
    pub fn certificate(&self) -> PathBuf {
        let mut openssl = self.command("/usr/bin/openssl");
        openssl.args([
            "req",
            "-x509",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=postgres",
        ]);
        openssl.args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
        openssl.args(["-addext", "subjectAltName=IP:127.0.0.1"]);
        openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
        openssl.arg("-keyout").arg(self.path("key.pem"));
        let made = openssl
            .arg("-out")
            .arg(self.path(CERTIFICATE))
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        self.path(CERTIFICATE)
    }

    /// Lets clients come by TLS with this certificate, and by a certificate of the authority. To be
    /// called before it is launched.
    pub fn use_certificate(&self, certificate: &Certificate, authority: &Path) {
        for (from, name) in [
            (certificate.certificate.as_path(), CERTIFICATE),
            (&certificate.key, "key.pem"),
            (authority, AUTHORITY),
        ] {
            let path = self.path(name);
            fs::copy(from, &path).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            give_to_server(&path);
        }
    }

    /// Puts a line before all others of pg_hba.conf. To be called before it is launched.
    pub fn admit_by(&self, line: &str) {
        let path = self.path("data/pg_hba.conf");
        let rest = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{line}\n{rest}")).unwrap();
    }

    /// Starts it, also after it was killed, and waits until it lets clients in.
    pub async fn launch(&self) {
        eventually("PostgreSQL lets clients in", PATIENCE, async || {
            if self.has_ended() {
                // What a killed one leaves behind takes a moment to go.
                *self.process.lock().unwrap() = Some(self.spawn());
            }
            self.connect("postgres").await.ok().map(drop)
        })
        .await;
    }

    /// In order: clients are told.
    pub async fn stop(&self) {
        self.end(Signal::INT).await;
    }

    /// As a power failure does, but for the disk's cache.
    pub async fn kill(&self) {
        self.signal_all(Signal::KILL);
        self.end(Signal::KILL).await;
    }

    /// Lets nothing of it run: connections stay open, and nobody answers.
    pub fn freeze(&self) {
        self.signal_all(Signal::STOP);
    }

    pub fn thaw(&self) {
        self.signal_all(Signal::CONT);
    }

    /// The URL of a new database that is empty.
    pub async fn database(&self) -> String {
        self.database_with("").await
    }

    /// One whose encoding has not every character.
    pub async fn latin_database(&self) -> String {
        self.database_with("ENCODING 'LATIN1' TEMPLATE template0")
            .await
    }

    async fn database_with(&self, options: &str) -> String {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("push{number}");
        let client = self.connect("postgres").await.unwrap();
        let create = format!("CREATE DATABASE {name} {options}");
        client.batch_execute(&create).await.unwrap();
        self.url(&name)
    }

    /// Over TCP, with user and password.
    pub fn url(&self, database: &str) -> String {
        format!(
            "postgres://{USER}:{PASSWORD}@127.0.0.1:{}/{database}",
            self.port
        )
    }

    /// Over the Unix socket.
    pub fn socket_url(&self, database: &str) -> String {
        let dir = self.dir.path().display();
        let port = self.port;
        format!("postgres:///{database}?host={dir}&port={port}&user={USER}&password={PASSWORD}")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// One of PostgreSQL's programs, as a user that may run it.
    fn command(&self, program: &str) -> Command {
        as_server_user(&self.programs.join(program), self.dir.path())
    }

    fn spawn(&self) -> Process {
        let mut command = self.command("postgres");
        command.envs(self.environment.lock().unwrap().iter().cloned());
        command.arg("-D").arg(self.path("data"));
        command.arg("-k").arg(self.dir.path());
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string()]);
        command.args(["-c", "fsync=on", "-c", "full_page_writes=on"]);
        // What the daemon must not rely on.
        command.args(["-c", "synchronous_commit=off", "-c", "wal_writer_delay=10s"]);
        if self.path(CERTIFICATE).exists() {
            let dir = self.dir.path().display();
            command.args(["-c", "ssl=on"]);
            command.args(["-c", &format!("ssl_cert_file={dir}/{CERTIFICATE}")]);
            command.args(["-c", &format!("ssl_key_file={dir}/key.pem")]);
            if self.path(AUTHORITY).exists() {
                command.args(["-c", &format!("ssl_ca_file={dir}/{AUTHORITY}")]);
            }
        }
        Process::start(&mut command, &self.path("log")).unwrap()
    }

    fn has_ended(&self) -> bool {
        let mut process = self.process.lock().unwrap();
        process
            .as_mut()
            .is_none_or(|process| process.ended().is_some())
    }

    async fn end(&self, signal: Signal) {
        let process = self.process.lock().unwrap().take();
        let mut process = process.expect("PostgreSQL runs");
        process.signal(signal);
        process.exit(PATIENCE).await;
    }

    fn signal_all(&self, signal: Signal) {
        let mut process = self.process.lock().unwrap();
        let process = process.as_mut().expect("PostgreSQL runs");
        // So that it starts no other meanwhile.
        process.signal(Signal::STOP);
        let pid = fs::read_to_string(self.path("data/postmaster.pid")).unwrap();
        let pid = pid.lines().next().unwrap().trim();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        for child in children.split_whitespace() {
            let child = Pid::from_raw(child.parse().unwrap()).unwrap();
            // It may have ended meanwhile.
            let _ = kill_process(child, signal);
        }
        process.signal(signal);
    }

    async fn connect(&self, database: &str) -> Result<Client, tokio_postgres::Error> {
        connect(&self.url(database)).await
    }
}

/// For a test to look behind the daemon's back.
pub async fn connect(url: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    // Ends with the client.
    tokio::spawn(connection);
    Ok(client)
}

impl Drop for Postgres {
    /// At once, but by itself: a killed one would leave its shared memory behind.
    fn drop(&mut self) {
        if self.has_ended() {
            return;
        }
        if let Ok(Some(process)) = self.process.get_mut() {
            process.signal(Signal::CONT);
        }
        let mut stop = self.command("pg_ctl");
        stop.args(["stop", "--mode=immediate", "--silent", "-t", "10", "-D"]);
        // What is left then, is killed.
        let _ = stop.arg(self.path("data")).status();
    }
}

/// A command in this directory, as whom PostgreSQL may run.
pub fn as_server_user(program: &Path, dir: &Path) -> Command {
    let mut command = match geteuid().is_root() {
        true => {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", SERVER_USER, "--regid", SERVER_USER]);
            command.arg("--clear-groups").arg(program);
            command
        }
        false => Command::new(program),
    };
    command.env_clear().current_dir(dir);
    command.env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
    command
}

/// Makes a path that user's.
pub fn give_to_server(path: &Path) {
    if geteuid().is_root() {
        let (user, group) = ids_of(SERVER_USER);
        chown(path, Some(user), Some(group)).unwrap();
    }
}

/// The newest version's programs, or those in the directory that the environment names.
pub fn programs() -> Option<PathBuf> {
    if let Some(programs) = std::env::var_os(PROGRAMS) {
        return Some(programs.into());
    }
    let versions = fs::read_dir(PACKAGES).ok()?;
    let paths = versions.filter_map(|version| Some(version.ok()?.path().join("bin")));
    let usable = paths.filter(|path| path.join("initdb").exists());
    usable.max_by_key(|path| version(path))
}

fn version(programs: &Path) -> Option<u32> {
    programs.parent()?.file_name()?.to_str()?.parse().ok()
}

/// User and group, by name.
fn ids_of(name: &str) -> (u32, u32) {
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let fields = users
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>());
    let mut ids = fields.filter_map(|fields| match fields[..] {
        [user, _, id, group, ..] if user == name => Some((id.parse().ok()?, group.parse().ok()?)),
        _ => None,
    });
    ids.next().expect("Debian's package makes the user")
}
