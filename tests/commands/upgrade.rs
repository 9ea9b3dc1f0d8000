//! An installation of an earlier version goes on under this one: its configuration, its secrets, its
//! database, its endpoints of each kind, and the messages that wait in it.
//!
//! `UNIFIED_PUSH_OLD_PROGRAM=PATH cargo test --test commands upgrade` first records what that version
//! leaves behind, into the files that the tests start from.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use tempfile::TempDir;
use testbed::{
    Account, Config, Daemon, FakePhone, FakeServer, PATIENCE, Pair, Postgres, Push,
    bed::{BACKENDS, DOMAIN},
    http, postgres, program,
};
use tokio::{sync::mpsc, time::timeout};

const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/commands/upgrade");
const FILES: [&str; 4] = [
    "config.toml",
    "secret",
    "previous-secrets",
    "component-secret",
];
const PUBLIC_URL: &str = "https://push.example.org/up";
const JULIET: &str = "juliet@example.org/phone";
/// His phone has forgotten its apps, and their endpoints are revoked.
const ROMEO: &str = "romeo@example.org/phone";
/// Issued before the secret was replaced.
const UNDER_THE_PREVIOUS_SECRET: &str = "paseto-under-the-previous-secret";
const CENTURY: &str = "3153600000";

/// What was installed once, at ports of its own.
struct Installation {
    dir: TempDir,
    server: FakeServer,
    /// Where the daemon listens and keeps its state, in place of what its file says.
    places: Config,
    store: String,
}

/// An endpoint by what it is recorded for.
type Endpoints = Vec<(String, String)>;

impl Installation {
    async fn new(store: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in FILES {
            let copy = dir.path().join(name);
            fs::copy(Path::new(RECORDED).join(name), &copy).unwrap();
            fs::set_permissions(&copy, fs::Permissions::from_mode(0o600)).unwrap();
        }
        let secret = fs::read_to_string(dir.path().join("component-secret")).unwrap();
        let account = Account {
            domain: DOMAIN.to_owned(),
            secret: secret.trim_end().to_owned(),
        };
        let server = FakeServer::start(account.clone()).await;
        let places = Config::new(&dir.path().join("places"), &account, server.port);
        fs::create_dir(places.get("state_dir")).unwrap();
        Self {
            dir,
            server,
            places,
            store: store.to_owned(),
        }
    }

    fn command(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.env_clear().args(arguments);
        command
            .arg("--config")
            .arg(self.dir.path().join("config.toml"));
        command.env("UNIFIED_PUSH_STATE_DIR", self.places.get("state_dir"));
        command.env("UNIFIED_PUSH_STORE__URL", &self.store);
        command.env("UNIFIED_PUSH_COMPONENT__PORT", self.server.port.to_string());
        command.env("UNIFIED_PUSH_HTTP__LISTEN", self.places.get("http.listen"));
        command.env(
            "UNIFIED_PUSH_ADMIN__LISTEN",
            self.places.get("admin.listen"),
        );
        command
    }

    async fn run(&self, program: &Path, variables: &[(&str, &str)]) -> Daemon {
        let mut command = self.command(program, &["serve"]);
        command.envs(variables.iter().copied());
        let daemon = Daemon::with_command(&self.places, command);
        daemon.start_linked().await;
        daemon
    }

    /// As a proxy passes it on that keeps the path.
    async fn push(&self, endpoint: &str, body: &str) -> u16 {
        let path = endpoint.strip_prefix(PUBLIC_URL).expect("one of ours");
        let url = self.places.url(&format!("/up{path}"));
        let answer = http::post(&url, &[("TTL", CENTURY)], body.as_bytes()).await;
        answer.status
    }

    fn database(&self) -> PathBuf {
        Path::new(self.places.get("state_dir")).join("unified-push.db")
    }
}

/// What waits for an app.
fn waiting(app: &str) -> String {
    format!("this waits for {app}")
}

/// Has an earlier version serve for a while; gives what its phones and senders know.
async fn serve_for_a_while(old: &Path, installation: &Installation) -> Endpoints {
    let phones = [JULIET, ROMEO].map(|jid| installation.server.phone(jid));
    let register = async |phone: &FakePhone, app: &str| {
        let registered = phone.register(app).await;
        (app.to_owned(), registered.expect("accepted").endpoint)
    };
    let mut endpoints = Endpoints::new();
    let previous = ("UNIFIED_PUSH_SECRET_FILE", "previous-secrets");
    let daemon = installation.run(old, &[previous]).await;
    endpoints.push(register(&phones[0], UNDER_THE_PREVIOUS_SECRET).await);
    daemon.stop().await;
    for backend in BACKENDS {
        let daemon = installation
            .run(old, &[("UNIFIED_PUSH_BACKEND", backend)])
            .await;
        endpoints.push(register(&phones[0], backend).await);
        let revoked = register(&phones[1], &format!("revoked-{backend}")).await;
        phones[1].forget();
        assert_eq!(installation.push(&revoked.1, "to nobody").await, 404);
        endpoints.push(revoked);
        daemon.stop().await;
    }
    let daemon = installation.run(old, &[]).await;
    installation.server.leave(JULIET);
    for (app, endpoint) in endpoints
        .iter()
        .filter(|(app, _)| !app.starts_with("revoked"))
    {
        assert_eq!(installation.push(endpoint, &waiting(app)).await, 201);
    }
    daemon.stop().await;
    endpoints
}

