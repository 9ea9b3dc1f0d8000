//! A UnifiedPush push server for XMPP.
//!
//! A phone registers over XMPP and gets an endpoint URL; an application server POSTs an encrypted
//! Web Push message to that URL; the daemon relays it to the phone as an IQ and reports what
//! happened. `ARCHITECTURE.md` holds the map of the modules and the invariants.

pub mod acl;
pub mod address;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod delivery;
pub mod demo;
pub mod health;
pub mod http;
pub mod lifecycle;
pub mod limits;
pub mod link;
pub mod logging;
pub mod message;
pub mod metrics;
pub mod payload;
pub mod random;
pub mod registrar;
pub mod registration;
pub mod revocation;
pub mod secret;
pub mod store;
pub mod token;
pub mod xmpp;
