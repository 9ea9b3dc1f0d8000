//! The link to the XMPP server: an external component (XEP-0114).
//!
//! - `component`: the task that keeps a connection, by its `settings`; `up`: what it does with one
//! - `socket`: connects, by TCP, TLS or a Unix socket; `stream`: authenticates
//! - `reader`: bytes into stanzas within limits; `frame`: where stanzas begin and end; `parse`: their
//!   XML; `stanza`: what they say
//! - `session`: what they mean to this component
//! - `outbox`: stanzas on their way out; `writer`: their XML
//! - `keepalive`: notices that the server is gone
//! - `trial`: tries a connection without keeping it
//! - `loss`: why there is no link; `backoff`: when to try again; `report`: what the log says
//!
//! It knows what a push and a registration look like on the wire, and nothing of what becomes of
//! them: that is behind [`crate::link::Inbound`].
//!
//! What parses and writes is public for the benchmarks.

mod backoff;
pub mod component;
mod courtesy;
pub(crate) mod frame;
mod keepalive;
pub mod loss;
mod outbox;
mod parse;
mod prompt;
pub mod reader;
mod report;
pub mod session;
pub mod settings;
mod socket;
mod stanza;
pub(crate) mod stream;
pub mod trial;
mod up;
pub mod writer;
