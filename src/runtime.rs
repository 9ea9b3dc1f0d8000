//! What the process owes to the system it runs on: [`lifecycle`] (signals, systemd, open files),
//! [`health`] (whether it can do its work) and [`logging`].

pub mod health;
pub mod lifecycle;
pub mod logging;
