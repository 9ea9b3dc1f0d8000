//! How long messages wait for their phones, and how many.

use super::count;
use crate::{
    config::{
        forms::{Count, OneOf, Size, Span},
        key::{Fallback::Fixed, Key},
    },
    model::message::Urgency,
};

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
