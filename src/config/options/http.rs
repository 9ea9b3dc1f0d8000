//! The listener for application servers, and where they find it.

use ipnet::IpNet;

use super::{flag, listen};
use crate::{
    config::{
        forms::{As, Kind},
        key::{
            Fallback::{Derived, Fixed},
            Key,
        },
        values,
    },
    model::{endpoint::PublicUrl, listen::Listen},
};

pub static LISTEN: Key<As<Listen>> = listen("http.listen", r#""127.0.0.1:8080""#).means(
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

pub static REQUIRE_TTL: Key<As<bool>> = flag("http.require_ttl")
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
