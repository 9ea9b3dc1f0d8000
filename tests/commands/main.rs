//! Black-box tests of the binary, with the loopback server and phone of `demo` as the far side.

#![expect(clippy::unwrap_used, reason = "a failed test says what failed")]

mod bed;
mod bursts;
mod config;
mod demo;
mod health;
#[path = "../servers/http.rs"]
mod http;
mod inspect;
mod journal;
mod log;
mod memory;
mod metrics;
#[path = "../servers/process.rs"]
#[expect(dead_code, reason = "shared with the tests against real servers")]
mod process;
mod registrations;
mod secret;
mod send;
mod signals;
mod start;
mod systemd;
