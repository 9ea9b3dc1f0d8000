//! A UnifiedPush push server for XMPP.
//!
//! A phone registers over XMPP and gets an endpoint URL; an application server POSTs an encrypted
//! Web Push message to that URL; the daemon relays it to the phone as an IQ, keeps it while the
//! phone is away, and reports what happened. `ARCHITECTURE.md` tells the life of a push and holds
//! the invariants; this page is the map. It has three parts, and each part uses only what stands
//! below it.
//!
//! # What a push passes through
//!
//! [`http`] takes the request and turns it into a message. [`delivery`] takes the message to an
//! outcome, and on to its phone: it is the heart of the daemon. [`token`] opens what the endpoint's
//! URL carries, and issues it when a phone registers, which is the work of the [`registrar`].
//! [`store`] keeps what must survive a crash, in SQLite or PostgreSQL. [`xmpp`] holds the link to
//! the XMPP server; what it and the use cases say to each other is the plain data of [`link`].
//!
//! # What everything is made of
//!
//! [`model`] holds the words of the field as types that cannot hold a bad value. [`metrics`] counts.
//! [`tls`] knows whom to believe when we connect to a server.
//!
//! # What makes it a program
//!
//! [`config`] turns the defaults, the file and the environment into a checked configuration.
//! [`app`] composes the parts from it, starts and stops them. [`runtime`] deals with the system:
//! signals, systemd, health and the log. [`cli`] holds the subcommands, and [`demo`] a loopback XMPP
//! server with a simulated phone.

pub mod app;
pub mod cli;
pub mod config;
pub mod delivery;
pub mod demo;
pub mod http;
pub mod link;
pub mod metrics;
pub mod model;
pub mod registrar;
pub mod runtime;
pub mod store;
pub mod tls;
pub mod token;
pub mod xmpp;
