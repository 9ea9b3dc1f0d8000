//! From the layers to the [`Config`]: first each option by itself, then what concerns more than
//! one.

use std::time::Duration;

use figment::value::Value;
use jid::BareJid;

use super::{
    Admin, Component, Config, Delivery, Http, Limits, Listen, Log, Store, imports,
    layers::Layer,
    network,
    options::{
        ACL, BACKEND, REGISTRATION_GRACE, REGISTRATION_TTL, SECRET, SECRET_FILE, STATE_DIR, VAPID,
        admin, component, delivery, http, limits, log, store,
    },
    report::Problem,
    secrets,
    settings::Settings,
    tls,
};
use crate::{
    model::{
        acl::{Acl, AclEntry},
        host::Host,
        listen::is_private,
        message::Ttl,
        secret::Secret,
    },
    store::PostgresSettings,
    token::Backend,
};

const DAY: Duration = Duration::from_secs(86400);

/// None when an option is wrong; the report may have problems all the same.
pub fn config(settings: &mut Settings) -> Option<Config> {
    if let Some(domain) = settings.get(&component::DOMAIN) {
        settings.derive(derived(&domain));
    }
    settings.check_each();
    let component_secret = secrets::component_secret(settings);
    let secret = secrets::token_secret(settings);
    let previous_secrets = secrets::previous_secrets(settings);
    let imports = imports::imports(settings);
    let store = secrets::store(settings);
    let tls = tls::of_component(settings);
    check_together(settings, store.as_ref());
    settings.sort_problems();

    let mut config = Config {
        acl: settings.get(&ACL)?,
        backend: settings.get(&BACKEND)?,
        registration_ttl: settings.get(&REGISTRATION_TTL)?,
        registration_grace: settings.get(&REGISTRATION_GRACE)?,
        vapid: settings.get(&VAPID)?,
        secret,
        previous_secrets: previous_secrets?,
        imports: imports?,
        state_dir: settings.get(&STATE_DIR)?,
        store: store?,
        postgres: PostgresSettings {
            connections: whole(settings.get(&store::CONNECTIONS)?),
            require_synchronous: settings.get(&store::REQUIRE_SYNCHRONOUS)?,
        },
        component: Component {
            domain: settings.get(&component::DOMAIN)?,
            host: settings.get(&component::HOST)?,
            port: whole(settings.get(&component::PORT)?),
            tls: tls?,
            secret: component_secret?,
        },
        http: Http {
            listen: settings.get(&http::LISTEN)?,
            public_url: settings.get(&http::PUBLIC_URL)?,
            require_ttl: settings.get(&http::REQUIRE_TTL)?,
            trusted_proxies: settings.get(&http::TRUSTED_PROXIES)?,
        },
        admin: Admin {
            listen: settings.get(&admin::LISTEN)?,
        },
        delivery: Delivery {
            ack_timeout: settings.get(&delivery::ACK_TIMEOUT)?,
            default_ttl: Ttl::from_secs(settings.get(&delivery::DEFAULT_TTL)?.as_secs()),
            max_ttl: Ttl::from_secs(settings.get(&delivery::MAX_TTL)?.as_secs()),
            min_ttl: Ttl::from_secs(settings.get(&delivery::MIN_TTL)?.as_secs()),
            min_ttl_urgency: settings.get(&delivery::MIN_TTL_URGENCY)?,
            max_queued_per_endpoint: whole(settings.get(&delivery::MAX_QUEUED_PER_ENDPOINT)?),
            max_queued_per_jid: whole(settings.get(&delivery::MAX_QUEUED_PER_JID)?),
            max_queued_bytes: settings.get(&delivery::MAX_QUEUED_BYTES)?,
        },
        limits: Limits {
            endpoint_rate: settings.get(&limits::ENDPOINT_RATE)?,
            client_guess_rate: settings.get(&limits::CLIENT_GUESS_RATE)?,
            registrations_per_jid: whole(settings.get(&limits::REGISTRATIONS_PER_JID)?),
            registration_rate: settings.get(&limits::REGISTRATION_RATE)?,
            in_flight_memory: settings.get(&limits::IN_FLIGHT_MEMORY)?,
            request_memory: settings.get(&limits::REQUEST_MEMORY)?,
            connections: whole(settings.get(&limits::CONNECTIONS)?),
            connections_per_client: whole(settings.get(&limits::CONNECTIONS_PER_CLIENT)?),
        },
        log: Log {
            level: settings.get(&log::LEVEL)?,
            format: settings.get(&log::FORMAT)?,
        },
    };
    drop_current_secret(settings, &mut config);
    warn(settings, &config);
    Some(config)
}

/// The range of the option is one that fits.
fn whole<T: TryFrom<u64>>(number: u64) -> T {
    T::try_from(number)
        .ok()
        .expect("the option's range is within the type's")
}

