//! From the layers to the [`Config`]: each section asks for its options, then come the checks that
//! concern more than one.

use std::time::Duration;

use bytesize::ByteSize;
use figment::value::Value;
use jid::BareJid;

use super::{
    Admin, Component, Config, Delivery, Http, Limits, Listen, Log, Store,
    report::Problem,
    secrets,
    settings::Settings,
    values::{self, duration, number, size},
};
use crate::{
    model::{
        acl::{Acl, AclEntry},
        listen::is_private,
        secret::Secret,
    },
    token::Backend,
};

const DAY: Duration = Duration::from_secs(86400);
const MAX_REGISTRATION_TTL: Duration = Duration::from_secs(36500 * 86400);
/// Some senders give up soon after, and then shun the whole host.
const MAX_ACK_TIMEOUT: Duration = Duration::from_secs(5);

/// None when an option is wrong; the report may have problems all the same.
pub fn config(settings: &mut Settings) -> Option<Config> {
    let domain = settings.get("component.domain", values::domain);
    if let Some(domain) = &domain {
        derive_defaults(settings, domain);
    }
    let acl = settings.get("acl", values::acl);
    if let (Some(acl), Some(domain)) = (&acl, &domain) {
        check_acl(settings, acl, domain);
    }
    let backend = settings.get("backend", values::backend);
    let ttl_range = Duration::from_secs(1)..=MAX_REGISTRATION_TTL;
    let registration_ttl = settings.get("registration_ttl", duration(ttl_range));
    let secret = secrets::token_secret(settings);
    if backend == Some(Backend::Jwt) {
        require_secret(settings);
    }
    let previous_secrets = secrets::previous_secrets(settings);
    let state_dir = settings.get("state_dir", values::path);
    let store = secrets::store(settings);
    if matches!(store, Some(Store::Postgres(_))) {
        require_shared_secret(settings);
    }
    let component = component(settings, domain);
    let http = http(settings);
    let admin = admin(settings, http.as_ref());
    let delivery = delivery(settings);
    let limits = limits(settings);
    let log = log(settings);
    let mut config = Config {
        acl: acl?,
        backend: backend?,
        registration_ttl: registration_ttl?,
        secret,
        previous_secrets: previous_secrets?,
        state_dir: state_dir?,
        store: store?,
        component: component?,
        http: http?,
        admin: admin?,
        delivery: delivery?,
        limits: limits?,
        log: log?,
    };
    drop_current_secret(settings, &mut config);
    warn(settings, &config);
    Some(config)
}

fn derive_defaults(settings: &mut Settings, domain: &BareJid) {
    let acl: Vec<String> = Acl::default_for(domain)
        .entries()
        .iter()
        .map(AclEntry::to_string)
        .collect();
    settings.derive("acl", Value::from(acl));
    settings.derive("http.public_url", Value::from(format!("https://{domain}")));
}

fn check_acl(settings: &mut Settings, acl: &Acl, component: &BareJid) {
    if let Some(entry) = acl.within(component) {
        settings.reject(
            "acl",
            &format!(
                "has an entry that matches nobody: \"{entry}\", since the component has no accounts"
            ),
            "write the domain of the accounts, such as \"example.org\"",
        );
    }
}

fn component(settings: &mut Settings, domain: Option<BareJid>) -> Option<Component> {
    let host = settings.get("component.host", values::host);
    let port = settings.get("component.port", number(1..=65535));
    let secret = secrets::secret(settings, "component.secret", "component.secret_file");
    Some(Component {
        domain: domain?,
        host: host?,
        port: port?,
        secret: secret?,
    })
}

fn http(settings: &mut Settings) -> Option<Http> {
    let listen = settings.get("http.listen", values::listen);
    let public_url = settings.get("http.public_url", values::public_url);
    let require_ttl = settings.get("http.require_ttl", values::flag);
    let trusted_proxies = settings.get("http.trusted_proxies", values::networks);
    Some(Http {
        listen: listen?,
        public_url: public_url?,
        require_ttl: require_ttl?,
        trusted_proxies: trusted_proxies?,
    })
}

fn admin(settings: &mut Settings, http: Option<&Http>) -> Option<Admin> {
    let listen = settings.get("admin.listen", values::listen)?;
    let any_port = matches!(listen, Listen::Tcp(address) if address.port() == 0);
    if http.is_some_and(|http| http.listen == listen) && !any_port {
        let remedy = "give each listener its own address";
        settings.reject("admin.listen", "is the same as http.listen", remedy);
    }
    Some(Admin { listen })
}

