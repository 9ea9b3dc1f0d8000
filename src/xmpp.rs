//! The link to the XMPP server: an external component (XEP-0114).
//!
//! [`stream`] connects and authenticates, [`reader`] turns bytes into stanzas within limits,
//! [`session`] says what they mean, [`writer`] writes ours, [`link`] is the task that keeps a connection and
//! [`up`] what it does with one.
//! It knows what a push and a registration look like on the wire, and nothing of what becomes of
//! them: that is behind [`crate::link::Inbound`].
//!
//! What parses and writes is public for the benchmarks.

mod backoff;
pub(crate) mod frame;
mod keepalive;
pub mod link;
mod loss;
mod outbox;
pub mod reader;
mod report;
pub mod session;
mod stanza;
pub(crate) mod stream;
mod up;
pub mod writer;
