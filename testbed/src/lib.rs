//! What the tests and the benchmarks of unified-push have in common.
//!
//! The subject is a [`Daemon`]: the real program with a [`Config`], driven through its interfaces
//! alone. Around it stand real servers ([`Server`], [`Postgres`]) with [`Phone`]s and [`Component`]s
//! of ours, or a [`FakeServer`] within the test, which is faster and does as it is told. A [`Bed`]
//! is a daemon with a fake server, ready for a test. [`suite`] runs tests that need programs, and
//! says which were left out.
//!
//! Nothing here uses the library under test, so that it need not be compiled again for each of its
//! changes, and so that no fault of the library can hide itself.

#![expect(clippy::unwrap_used, reason = "a failed test says what failed")]

pub mod app;
pub mod authority;
pub mod bed;
pub mod clock;
mod component;
mod config;
mod daemon;
pub mod dns;
pub mod fake;
pub mod http;
mod pgbouncer;
pub mod phone;
pub mod postgres;
pub mod process;
mod random;
pub mod relay;
pub mod server;
pub mod suite;
pub mod vapid;
pub mod webpush;
pub mod xml;

pub use app::{Behaviour, Pair, Push, Refusal, Registered, Taken};
pub use authority::Authority;
pub use bed::Bed;
pub use clock::MovedClock;
pub use component::Component;
pub use config::{Config, SECRET};
pub use daemon::Daemon;
pub use fake::{FakePhone, FakeServer};
pub use pgbouncer::PgBouncer;
pub use phone::Phone;
pub use postgres::Postgres;
pub use process::{Process, eventually, free_port};
pub use random::Random;
pub use server::{Account, Carrier, Federation, Kind, Server};
pub use suite::Missing;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
    time::Duration,
};

use tempfile::TempDir;

/// Longer than anything takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The program under test. Cargo puts it beside the directory of the tests' own programs.
pub fn program() -> &'static Path {
    static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| profile_dir().join("unified-push"));
    &PROGRAM
}

/// A new directory below cargo's, which is on a disk even where `/tmp` is not.
pub fn directory(prefix: &str) -> TempDir {
    let parent = profile_dir().with_file_name("tmp");
    fs::create_dir_all(&parent).unwrap();
    TempDir::with_prefix_in(prefix, parent).unwrap()
}

/// Where cargo puts what it builds: `target/debug`.
fn profile_dir() -> PathBuf {
    let program = std::env::current_exe().unwrap();
    program.ancestors().nth(2).unwrap().to_owned()
}
