//! Every option, in the order of the documentation. After a change here,
//! `UNIFIED_PUSH_WRITE=1 cargo test --test options` writes anew what is made from it.

use std::path::PathBuf;

use ipnet::IpNet;
use jid::BareJid;

use super::{
    Level, LogFormat,
    forms::{As, Count, Kind, OneOf, Size, Span, list, text},
    import_entry::{self, Entry},
    key::{
        Described,
        Fallback::{Derived, Fixed, Required, Unset},
        Key,
    },
    values,
};
use crate::{
    model::{
        acl::Acl, endpoint::PublicUrl, host::Host, listen::Listen, message::Urgency, rate::Rate,
        secret::MIN_BYTES, vapid::Vapid,
    },
    token::Backend,
};

pub static OPTIONS: &[&dyn Described] = &[
    &ACL,
    &BACKEND,
    &REGISTRATION_TTL,
    &REGISTRATION_GRACE,
    &VAPID,
    &SECRET,
    &SECRET_FILE,
    &PREVIOUS_SECRETS,
    &PREVIOUS_SECRETS_FILE,
    &IMPORT,
    &STATE_DIR,
    &STORE_URL,
    &STORE_URL_FILE,
    &STORE_CONNECTIONS,
    &REQUIRE_SYNCHRONOUS,
    &DOMAIN,
    &HOST,
    &PORT,
    &TLS,
    &TLS_CA_FILE,
    &TLS_NAME,
    &COMPONENT_SECRET,
    &COMPONENT_SECRET_FILE,
    &HTTP_LISTEN,
    &PUBLIC_URL,
    &REQUIRE_TTL,
    &TRUSTED_PROXIES,
    &ADMIN_LISTEN,
    &ACK_TIMEOUT,
    &DEFAULT_TTL,
    &MAX_TTL,
    &MIN_TTL,
    &MIN_TTL_URGENCY,
    &MAX_QUEUED_PER_ENDPOINT,
    &MAX_QUEUED_PER_JID,
    &MAX_QUEUED_BYTES,
    &ENDPOINT_RATE,
    &CLIENT_GUESS_RATE,
    &REGISTRATIONS_PER_JID,
    &REGISTRATION_RATE,
    &IN_FLIGHT_MEMORY,
    &REQUEST_MEMORY,
    &CONNECTIONS,
    &CONNECTIONS_PER_CLIENT,
    &LOG_LEVEL,
    &LOG_FORMAT,
];

