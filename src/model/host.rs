//! Where a server is that this daemon connects to.

use std::{fmt, path::PathBuf};

/// What the configuration calls a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// A name or an IP address; the port is said beside it.
    Network(String),
    /// A socket on this machine.
    Unix(PathBuf),
}

/// As in the configuration.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(host) => f.write_str(host),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
