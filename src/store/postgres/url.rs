//! The URL of a database, which may hold a password: it is never shown whole.

use std::{fmt, fs, net::IpAddr, path::Path, str::FromStr, sync::Arc};

use percent_encoding::percent_decode_str;
use tokio_postgres::config::{Config, Host, SslMode};

use super::tls::{Tls, TlsOptionError, TlsOptions, TlsSetupError};
use crate::model::{listen::is_private, secret::Secret};

/// `postgres://USER:PASSWORD@HOST:PORT/DATABASE?OPTION=VALUE`, as libpq has it. Shows where the
/// database is, without user and password. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl {
    config: Arc<Config>,
    tls: Option<Arc<Tls>>,
    /// Which holds it.
    file: Option<Arc<Path>>,
}

/// PostgreSQL's own.
const PORT: u16 = 5432;

/// What may stand behind the `?`. Those of TLS are ours; the library knows the others.
const OPTIONS: &[&str] = &[
    "user",
    "password",
    "dbname",
    "host",
    "hostaddr",
    "port",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "sslnegotiation",
    "channel_binding",
    "target_session_attrs",
    "load_balance_hosts",
    "connect_timeout",
    "tcp_user_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "application_name",
    "options",
];

/// Reads on from the name of what holds the URL. The parser's own words may quote a piece of the
/// password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PostgresUrlError {
    #[error("does not start with postgres://")]
    Scheme,
    #[error(
        "is no URL of a PostgreSQL database; in user, password and path, write characters such as \
         @ : / ? # % as %40 %3A %2F %3F %23 %25"
    )]
    Syntax,
    #[error("names no host")]
    NoHost,
    #[error("has {}, which is not known here; known are {}", option(.0), OPTIONS.join(", "))]
    UnknownOption(Option<String>),
    #[error("has for the option {0} a value that it cannot have")]
    Value(&'static str),
    #[error(transparent)]
    Tls(#[from] TlsOptionError),
    #[error(
        "asks for TLS where no host name is: leave the ssl options out for a Unix socket, and give \
         `host` beside `hostaddr`"
    )]
    TlsWithoutName,
}

fn option(name: &Option<String>) -> String {
    match name {
        Some(name) => format!("the option {name}"),
        None => "an option".to_owned(),
    }
}

impl PostgresUrl {
    /// With whether TLS is used decided: `Disable` or `Require`.
    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    pub(super) fn tls(&self) -> Option<&Tls> {
        self.tls.as_deref()
    }

    pub fn has_password(&self) -> bool {
        self.config.get_password().is_some()
    }

    /// Remembers which file holds it.
    pub fn kept_in(self, file: &Path) -> Self {
        let file = Some(file.into());
        Self { file, ..self }
    }

    /// What the file holds now. None when there is no file, or no URL in it.
    pub(super) fn read_again(&self) -> Option<Self> {
        let file = self.file.as_deref()?;
        let content = Secret::from_file_content(fs::read(file).ok()?);
        let url: Self = str::from_utf8(content.as_bytes()).ok()?.parse().ok()?;
        Some(url.kept_in(file))
    }

    /// Whether the files of sslrootcert, sslcert and sslkey can be used.
    pub fn check_files(&self) -> Result<(), TlsSetupError> {
        match self.tls() {
            Some(tls) => tls.read().map(drop),
            None => Ok(()),
        }
    }

    /// Whether both differ in user, password, certificates and authorities only.
    pub fn is_same_database(&self, other: &Self) -> bool {
        let place = |url: &Self| {
            let mut config = Config::clone(&url.config);
            config.user("").password("").ssl_mode(SslMode::Disable);
            config
        };
        place(self) == place(other)
    }

    /// The public address to which the connection is not encrypted, if there is one. No name is
    /// resolved.
    pub fn exposed(&self) -> Option<IpAddr> {
        if self.tls.is_some() {
            return None;
        }
        let named = self
            .config
            .get_hosts()
            .iter()
            .filter_map(|host| match host {
                Host::Tcp(name) => name.trim_matches(['[', ']']).parse().ok(),
                Host::Unix(_) => None,
            });
        let mut addresses = named.chain(self.config.get_hostaddrs().iter().copied());
        addresses.find(|address| !is_private(*address))
    }
}