/// The defaults that follow from the component's domain.
fn derived(domain: &BareJid) -> Layer {
    let mut layer = Layer::default();
    let acl = Acl::default_for(domain);
    let acl: Vec<String> = acl.entries().iter().map(AclEntry::to_string).collect();
    layer.put(ACL.about.path, Value::from(acl), "default");
    // As DNS has it: a URL is ASCII.
    let host = idna::domain_to_ascii(domain.as_str()).unwrap_or_else(|_| domain.to_string());
    let url = Value::from(format!("https://{host}"));
    layer.put(http::PUBLIC_URL.about.path, url, "default");
    layer
}

/// Reports what is right by itself, but not together with the rest.
fn check_together(settings: &mut Settings, store: Option<&Store>) {
    let has_secret = settings.is_set(&SECRET.about) || settings.is_set(&SECRET_FILE.about);
    if settings.get(&BACKEND) == Some(Backend::Jwt) && !has_secret {
        settings.problems.push(Problem::new(
            SECRET.about.path,
            "is missing, and backend = \"jwt\" needs one that you configured",
            // Prosody's module, whose tokens these are, knows no secret of a state directory.
            "set `secret_file = \"...\"` or UNIFIED_PUSH_SECRET_FILE; to keep Prosody's endpoints valid, \
             use its unified_push_secret",
        ));
    }
    if matches!(store, Some(Store::Postgres(_))) && !has_secret {
        settings.problems.push(Problem::new(
            SECRET.about.path,
            "is missing, and PostgreSQL as the store needs one: daemons that share a database must \
             not each generate their own",
            "set `secret_file = \"...\"` or UNIFIED_PUSH_SECRET_FILE to the same secret on every daemon; \
             `unified-push gen-secret` prints one",
        ));
    }
    if let (Some(acl), Some(domain)) = (settings.get(&ACL), settings.get(&component::DOMAIN))
        && let Some(entry) = acl.within(&domain)
    {
        let what = format!(
            "has an entry that matches nobody: \"{entry}\", since the component has no accounts"
        );
        let remedy = "write the domain of the accounts, such as \"example.org\"";
        settings.complain(&ACL.about, &what, remedy);
    }
    let (http, admin) = (settings.get(&http::LISTEN), settings.get(&admin::LISTEN));
    let any_port = matches!(&admin, Some(Listen::Tcp(address)) if address.port() == 0);
    if admin.is_some() && admin == http && !any_port {
        let remedy = "give each listener its own address";
        settings.complain(&admin::LISTEN.about, "is the same as http.listen", remedy);
    }
    for key in [&delivery::MIN_TTL, &delivery::DEFAULT_TTL] {
        let ttls = settings.get(key).zip(settings.get(&delivery::MAX_TTL));
        if ttls.is_some_and(|(ttl, max)| ttl > max) {
            let remedy = "lower it, or raise delivery.max_ttl";
            settings.complain(&key.about, "is more than delivery.max_ttl", remedy);
        }
    }
}

/// During a rotation the two options are easily filled from one place.
fn drop_current_secret(settings: &mut Settings, config: &mut Config) {
    let before = config.previous_secrets.len();
    let is_other = |previous: &Secret| Some(previous) != config.secret.as_ref();
    config.previous_secrets.retain(is_other);
    if config.previous_secrets.len() < before {
        settings.warn("previous_secrets: also contains the current secret; did you forget to generate a new one?");
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
    match &config.component.host {
        Host::Network(host) if config.component.tls.is_none() => {
            if let Ok(address) = host.parse()
                && !is_private(address)
            {
                settings.warn(format!(
                    "component.host: {address} is a public address, and the link to the server is \
                     not encrypted; set component.tls, or use a tunnel"
                ));
            }
        }
        Host::Network(_) => {}
        Host::Unix(_) => {
            if settings
                .find(&component::PORT.about)
                .is_some_and(|port| port.origin != "default")
            {
                settings.warn("component.port: is not used with the Unix socket of component.host");
            }
        }
    }
    if let Store::Postgres(url) = &config.store
        && let Some(address) = url.exposed()
    {
        settings.warn(format!(
            "store.url: {address} is a public address, and the connection to PostgreSQL is not \
             encrypted; add `?sslmode=require`"
        ));
    }
    if config.store == Store::Sqlite
        && let Some(kind) = network::file_system(&settings.mounts, &config.state_dir)
    {
        let warning = format!(
            "state_dir: {} is on a network file system ({kind}), where SQLite's locks and what it \
             writes to the disk cannot be relied on; use a directory on a local disk, or keep the \
             store in PostgreSQL (`store.url`)",
            config.state_dir.display()
        );
        settings.warn(warning);
    }
    if !config.http.public_url.is_encrypted() {
        settings
            .warn("http.public_url: does not use https, and most application servers refuse such endpoints");
    }
}
