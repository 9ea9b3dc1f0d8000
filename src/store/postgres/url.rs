//! The URL of a database, which may hold a password: it is never shown whole.

use std::{fmt, net::IpAddr, str::FromStr, sync::Arc};

use tokio_postgres::config::{Config, Host, SslMode};

use crate::model::listen::is_private;

/// `postgres://USER:PASSWORD@HOST:PORT/DATABASE?OPTION=VALUE`, as libpq has it. Shows where the
/// database is, without user and password. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl(Arc<Config>);

/// PostgreSQL's own.
const PORT: u16 = 5432;

/// Reads on from the name of what holds the URL. The parser's own words may quote a piece of the
/// password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PostgresUrlError {
    #[error("does not start with postgres://")]
    Scheme,
    #[error(
        "is no URL of a PostgreSQL database, or has an option that is not known; in user, password \
         and path, write characters such as @ : / ? # % as %40 %3A %2F %3F %23 %25"
    )]
    Syntax,
    #[error("names no host")]
    NoHost,
    #[error(
        "has a sslmode that would verify nothing or is not known: `disable` is for a plain \
         connection, `require` for TLS with the server's certificate verified"
    )]
    SslMode,
}

impl PostgresUrl {
    /// With whether TLS is used decided: `Disable` or `Require`.
    pub(super) fn config(&self) -> &Config {
        &self.0
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.0.get_ssl_mode() == SslMode::Require
    }

    /// The public address to which the connection is not encrypted, if there is one. No name is
    /// resolved.
    pub fn exposed(&self) -> Option<IpAddr> {
        if self.is_encrypted() {
            return None;
        }
        let named = self.0.get_hosts().iter().filter_map(|host| match host {
            Host::Tcp(name) => name.trim_matches(['[', ']']).parse().ok(),
            Host::Unix(_) => None,
        });
        let mut addresses = named.chain(self.0.get_hostaddrs().iter().copied());
        addresses.find(|address| !is_private(*address))
    }
}

impl FromStr for PostgresUrl {
    type Err = PostgresUrlError;

    fn from_str(text: &str) -> Result<Self, PostgresUrlError> {
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err(PostgresUrlError::Scheme);
        }
        let mut modes = text
            .split(['?', '&'])
            .filter_map(|option| option.strip_prefix("sslmode="));
        if !modes.all(|mode| matches!(mode, "disable" | "require")) {
            return Err(PostgresUrlError::SslMode);
        }
        let mut config: Config = text.parse().map_err(|_| PostgresUrlError::Syntax)?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(PostgresUrlError::NoHost);
        }
        // After an @ in a password, the rest of it is taken for the host's.
        if !config.get_hosts().iter().all(is_host) {
            return Err(PostgresUrlError::Syntax);
        }
        if config.get_ssl_mode() == SslMode::Prefer {
            // What the library takes when nothing is said, which verifies nothing.
            config.ssl_mode(SslMode::Disable);
        }
        Ok(Self(Arc::new(config)))
    }
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
        let names = self.0.get_hosts().iter().map(|host| match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(path) => path.display().to_string(),
        });
        let addresses = self.0.get_hostaddrs().iter().map(IpAddr::to_string);
        let hosts: Vec<_> = match self.0.get_hosts().is_empty() {
            true => addresses.collect(),
            false => names.collect(),
        };
        f.write_str(&hosts.join(","))?;
        if let [port] = self.0.get_ports()
            && *port != PORT
        {
            write!(f, ":{port}")?;
        }
        write!(f, "/{}", self.0.get_dbname().unwrap_or_default())
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgresUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Result<PostgresUrl, PostgresUrlError> {
        text.parse()
    }

    #[test]
    fn it_shows_where_and_neither_user_nor_password() {
        for (text, shown) in [
            (
                "postgres://up:hunter2@db.example:5433/push",
                "postgres://db.example:5433/push",
            ),
            (
                "postgresql://up:hunter2@%2Frun%2Fpostgresql/push?connect_timeout=1",
                "postgres:///run/postgresql/push",
            ),
            (
                "postgres:///push?host=/run/postgresql&user=up&password=hunter2",
                "postgres:///run/postgresql/push",
            ),
        ] {
            let url = url(text).unwrap();
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), format!("PostgresUrl({shown})"));
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        use PostgresUrlError::{NoHost, Scheme, SslMode, Syntax};
        for (text, expected) in [
            ("mysql://up:hunter2@db/push", Scheme),
            ("up:hunter2@db/push", Scheme),
            ("postgres:///push", NoHost),
            ("postgres://up:hunter2@db:port/push", Syntax),
            ("postgres://up:hunter2@db/push?password=hunter2&x=y", Syntax),
            ("postgres://up:hun@ter2@db/push", Syntax),
            ("postgres://up:hunter2@db/push?sslmode=prefer", SslMode),
            ("postgres://up:hunter2@db/push?sslmode=allow", SslMode),
        ] {
            let error = url(text).unwrap_err();
            assert_eq!(error, expected, "{text}");
            let said = format!("{error} {error:?}");
            assert!(
                !said.contains("hunter2") && !said.contains("ter2"),
                "{said}"
            );
        }
    }

    #[test]
    fn tls_is_used_when_it_is_asked_for_and_then_verified() {
        let mode = |text: &str| url(text).unwrap().config().get_ssl_mode();
        assert_eq!(mode("postgres://db/push"), SslMode::Disable);
        assert_eq!(mode("postgres://db/push?sslmode=disable"), SslMode::Disable);
        assert_eq!(mode("postgres://db/push?sslmode=require"), SslMode::Require);
    }

    #[test]
    fn a_plain_connection_to_a_public_address_is_noticed() {
        let exposed = |text: &str| url(text).unwrap().exposed().is_some();
        assert!(exposed("postgres://198.51.100.1/push"));
        assert!(exposed("postgres://[2001:db8::1]:5432/push"));
        assert!(exposed("postgres://db/push?hostaddr=198.51.100.1"));
        assert!(!exposed("postgres://198.51.100.1/push?sslmode=require"));
        assert!(!exposed("postgres://10.0.0.1/push"));
        assert!(!exposed("postgres://[::1]/push"));
        assert!(!exposed("postgres://db.example/push"));
        assert!(!exposed("postgres:///push?host=/run/postgresql"));
    }
}