pub static ACL: Key<As<Acl>> = Key::new(
    "acl",
    As {
        kind: Kind::Acl,
        parse: values::acl,
    },
    Derived("the parent domain of `component.domain`"),
)
.such_as(r#"["example.org"]"#)
.means(
    "Who may register. A domain stands for all its accounts, `\"*.example.org\"` for the accounts of \
     all domains below that one, and `\"*\"` for every account that can reach the component.",
)
.details("This option does not concern application servers.");

pub static BACKEND: Key<OneOf<Backend>> = Key::new(
    "backend",
    OneOf(&[("paseto", Backend::Paseto), ("jwt", Backend::Jwt), ("storage", Backend::Storage)]),
    Fixed(r#""paseto""#),
)
.means(
    "What new endpoint URLs are made of. With `paseto`, they are encrypted and nothing is stored. With \
     `jwt`, they have the format of Prosody's mod_unified_push. With `storage`, they are random ids, \
     which are kept in the store.",
)
.details(
    "Endpoints of all three kinds are accepted, whichever kind is issued. With `jwt`, anyone who sees \
     a URL can read the JID in it; endpoints that mod_unified_push issued stay valid if you keep its \
     secret.",
);

pub static REGISTRATION_TTL: Key<Span> = Key::new(
    "registration_ttl",
    Span {
        such_as: r#""7d""#,
        least: "1s",
        most: Some("36500d"),
    },
    Fixed(r#""7d""#),
)
.means("How long an endpoint lives. Phones renew their endpoints by themselves.")
.details("If it is below 2 days, Conversations up to 2.19 gets a new URL every hour.");

pub static REGISTRATION_GRACE: Key<Span> = Key::new(
    "registration_grace",
    Span {
        such_as: r#""28d""#,
        least: "0s",
        most: Some("366d"),
    },
    Fixed(r#""28d""#),
)
.means(
    "For how long after `registration_ttl` an endpoint is still accepted and its messages are kept. A \
     phone that was off when it should have renewed its endpoints then finds its subscriptions alive.",
)
.details(
    "With `paseto` and `jwt`, a new value applies to all endpoints at once; with `storage`, to each \
     endpoint from its next renewal.",
);

pub static VAPID: Key<OneOf<Vapid>> = Key::new(
    "vapid",
    OneOf(&[("off", Vapid::Off), ("registered", Vapid::Registered), ("required", Vapid::Required)]),
    Fixed(r#""registered""#),
)
.means(
    "What to do about the signatures of application servers (VAPID). With `registered`, an endpoint that \
     was registered with an application server's public key takes only messages signed by that key. With \
     `required`, nothing is registered without a key. With `off`, keys and signatures are ignored.",
)
.details(
    "Conversations registers without a key, so with `required` it gets no endpoint. Endpoints that \
     were registered without a key still take every message; with `required` they end when they \
     expire. With `off`, endpoints that were registered with a key take every message, too.",
);

pub static SECRET: Key<As<String>> = Key::new(
    "secret",
    As {
        kind: Kind::Secret(MIN_BYTES),
        parse: text,
    },
    Derived("the file `secret` in `state_dir`"),
)
.such_as(r#""at least 32 bytes, from unified-push gen-secret""#)
.means(
    "The secret that all endpoints depend on. Anyone who knows it can forge endpoints. \
     `unified-push gen-secret` generates one.",
)
.details(
    "The daemon creates the default file on its first start. With `backend = \"jwt\"`, and with \
     PostgreSQL as the store, you must configure a secret.",
)
.secret();

pub static SECRET_FILE: Key<As<PathBuf>> = file("secret_file")
    .such_as(r#""/etc/unified-push/secret""#)
    .means("The file that contains `secret`.");

pub static PREVIOUS_SECRETS: Key<As<Vec<String>>> = Key::new(
    "previous_secrets",
    As {
        kind: Kind::Secrets(MIN_BYTES),
        parse: list,
    },
    Unset,
)
.such_as("[]")
.means("Earlier values of `secret`. Endpoints that were issued under them still work.")
.secret();

pub static PREVIOUS_SECRETS_FILE: Key<As<Option<PathBuf>>> = Key::new(
    "previous_secrets_file",
    As {
        kind: Kind::FileOrNone,
        parse: values::path_or_none,
    },
    Unset,
)
.such_as(r#""""#)
.means("The file that contains `previous_secrets`, one per line.");

pub static IMPORT: Key<As<Vec<Entry>>> = Key::new(
    "import",
    As {
        kind: Kind::Imports,
        parse: import_entry::parse,
    },
    Unset,
)
.such_as(r#"[{ kind = "up", key_file = "/etc/unified-push/up-key" }]"#)
.means(
    "Other push servers whose endpoints are accepted here, each with the key that its endpoints depend \
     on, as that server writes it. docs/moving.md shows where to find it.",
)
.details(
    "As tables, `[[import]]`, these come after all options of the top level. In the environment, write \
     the list as TOML.",
)
.secret();

pub static STATE_DIR: Key<As<PathBuf>> = Key::new(
    "state_dir",
    As {
        kind: Kind::Directory,
        parse: values::path,
    },
    Fixed(r#""/var/lib/unified-push""#),
)
.means(
    "The directory in which the daemon keeps what must survive a restart, unless `store.url` names a \
     database.",
)
.restart();

pub static STORE_URL: Key<As<String>> = Key::new(
    "store.url",
    As {
        kind: Kind::Store,
        parse: text,
    },
    Derived(r#"`"sqlite"`"#),
)
.such_as(r#""sqlite""#)
.means(
    "Where registrations, revocations and waiting messages are kept. `sqlite` keeps them in \
     `state_dir`, for one daemon. A `postgres://` URL names a database, which several daemons can \
     share.",
)
.details("Like a secret, the URL is never shown.")
.secret()
.restart();

pub static STORE_URL_FILE: Key<As<PathBuf>> = file("store.url_file")
    .such_as(r#""/etc/unified-push/store-url""#)
    .means("The file that contains `store.url`, for a URL with a password.")
    .restart();

pub static STORE_CONNECTIONS: Key<Count> =
    Key::new("store.connections", Count(2..=1000), Fixed("6"))
        .means("How many connections to PostgreSQL one daemon has at most.")
        .details("What is idle is closed after a minute.")
        .restart();

pub static REQUIRE_SYNCHRONOUS: Key<As<bool>> = Key::new(
    "store.require_synchronous",
    As {
        kind: Kind::Flag,
        parse: values::flag,
    },
    Fixed("false"),
)
.means(
    "Whether the daemon refuses to start on a PostgreSQL without synchronous standbys, whose failover \
     may lose messages that were accepted.",
)
.restart();

pub static DOMAIN: Key<As<BareJid>> = Key::new(
    "component.domain",
    As {
        kind: Kind::Domain,
        parse: values::domain,
    },
    Required,
)
.such_as(r#""up.example.org""#)
.means("The component's name, exactly as in the XMPP server's configuration.")
.restart();

pub static HOST: Key<As<Host>> = Key::new(
    "component.host",
    As {
        kind: Kind::Server,
        parse: values::server,
    },
    Fixed(r#""127.0.0.1""#),
)
.means("The host or the Unix socket on which the XMPP server listens for components.")
.details(
    "If a name has several addresses, they are tried in turn. Without `component.tls`, the link \
     (XEP-0114) is not encrypted, so a public address causes a warning.",
);

pub static PORT: Key<Count> = Key::new("component.port", Count(1..=65535), Fixed("5347"))
    .means("The port on which the XMPP server listens for components.");

pub static TLS: Key<As<bool>> = Key::new(
    "component.tls",
    As {
        kind: Kind::Flag,
        parse: values::flag,
    },
    Fixed("false"),
)
.means(
    "Whether the link is encrypted with TLS from its first byte, and the server's certificate is \
     verified. The server's listener must be set likewise, in ejabberd by `tls: true`.",
)
.details("Prosody's listener for components has no TLS.");

pub static TLS_CA_FILE: Key<As<PathBuf>> = file("component.tls_ca_file")
    .such_as(r#""/etc/unified-push/ca.pem""#)
    .means(
        "The file with the certificates (PEM) of the authorities that may have signed the server's \
         certificate. Without it, those of the system may.",
    )
    .details("The file is read again at a reload.");

pub static TLS_NAME: Key<As<String>> = Key::new(
    "component.tls_name",
    As {
        kind: Kind::Host,
        parse: values::host,
    },
    Derived("`component.host`"),
)
.such_as(r#""example.org""#)
.means("The name that the server's certificate must be made out to, often the XMPP domain.");

pub static COMPONENT_SECRET: Key<As<String>> = Key::new(
    "component.secret",
    As {
        kind: Kind::Secret(1),
        parse: text,
    },
    Required,
)
.such_as(r#""the component's secret""#)
.means("The component's secret, exactly as in the XMPP server's configuration.")
.secret();

pub static COMPONENT_SECRET_FILE: Key<As<PathBuf>> = file("component.secret_file")
    .such_as(r#""/etc/unified-push/component-secret""#)
    .means("The file that contains `component.secret`.");

pub static HTTP_LISTEN: Key<As<Listen>> = listen("http.listen", r#""127.0.0.1:8080""#).means(
    "Where the daemon listens for application servers, usually behind a reverse proxy that adds \
         TLS.",
);

pub static PUBLIC_URL: Key<As<PublicUrl>> = Key::new(
    "http.public_url",
    As {
        kind: Kind::PublicUrl,
        parse: values::public_url,
    },
    Derived("`https://` and `component.domain`"),
)
.such_as(r#""https://up.example.org""#)
.means("The URL that all endpoint URLs begin with. It may have a path.")
.details(
    "`http://` works too, but causes a warning, because most application servers refuse such \
     endpoints.",
)
.restart();

pub static REQUIRE_TTL: Key<As<bool>> = Key::new(
    "http.require_ttl",
    As {
        kind: Kind::Flag,
        parse: values::flag,
    },
    Fixed("false"),
)
.means("Whether a push without a `TTL` header is refused with 400, as RFC 8030 §5.2 requires.")
.details("Some application servers do not send the header.");

pub static TRUSTED_PROXIES: Key<As<Vec<IpNet>>> = Key::new(
    "http.trusted_proxies",
    As {
        kind: Kind::Networks,
        parse: values::networks,
    },
    Fixed(r#"["127.0.0.0/8", "::1"]"#),
)
.means("The reverse proxies whose `X-Forwarded-For` header is trusted.");

pub static ADMIN_LISTEN: Key<As<Listen>> = listen("admin.listen", r#""127.0.0.1:8081""#).means(
    "Where the daemon serves `/metrics`, `/healthz` and `/readyz`. Do not expose this address to \
         the public.",
);

pub static ACK_TIMEOUT: Key<Span> = Key::new(
    "delivery.ack_timeout",
    // Some senders give up soon after the longest, and then shun the whole host.
    Span {
        such_as: r#""800ms""#,
        least: "1ms",
        most: Some("5s"),
    },
    Fixed(r#""1s""#),
)
.means("How long a push waits for the phone's acknowledgement before it is stored.")
.details("Some application servers give up after 2 seconds and then avoid the whole host.");

pub static DEFAULT_TTL: Key<Span> = ttl("delivery.default_ttl", r#""1d""#).means(
    "The time to live of a push whose sender does not ask for one. It cannot exceed \
         `delivery.max_ttl`.",
);

pub static MAX_TTL: Key<Span> = ttl("delivery.max_ttl", r#""28d""#).means(
    "The longest time to live. If a sender asks for more, the answer tells it the shorter one.",
);

pub static MIN_TTL: Key<Span> = Key::new(
    "delivery.min_ttl",
    Span {
        such_as: r#""10min""#,
        least: "0s",
        most: Some("28d"),
    },
    Fixed(r#""0s""#),
)
.means(
    "The shortest time to live. Several libraries for application servers ask for a TTL of 0 unless \
     they are told otherwise, and such a message is lost if the phone is away. With `\"10min\"` it is \
     kept for ten minutes, and the answer tells its sender so.",
)
.details("The default keeps nothing that its sender does not want kept, as RFC 8030 demands.");

pub static MIN_TTL_URGENCY: Key<OneOf<Urgency>> = Key::new(
    "delivery.min_ttl_urgency",
    OneOf(&[
        ("very-low", Urgency::VeryLow),
        ("low", Urgency::Low),
        ("normal", Urgency::Normal),
        ("high", Urgency::High),
    ]),
    Fixed(r#""very-low""#),
)
.means(
    "The lowest urgency to which `delivery.min_ttl` applies. With `\"high\"`, it applies to urgent \
     messages alone.",
);

pub static MAX_QUEUED_PER_ENDPOINT: Key<Count> = count("delivery.max_queued_per_endpoint", "100")
    .means(
        "How many messages for one endpoint can wait for the phone. When one more arrives, the oldest \
         message of the lowest urgency is dropped.",
    )
    .details(
        "A new message that is less urgent than all that wait gets 503 with `Retry-After` instead.",
    );

pub static MAX_QUEUED_PER_JID: Key<Count> = count("delivery.max_queued_per_jid", "1000").means(
    "How many messages for one account can wait for its phones. Beyond that, pushes get 503 with \
         `Retry-After`.",
);

pub static MAX_QUEUED_BYTES: Key<Size> = Key::new(
    "delivery.max_queued_bytes",
    Size {
        such_as: r#""1GiB""#,
        least: "1MiB",
    },
    Fixed(r#""1GiB""#),
)
.means("The size of all waiting messages together. Beyond that, pushes get 503 with `Retry-After`.")
.details("For each message, 512 bytes are added for the data stored along with it.");

pub static ENDPOINT_RATE: Key<As<Rate>> = rate("limits.endpoint_rate", r#""5/s, burst 120""#)
    .means("The rate of pushes to one endpoint. Beyond that, pushes get 503 with `Retry-After`.");

pub static CLIENT_GUESS_RATE: Key<As<Rate>> = rate(
    "limits.client_guess_rate",
    r#""1/s, burst 30""#,
)
.means(
    "The rate of requests for endpoints that never existed, from one client address (with IPv6, from \
     one /64 network). Beyond that, such requests get 429.",
)
.details("Requests for expired and revoked endpoints do not count.");

pub static REGISTRATIONS_PER_JID: Key<Count> = count("limits.registrations_per_jid", "200")
    .means(
        "How many endpoints one account can have at a time. Beyond that, the registration that was \
         renewed longest ago gives way to the new one, if that was more than a day ago; otherwise the \
         new one is refused.",
    )
    .details("It applies only with `backend = \"storage\"`: the other back ends keep no count.");

pub static REGISTRATION_RATE: Key<As<Rate>> =
    rate("limits.registration_rate", r#""1/s, burst 60""#)
        .means("The rate at which one account can register.")
        .details(
            "Renewals have as much again of their own, so new registrations cannot keep an account \
             from renewing what it has.",
        );

pub static IN_FLIGHT_MEMORY: Key<Size> = Key::new(
    "limits.in_flight_memory",
    Size {
        such_as: r#""64MiB""#,
        least: "64KiB",
    },
    Fixed(r#""64MiB""#),
)
.means(
    "The memory for all pushes that are waiting for an acknowledgement. Beyond that, pushes get 503 \
     with `Retry-After`.",
);

pub static REQUEST_MEMORY: Key<Size> = Key::new(
    "limits.request_memory",
    Size {
        such_as: r#""32MiB""#,
        least: "1MiB",
    },
    Fixed(r#""32MiB""#),
)
.means(
    "The memory for all requests that are still arriving. Beyond that, the connections of those that \
     have been arriving for longest are closed.",
)
.restart();

pub static CONNECTIONS: Key<Count> = count("limits.connections", "10000")
    .means(
        "How many HTTP connections can be open at a time. When all of them are, those that have been \
         idle for longest are closed.",
    )
    .restart();

pub static CONNECTIONS_PER_CLIENT: Key<Count> = count("limits.connections_per_client", "500").means(
    "How many of these one client can have: an IPv4 address, or an IPv6 network of 64 bits. Trusted \
     proxies and Unix sockets can have all of them.",
);

pub static LOG_LEVEL: Key<OneOf<Level>> = Key::new(
    "log.level",
    OneOf(&[
        ("error", Level::Error),
        ("warn", Level::Warn),
        ("info", Level::Info),
        ("debug", Level::Debug),
        ("trace", Level::Trace),
    ]),
    Fixed(r#""info""#),
)
.means(
    "How much is logged. JIDs appear only with `debug` and `trace`; secrets, endpoints and message \
     contents never do.",
);

pub static LOG_FORMAT: Key<OneOf<LogFormat>> = Key::new(
    "log.format",
    OneOf(&[("text", LogFormat::Text), ("json", LogFormat::Json)]),
    Fixed(r#""text""#),
)
.means(
    "The format of the log. With `text` under systemd, the journal receives each entry with its \
     fields.",
)
.restart();

const fn file(path: &'static str) -> Key<As<PathBuf>> {
    Key::new(
        path,
        As {
            kind: Kind::File,
            parse: values::path,
        },
        Unset,
    )
}

const fn listen(path: &'static str, default: &'static str) -> Key<As<Listen>> {
    let form = As {
        kind: Kind::Listen,
        parse: values::listen,
    };
    Key::new(path, form, Fixed(default)).restart()
}

const fn ttl(path: &'static str, default: &'static str) -> Key<Span> {
    Key::new(
        path,
        Span {
            such_as: default,
            least: "1s",
            most: None,
        },
        Fixed(default),
    )
}

const fn rate(path: &'static str, default: &'static str) -> Key<As<Rate>> {
    let form = As {
        kind: Kind::Rate { such_as: default },
        parse: values::rate,
    };
    Key::new(path, form, Fixed(default))
}

const fn count(path: &'static str, default: &'static str) -> Key<Count> {
    Key::new(path, Count(1..=u32::MAX as u64), Fixed(default))
}
