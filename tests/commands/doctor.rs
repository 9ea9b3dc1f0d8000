//! `doctor` at installations that are broken in one way each, and at some that are right. The XMPP
//! servers, proxies and databases are real; names and disks are those of a mount namespace.

mod clinic;
mod configuration;
mod databases;
mod links;
mod proxies;
mod right;
mod stores;