fn recorded(store: &str, ending: &str) -> PathBuf {
    Path::new(RECORDED).join(format!("{store}.{ending}"))
}

fn record(store: &str, dump: Command, version: &str, endpoints: &Endpoints) {
    let mut dump = dump;
    let output = dump.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    // What is for psql alone.
    let lines = text.lines().filter(|line| !line.starts_with('\\'));
    let text: String = lines.map(|line| format!("{line}\n")).collect();
    fs::write(recorded(store, "sql"), text + version).unwrap();
    let lines = endpoints.iter().map(|(app, url)| format!("{app} {url}\n"));
    fs::write(recorded(store, "endpoints"), lines.collect::<String>()).unwrap();
}

fn endpoints(store: &str) -> Endpoints {
    let text = fs::read_to_string(recorded(store, "endpoints")).unwrap();
    let pair = |line: &str| {
        let (app, url) = line.split_once(' ').expect("an app and its URL");
        (app.to_owned(), url.to_owned())
    };
    text.lines().map(pair).collect()
}

fn old_program() -> Option<PathBuf> {
    env::var_os("UNIFIED_PUSH_OLD_PROGRAM").map(PathBuf::from)
}

/// Nothing in the installation is touched but what is restored into its database.
async fn goes_on(store: &str, migration: &str, installation: Installation) {
    let check = installation
        .command(program(), &["check-config"])
        .output()
        .unwrap();
    assert!(check.status.success(), "{check:?}");

    let endpoints = endpoints(store);
    let (revoked, live): (Endpoints, Endpoints) = endpoints
        .into_iter()
        .partition(|(app, _)| app.starts_with("revoked"));
    assert_eq!((revoked.len(), live.len()), (3, 4));
    let (arrived, mut pushes) = mpsc::channel(64);
    let log = move |push: Push| arrived.try_send(push).expect("a few");
    let known = live.iter().map(|(app, _)| Pair::of(JULIET, app)).collect();
    let daemon = installation.run(program(), &[]).await;
    assert!(daemon.log().contains(migration), "{}", daemon.log());
    installation.server.bind(JULIET, known, Arc::new(log));
    installation.server.announce(JULIET);
    let mut next = async || {
        let push = timeout(PATIENCE, pushes.recv()).await;
        String::from_utf8(push.expect("in time").expect("a phone").payload).unwrap()
    };
    let mut waited = Vec::new();
    for _ in &live {
        waited.push(next().await);
    }
    let mut expected: Vec<_> = live.iter().map(|(app, _)| waiting(app)).collect();
    waited.sort();
    expected.sort();
    assert_eq!(waited, expected);

    for (app, endpoint) in &live {
        assert_eq!(installation.push(endpoint, app).await, 201, "{app}");
        assert_eq!(&next().await, app);
    }
    for (app, endpoint) in &revoked {
        assert_eq!(installation.push(endpoint, app).await, 404, "{app}");
    }
    daemon.stop().await;

    // Who renews keeps the URL, with the back end that keeps it.
    let daemon = installation
        .run(program(), &[("UNIFIED_PUSH_BACKEND", "storage")])
        .await;
    let pair = Pair::of(JULIET, "storage");
    let renewed = installation.server.register(JULIET, &pair).await;
    assert!(live.contains(&("storage".to_owned(), renewed)));
    daemon.stop().await;
}

#[tokio::test]
async fn an_earlier_installation_on_sqlite_goes_on() {
    if let Some(old) = old_program() {
        let installation = Installation::new("sqlite").await;
        let endpoints = serve_for_a_while(&old, &installation).await;
        let database = rusqlite::Connection::open(installation.database()).unwrap();
        let version = "SELECT user_version FROM pragma_user_version";
        let version: u32 = database.query_row(version, [], |row| row.get(0)).unwrap();
        let mut dump = Command::new("sqlite3");
        dump.arg(installation.database()).arg(".dump");
        let version = format!("PRAGMA user_version = {version};\n");
        record("sqlite", dump, &version, &endpoints);
    }
    let installation = Installation::new("sqlite").await;
    let database = rusqlite::Connection::open(installation.database()).unwrap();
    let dump = fs::read_to_string(recorded("sqlite", "sql")).unwrap();
    // It has to be there before the tables, and a dump leaves it out.
    database
        .execute_batch("PRAGMA auto_vacuum = INCREMENTAL")
        .unwrap();
    database.execute_batch(&dump).unwrap();
    drop(database);
    goes_on("sqlite", "from schema 2 to 3 of 7", installation).await;
}

#[tokio::test]
async fn an_earlier_installation_on_postgresql_goes_on() {
    if let Some(missing) = Postgres::missing() {
        return missing.leave_out();
    }
    let server = Postgres::start().await;
    if let Some(old) = old_program() {
        let url = server.database().await;
        let installation = Installation::new(&url).await;
        let endpoints = serve_for_a_while(&old, &installation).await;
        let mut dump = Command::new("pg_dump");
        dump.args(["--inserts", "--no-owner", &url]);
        record("postgres", dump, "", &endpoints);
    }
    let url = server.database().await;
    let dump = fs::read_to_string(recorded("postgres", "sql")).unwrap();
    let database = postgres::connect(&url).await.unwrap();
    database.batch_execute(&dump).await.unwrap();
    drop(database);
    let installation = Installation::new(&url).await;
    goes_on("postgres", "from schema 1 to 2 of 7", installation).await;
}