fn delivery(settings: &mut Settings) -> Option<Delivery> {
    let ack_range = Duration::from_millis(1)..=MAX_ACK_TIMEOUT;
    let ack_timeout = settings.get("delivery.ack_timeout", duration(ack_range));
    let default_ttl = settings.get("delivery.default_ttl", values::ttl);
    let max_ttl = settings.get("delivery.max_ttl", values::ttl);
    if default_ttl
        .zip(max_ttl)
        .is_some_and(|(default, max)| default > max)
    {
        let remedy = "lower it, or raise delivery.max_ttl";
        settings.reject(
            "delivery.default_ttl",
            "is more than delivery.max_ttl",
            remedy,
        );
    }
    let max_queued_per_endpoint = settings.get("delivery.max_queued_per_endpoint", at_least_one());
    let max_queued_per_jid = settings.get("delivery.max_queued_per_jid", at_least_one());
    let max_queued_bytes = settings.get("delivery.max_queued_bytes", size(ByteSize::mib(1)));
    Some(Delivery {
        ack_timeout: ack_timeout?,
        default_ttl: default_ttl?,
        max_ttl: max_ttl?,
        max_queued_per_endpoint: max_queued_per_endpoint?,
        max_queued_per_jid: max_queued_per_jid?,
        max_queued_bytes: max_queued_bytes?,
    })
}

fn limits(settings: &mut Settings) -> Option<Limits> {
    let endpoint_rate = settings.get("limits.endpoint_rate", values::rate);
    let client_guess_rate = settings.get("limits.client_guess_rate", values::rate);
    let registrations_per_jid = settings.get("limits.registrations_per_jid", at_least_one());
    let registration_rate = settings.get("limits.registration_rate", values::rate);
    let in_flight_memory = settings.get("limits.in_flight_memory", size(ByteSize::kib(64)));
    let connections = settings.get("limits.connections", at_least_one());
    Some(Limits {
        endpoint_rate: endpoint_rate?,
        client_guess_rate: client_guess_rate?,
        registrations_per_jid: registrations_per_jid?,
        registration_rate: registration_rate?,
        in_flight_memory: in_flight_memory?,
        connections: connections?,
    })
}

fn at_least_one<T: TryFrom<u64>>() -> impl Fn(&Value) -> values::Parsed<T> {
    number(1..=u64::MAX)
}

fn log(settings: &mut Settings) -> Option<Log> {
    let level = settings.get("log.level", values::level);
    let format = settings.get("log.format", values::log_format);
    Some(Log {
        level: level?,
        format: format?,
    })
}

/// Prosody's module, whose tokens these are, knows no secret of a state directory.
fn require_secret(settings: &mut Settings) {
    if !has_secret(settings) {
        settings.problems.push(Problem::new(
            "secret",
            "is missing, and backend \"jwt\" works with a configured one only",
            "set `secret_file = \"...\"` or UNIFIED_PUSH_SECRET_FILE; where Prosody's tokens are \
             to stay valid, to its unified_push_secret",
        ));
    }
}

/// Daemons that share a database open each other's tokens.
fn require_shared_secret(settings: &mut Settings) {
    if !has_secret(settings) {
        settings.problems.push(Problem::new(
            "secret",
            "is missing, and with PostgreSQL as the store there has to be one: daemons that share \
             a database must not each make their own",
            "set `secret_file = \"...\"` or UNIFIED_PUSH_SECRET_FILE, to the same on every daemon; \
             `unified-push gen-secret` prints one",
        ));
    }
}

fn has_secret(settings: &Settings) -> bool {
    settings.is_set("secret") || settings.is_set("secret_file")
}

/// During a rotation the two options are easily filled from one place.
fn drop_current_secret(settings: &mut Settings, config: &mut Config) {
    let before = config.previous_secrets.len();
    let is_other = |previous: &Secret| Some(previous) != config.secret.as_ref();
    config.previous_secrets.retain(is_other);
    if config.previous_secrets.len() < before {
        settings.warn("previous_secrets: has the current secret too; did you forget a new one?");
    }
}

fn warn(settings: &mut Settings, config: &Config) {
    if config.acl.entries().is_empty() {
        settings.warn("acl: is empty, so nobody can register");
    }
    if config.backend == Backend::Jwt {
        settings.warn(
            "backend: \"jwt\" puts readable JIDs into the URLs that application servers get; \
             \"paseto\" hides them",
        );
    }
    if config.registration_ttl < 2 * DAY {
        settings.warn(
            "registration_ttl: is below 172800 seconds (2 days): phones with Conversations up to \
             2.19 get a new URL every hour",
        );
    }
    if let Ok(address) = config.component.host.parse()
        && !is_private(address)
    {
        settings.warn(format!(
            "component.host: {address} is a public address, and the link to the server is not \
             encrypted (XEP-0114); use a tunnel"
        ));
    }
    if let Store::Postgres(url) = &config.store
        && let Some(address) = url.exposed()
    {
        settings.warn(format!(
            "store.url: {address} is a public address, and the connection to PostgreSQL is not \
             encrypted; add `?sslmode=require`"
        ));
    }
    if !config.http.public_url.is_encrypted() {
        settings
            .warn("http.public_url: is not https; most application servers refuse such endpoints");
    }
}
