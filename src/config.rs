//! The configuration, validated. Built by layers (defaults, file, environment) with every problem
//! reported at once.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use ipnet::IpNet;
use jid::BareJid;

use crate::{acl::Acl, limits::Rate, message::Ttl, secret::Secret, token::Backend};

#[derive(Debug)]
pub struct Config {
    pub acl: Acl,
    pub backend: Backend,
    pub registration_ttl: Duration,
    /// None: the one in `state_dir`, made on the first start.
    pub secret: Option<Secret>,
    pub previous_secrets: Vec<Secret>,
    pub state_dir: PathBuf,
    pub component: Component,
    pub http: Http,
    pub admin: Admin,
    pub delivery: Delivery,
    pub limits: Limits,
    pub log: Log,
}

#[derive(Debug)]
pub struct Component {
    pub domain: BareJid,
    pub host: String,
    pub port: u16,
    pub secret: Secret,
}

#[derive(Debug)]
pub struct Http {
    pub listen: Listen,
    /// What endpoints start with: http or https, without a trailing slash.
    pub public_url: String,
    pub require_ttl: bool,
    pub trusted_proxies: Vec<IpNet>,
}

#[derive(Debug)]
pub struct Admin {
    pub listen: Listen,
}

/// Where a listener binds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

#[derive(Debug)]
pub struct Delivery {
    pub ack_timeout: Duration,
    pub default_ttl: Ttl,
    pub max_ttl: Ttl,
}

#[derive(Debug)]
pub struct Limits {
    pub endpoint_rate: Rate,
    pub client_guess_rate: Rate,
    pub registrations_per_jid: u32,
    pub registration_rate: Rate,
    /// Bytes.
    pub in_flight_memory: u64,
    pub connections: usize,
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