impl FromStr for PostgresUrl {
    type Err = PostgresUrlError;

    fn from_str(text: &str) -> Result<Self, PostgresUrlError> {
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err(PostgresUrlError::Scheme);
        }
        let (text, tls) = without_tls(text)?;
        let parsed: Result<Config, _> = text.parse();
        let mut config = parsed.map_err(|_| wrong_value(&text))?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(PostgresUrlError::NoHost);
        }
        // After an @ in a password, the rest of it is taken for the host's.
        if !config.get_hosts().iter().all(is_host) {
            return Err(PostgresUrlError::Syntax);
        }
        let tls = tls.meaning()?;
        let is_named = |host: &Host| matches!(host, Host::Tcp(_));
        let hosts = config.get_hosts();
        if tls.is_some() && (hosts.is_empty() || !hosts.iter().all(is_named)) {
            return Err(PostgresUrlError::TlsWithoutName);
        }
        // The library verifies nothing by itself when nothing is said.
        config.ssl_mode(match tls {
            Some(_) => SslMode::Require,
            None => SslMode::Disable,
        });
        Ok(Self {
            config: Arc::new(config),
            tls: tls.map(Arc::new),
            file: None,
        })
    }
}

/// The URL for the library, and what was ours. As with libpq, the last of two counts.
fn without_tls(text: &str) -> Result<(String, TlsOptions), PostgresUrlError> {
    let Some((base, query)) = split(text) else {
        return Ok((text.to_owned(), TlsOptions::default()));
    };
    let mut tls = TlsOptions::default();
    let mut rest = Vec::new();
    let decoded = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
    // What is misread as an option may be a piece of a password.
    let is_safe = !query.contains('@') && !query.contains("password");
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').ok_or(PostgresUrlError::Syntax)?;
        let name = decoded(name);
        let ours = match name.as_str() {
            "sslmode" => &mut tls.mode,
            "sslrootcert" => &mut tls.authorities,
            "sslcert" => &mut tls.certificate,
            "sslkey" => &mut tls.key,
            name if OPTIONS.contains(&name) => {
                rest.push(pair);
                continue;
            }
            _ => {
                let is_word = name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
                let shown = (is_safe && is_word && name.len() <= 32).then_some(name);
                return Err(PostgresUrlError::UnknownOption(shown));
            }
        };
        *ours = Some(decoded(value));
    }
    Ok((format!("{base}?{}", rest.join("&")), tls))
}

/// At the `?`, which may also stand in a password: the library takes that to end at the first @.
fn split(text: &str) -> Option<(&str, &str)> {
    let start = text.find('@').unwrap_or(0);
    let end = start + text[start..].find('?')?;
    Some((&text[..end], &text[end + 1..]))
}

/// Which option it is that the library does not take.
fn wrong_value(text: &str) -> PostgresUrlError {
    let query = split(text).map_or("", |(_, query)| query);
    let wrong = query.split('&').find_map(|pair| {
        let (name, _) = pair.split_once('=')?;
        let known = OPTIONS.iter().find(|option| **option == name)?;
        let alone: Result<Config, _> = format!("postgres:///?{pair}").parse();
        alone.is_err().then_some(*known)
    });
    wrong.map_or(PostgresUrlError::Syntax, PostgresUrlError::Value)
}

fn is_host(host: &Host) -> bool {
    let in_name = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
    match host {
        Host::Tcp(name) => name.chars().all(in_name),
        Host::Unix(_) => true,
    }
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres://")?;
        let names = self.config.get_hosts().iter().map(|host| match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(path) => path.display().to_string(),
        });
        let addresses = self.config.get_hostaddrs().iter().map(IpAddr::to_string);
        let hosts: Vec<_> = match self.config.get_hosts().is_empty() {
            true => addresses.collect(),
            false => names.collect(),
        };
        f.write_str(&hosts.join(","))?;
        if let [port] = self.config.get_ports()
            && *port != PORT
        {
            write!(f, ":{port}")?;
        }
        write!(f, "/{}", self.config.get_dbname().unwrap_or_default())
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgresUrl({self})")
    }
}

#[cfg(test)]
mod tests;
