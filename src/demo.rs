//! A loopback XMPP server and phones, for people who have neither and for tests.
//!
//! [`Wire`] is the server's side of XEP-0114 in raw XML. [`Server`] is a server with one component
//! and no federation, and [`Phone`] a simulated phone on it that registers and acknowledges as
//! Conversations does. Neither is fit for anything but loopback.

mod phone;
mod router;
mod server;
mod state;
mod wire;

pub use phone::{Endpoint, Phone, Refused};
pub use server::Server;
pub use state::{Behaviour, Push};
pub use wire::{Host, Wire};
