//! Black-box tests of the binary, with the loopback server and phone of `demo` as the far side.

#![expect(clippy::unwrap_used, reason = "a failed test says what failed")]

mod bed;
mod bursts;
#[path = "../common/mod.rs"]
mod common;
mod config;
mod demo;
mod headers;
mod health;
mod inspect;
mod journal;
mod log;
mod memory;
mod metrics;
mod outage;
#[expect(dead_code, reason = "tests/store does more to it")]
#[path = "../common/postgres.rs"]
mod postgres;
mod queue;
mod registrations;
mod reload;
mod secret;
mod send;
mod signals;
mod start;
mod systemd;

use crate::common::{http, process};
