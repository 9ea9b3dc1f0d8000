//! The configuration, validated. Built by layers (defaults, file, environment) with every problem
//! reported at once. It reads the file, the files that it names and what is mounted, and nothing
//! else: the environment comes as data, and no name is resolved.

mod effective;
mod forms;
mod import_entry;
mod imports;
mod key;
mod layers;
mod lookup;
mod network;
mod options;
mod read;
mod report;
mod secrets;
mod settings;
mod tls;
mod values;

#[cfg(test)]
mod tests;

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use ipnet::IpNet;
use jid::BareJid;

use crate::{
    model::{
        acl::Acl,
        endpoint::PublicUrl,
        exposure::Exposed,
        host::Host,
        listen::Listen,
        message::{Ttl, Urgency},
        rate::Rate,
        secret::Secret,
        vapid::Vapid,
    },
    store::{PostgresSettings, PostgresUrl},
    tls::Trust,
    token::{Backend, Import},
};

pub use self::{
    effective::Effective,
    forms::Kind,
    key::{About, Described, Fallback},
    options::OPTIONS,
    report::Report,
};
use self::{report::verdict, settings::Settings};

/// A configuration that can be used.
#[derive(Debug)]
pub struct Loaded {
    pub config: Config,
    /// Which file was read, or why none.
    file: String,
    /// What works but is probably not meant, for the log.
    pub warnings: Vec<String>,
    pub effective: Effective,
}

#[derive(Debug)]
pub struct Config {
    pub acl: Acl,
    pub backend: Backend,
    pub registration_ttl: Duration,
    /// Beyond what a phone is told.
    pub registration_grace: Duration,
    pub vapid: Vapid,
    /// None: the one in `state_dir`, made on the first start. Never with PostgreSQL.
    pub secret: Option<Secret>,
    pub previous_secrets: Vec<Secret>,
    /// Keys of other servers, whose endpoints are opened, too.
    pub imports: Vec<Import>,
    /// Not used with PostgreSQL.
    pub state_dir: PathBuf,
    pub store: Store,
    /// Not used with SQLite.
    pub postgres: PostgresSettings,
    pub component: Component,
    pub http: Http,
    pub admin: Admin,
    pub delivery: Delivery,
    pub limits: Limits,
    pub log: Log,
}

/// What keeps what must survive a restart.
#[derive(Debug, PartialEq, Eq)]
pub enum Store {
    /// In `state_dir`, for one daemon.
    Sqlite,
    /// For any number of daemons.
    Postgres(PostgresUrl),
}

impl Store {
    /// Whether a reload can lead from one to the other.
    fn is_same_place(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Postgres(one), Self::Postgres(other)) => one.is_same_database(other),
            _ => self == other,
        }
    }
}

#[derive(Debug)]
pub struct Component {
    /// Without a local part.
    pub domain: BareJid,
    pub host: Host,
    /// Not used with a Unix socket.
    pub port: u16,
    /// None: without TLS.
    pub tls: Option<Trust>,
    pub secret: Secret,
}

#[derive(Debug)]
pub struct Http {
    pub listen: Listen,
    pub public_url: PublicUrl,
    pub require_ttl: bool,
    pub trusted_proxies: Vec<IpNet>,
}

#[derive(Debug)]
pub struct Admin {
    pub listen: Listen,
}

#[derive(Debug)]
pub struct Delivery {
    pub ack_timeout: Duration,
    pub default_ttl: Ttl,
    pub max_ttl: Ttl,
    /// Whatever a sender asks for, if its message is so urgent at least.
    pub min_ttl: Ttl,
    pub min_ttl_urgency: Urgency,
    pub max_queued_per_endpoint: u32,
    /// Of a bare JID.
    pub max_queued_per_jid: u32,
    /// All together.
    pub max_queued_bytes: u64,
}

