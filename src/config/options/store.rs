//! Where the store is, and what is asked of it.

use std::path::PathBuf;

use super::{file, flag};
use crate::config::{
    forms::{As, Count, Kind, text},
    key::{
        Fallback::{Derived, Fixed},
        Key,
    },
};

pub static URL: Key<As<String>> = Key::new(
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

pub static URL_FILE: Key<As<PathBuf>> = file("store.url_file")
    .such_as(r#""/etc/unified-push/store-url""#)
    .means("The file that contains `store.url`, for a URL with a password.")
    .restart();

pub static CONNECTIONS: Key<Count> = Key::new("store.connections", Count(2..=1000), Fixed("6"))
    .means("How many connections to PostgreSQL one daemon has at most.")
    .details("What is idle is closed after a minute.")
    .restart();

pub static REQUIRE_SYNCHRONOUS: Key<As<bool>> = flag("store.require_synchronous")
.means(
    "Whether the daemon refuses to start on a PostgreSQL without synchronous standbys, whose failover \
     may lose messages that were accepted.",
)
.restart();
