//! What one sender, client or account may take, and all of them together.

use super::count;
use crate::{
    config::{
        forms::{As, Count, Kind, Size},
        key::{Fallback::Fixed, Key},
        values,
    },
    model::rate::Rate,
};

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

const fn rate(path: &'static str, default: &'static str) -> Key<As<Rate>> {
    let form = As {
        kind: Kind::Rate { such_as: default },
        parse: values::rate,
    };
    Key::new(path, form, Fixed(default))
}
