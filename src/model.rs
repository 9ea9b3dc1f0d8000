//! The words of the field as types that cannot hold a bad value. They know each other and nothing
//! else of ours.
//!
//! - What is pushed: [`message`] (TTL, topic, urgency, ids), [`payload`]
//! - To whom: [`registration`], [`revocation`], [`endpoint`] (the URLs we hand out), [`acl`]
//! - By whom: [`vapid`]
//! - What comes from outside and is passed in: [`time`], [`random`], [`secret`]
//! - The daemon's own time: [`timekeeper`], [`leads`] (how it differs from the system's clock)
//! - What tasks share: [`sync`]
//! - What the configuration names: [`listen`] and [`host`] (addresses), [`rate`] (limits)

pub mod acl;
pub mod endpoint;
pub mod exposure;
pub mod host;
pub mod leads;
pub mod listen;
pub mod message;
pub mod payload;
pub mod random;
pub mod rate;
pub mod registration;
pub mod revocation;
pub mod secret;
pub mod sync;
pub mod time;
pub mod timekeeper;
pub mod vapid;
