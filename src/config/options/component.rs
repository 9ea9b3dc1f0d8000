//! The link to the XMPP server.

use std::path::PathBuf;

use jid::BareJid;

use super::{file, flag};
use crate::{
    config::{
        forms::{As, Count, Kind, text},
        key::{
            Fallback::{Derived, Fixed, Required},
            Key,
        },
        values,
    },
    model::host::Host,
};

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

pub static TLS: Key<As<bool>> = flag("component.tls")
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

pub static SECRET: Key<As<String>> = Key::new(
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

pub static SECRET_FILE: Key<As<PathBuf>> = file("component.secret_file")
    .such_as(r#""/etc/unified-push/component-secret""#)
    .means("The file that contains `component.secret`.");
