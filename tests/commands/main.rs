//! Black-box tests of the binary, with a fake XMPP server and phone as the far side.

#![expect(clippy::unwrap_used, reason = "a failed test says what failed")]

mod bursts;
mod clock;
mod config;
mod credentials;
mod dashboard;
mod demo;
mod doctor;
mod endpoints;
mod headers;
mod health;
mod help;
mod import;
mod inspect;
mod journal;
mod log;
mod manual;
mod memory;
mod metrics;
mod outage;
mod patience;
mod pod;
mod protocol;
mod queue;
mod registrations;
mod reload;
mod secret;
mod send;
mod signals;
mod start;
mod store_copy;
mod systemd;
mod trust;
mod upgrade;
