//! What is fuzzed: each target takes bytes and panics when the daemon does with them what it must not.
//!
//! `run.sh` lets libFuzzer choose the bytes; `tests/corpora.rs` takes those that are kept in `corpus/`.

mod configuration;
mod imports;
mod jids;
mod requests;
mod stanza_ids;
mod store;
mod stream;
mod tokens;
mod vapid;
mod writer;

// What the store's own tests compare it with.
#[path = "../../tests/store/messages.rs"]
#[expect(dead_code, reason = "the store's tests need more of it")]
mod messages;
#[path = "../../tests/store/model.rs"]
mod model;
#[path = "../../tests/store/operations.rs"]
mod operations;
#[path = "../../tests/store/strategy.rs"]
mod strategy;

use std::future::Future;

use tokio::runtime::{Builder, Runtime};
use unified_push::model::time::{Clock, Timestamp};

pub type Target = fn(&[u8]);

pub const TARGETS: &[(&str, Target)] = &[
    ("stream", stream::run),
    ("writer", writer::run),
    ("jids", jids::run),
    ("tokens", tokens::run),
    ("stanza-ids", stanza_ids::run),
    ("headers", requests::headers),
    ("matrix", requests::matrix),
    ("aesgcm", requests::aesgcm),
    ("vapid", vapid::run),
    ("configuration", configuration::run),
    ("imports", imports::run),
    ("store", store::run),
];

pub fn target(name: &str) -> Option<Target> {
    let mut targets = TARGETS.iter();
    targets
        .find(|(known, _)| *known == name)
        .map(|(_, target)| *target)
}

const NOW: Timestamp = Timestamp::from_secs(1_764_000_000);

/// Stands still.
struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        NOW
    }
}

fn runtime() -> Runtime {
    let runtime = Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime")
}

/// Waits on this thread for what waits for nothing but the store.
fn wait<T>(future: impl Future<Output = T>) -> T {
    thread_local!(static RUNTIME: Runtime = runtime());
    RUNTIME.with(|runtime| runtime.block_on(future))
}

/// Two parts of the input, the first of so many bytes as its first byte says.
fn halves(data: &[u8]) -> (&[u8], &[u8]) {
    match data.split_first() {
        Some((len, rest)) => rest.split_at(usize::from(*len).min(rest.len())),
        None => (&[], &[]),
    }
}