#[derive(Debug)]
pub struct Limits {
    pub endpoint_rate: Rate,
    pub client_guess_rate: Rate,
    pub registrations_per_jid: u32,
    pub registration_rate: Rate,
    /// Bytes.
    pub in_flight_memory: u64,
    /// Bytes.
    pub request_memory: u64,
    pub connections: usize,
    /// Of an IPv4 address, or of an IPv6 network of 64 bits.
    pub connections_per_client: usize,
}

#[derive(Debug)]
pub struct Log {
    pub level: Level,
    pub format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// Loads all layers: the defaults, the file (`--config`, else `UNIFIED_PUSH_CONFIG`, else the one
/// in /etc if it exists), the environment.
pub fn load(
    cli_path: Option<&Path>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Loaded, Report> {
    // Where the kernel does not say what is mounted, nothing is said of it.
    let mounts = fs::read_to_string(network::MOUNTS).unwrap_or_default();
    load_where(mounts, cli_path, environment)
}

/// The same with what is mounted.
fn load_where(
    mounts: String,
    cli_path: Option<&Path>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Loaded, Report> {
    let variables: Vec<_> = environment.into_iter().collect();
    let mut settings = Settings::default();
    settings.mounts = mounts;
    settings.credentials = variables
        .iter()
        .find(|(name, value)| name == "CREDENTIALS_DIRECTORY" && !value.is_empty())
        .map(|(_, value)| PathBuf::from(value));
    settings.merge(layers::defaults());
    let chosen = layers::File::choose(cli_path, &variables);
    let file = chosen.to_string();
    settings.open_file = Exposed::file(&chosen.path);
    settings.file = chosen.path.clone();
    match chosen.layer() {
        Ok(layer) => settings.merge(layer),
        // What the file would have set is unknown: more complaints would be noise.
        Err(problem) => {
            return Err(Report {
                file,
                problems: vec![problem],
                warnings: Vec::new(),
            });
        }
    }
    settings.merge(layers::environment(&variables));
    match read::config(&mut settings) {
        Some(config) if settings.problems.is_empty() => Ok(Loaded {
            config,
            file,
            effective: Effective::of(&settings),
            warnings: settings.warnings,
        }),
        Some(_) | None => Err(Report {
            file,
            problems: settings.problems,
            warnings: settings.warnings,
        }),
    }
}

impl Config {
    /// The options whose new value a reload cannot bring: `started` is what the daemon began with.
    pub fn needs_restart(&self, started: &Self) -> Vec<&'static str> {
        let changed = [
            (
                &options::STATE_DIR.about,
                self.state_dir != started.state_dir,
            ),
            (
                &options::store::URL.about,
                !self.store.is_same_place(&started.store),
            ),
            (
                &options::store::CONNECTIONS.about,
                self.postgres.connections != started.postgres.connections,
            ),
            (
                &options::store::REQUIRE_SYNCHRONOUS.about,
                self.postgres.require_synchronous != started.postgres.require_synchronous,
            ),
            (
                &options::component::DOMAIN.about,
                self.component.domain != started.component.domain,
            ),
            (
                &options::http::LISTEN.about,
                self.http.listen != started.http.listen,
            ),
            (
                &options::http::PUBLIC_URL.about,
                self.http.public_url != started.http.public_url,
            ),
            (
                &options::admin::LISTEN.about,
                self.admin.listen != started.admin.listen,
            ),
            (
                &options::limits::CONNECTIONS.about,
                self.limits.connections != started.limits.connections,
            ),
            (
                &options::limits::REQUEST_MEMORY.about,
                self.limits.request_memory != started.limits.request_memory,
            ),
            (
                &options::log::FORMAT.about,
                self.log.format != started.log.format,
            ),
        ];
        let changed = changed.into_iter().filter(|(_, changed)| *changed);
        changed.map(|(about, _)| about.path).collect()
    }
}

impl Loaded {
    /// Which file was read, or why none.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// What `check-config` says of it.
    pub fn verdict(&self) -> String {
        verdict(&self.file, &self.warnings)
    }
}
