//! What is logged, and how.

use crate::config::{
    Level, LogFormat,
    forms::OneOf,
    key::{Fallback::Fixed, Key},
};

pub static LEVEL: Key<OneOf<Level>> = Key::new(
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

pub static FORMAT: Key<OneOf<LogFormat>> = Key::new(
    "log.format",
    OneOf(&[("text", LogFormat::Text), ("json", LogFormat::Json)]),
    Fixed(r#""text""#),
)
.means(
    "The format of the log. With `text` under systemd, the journal receives each entry with its \
     fields.",
)
.restart();
