//! What the process owes to the system it runs on: [`lifecycle`] (signals, systemd, open files),
//! [`health`] (whether it can do its work) and [`logging`]; and what it owes to whoever waits for it,
//! [`patience`].

pub mod health;
pub mod lifecycle;
pub mod logging;
pub mod patience;
