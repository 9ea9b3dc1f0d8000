//! Every option, in the order of the documentation. After a change here,
//! `UNIFIED_PUSH_WRITE=1 cargo test --test options` writes anew what is made from it.
//!
//! An option has its own name here: `ACL` is `acl`, and `store::URL` is `store.url`. Each table has a file.

pub mod admin;
pub mod component;
pub mod delivery;
pub mod http;
pub mod limits;
pub mod log;
pub mod store;

use std::path::PathBuf;

use super::{
    forms::{As, Count, Kind, OneOf, Span, list, text},
    import_entry::{self, Entry},
    key::{
        Described,
        Fallback::{Derived, Fixed, Unset},
        Key,
    },
    values,
};
use crate::{
    model::{acl::Acl, listen::Listen, secret::MIN_BYTES, vapid::Vapid},
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
    &store::URL,
    &store::URL_FILE,
    &store::CONNECTIONS,
    &store::REQUIRE_SYNCHRONOUS,
    &component::DOMAIN,
    &component::HOST,
    &component::PORT,
    &component::TLS,
    &component::TLS_CA_FILE,
    &component::TLS_NAME,
    &component::SECRET,
    &component::SECRET_FILE,
    &http::LISTEN,
    &http::PUBLIC_URL,
    &http::REQUIRE_TTL,
    &http::TRUSTED_PROXIES,
    &admin::LISTEN,
    &delivery::ACK_TIMEOUT,
    &delivery::DEFAULT_TTL,
    &delivery::MAX_TTL,
    &delivery::MIN_TTL,
    &delivery::MIN_TTL_URGENCY,
    &delivery::MAX_QUEUED_PER_ENDPOINT,
    &delivery::MAX_QUEUED_PER_JID,
    &delivery::MAX_QUEUED_BYTES,
    &limits::ENDPOINT_RATE,
    &limits::CLIENT_GUESS_RATE,
    &limits::REGISTRATIONS_PER_JID,
    &limits::REGISTRATION_RATE,
    &limits::IN_FLIGHT_MEMORY,
    &limits::REQUEST_MEMORY,
    &limits::CONNECTIONS,
    &limits::CONNECTIONS_PER_CLIENT,
    &log::LEVEL,
    &log::FORMAT,
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

/// No, unless somebody says yes.
const fn flag(path: &'static str) -> Key<As<bool>> {
    let form = As {
        kind: Kind::Flag,
        parse: values::flag,
    };
    Key::new(path, form, Fixed("false"))
}

const fn listen(path: &'static str, default: &'static str) -> Key<As<Listen>> {
    let form = As {
        kind: Kind::Listen,
        parse: values::listen,
    };
    Key::new(path, form, Fixed(default)).restart()
}

const fn count(path: &'static str, default: &'static str) -> Key<Count> {
    Key::new(path, Count(1..=u32::MAX as u64), Fixed(default))
}
