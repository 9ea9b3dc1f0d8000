//! The listeners, bound here or handed over by systemd.

use std::io;

use listenfd::ListenFd;

use super::StartError;
use crate::{http::Listener, model::listen::Listen};

/// Listeners that are bound already; they replace the configured ones.
#[derive(Default)]
pub struct Sockets {
    pub http: Option<Listener>,
    pub admin: Option<Listener>,
}

impl Sockets {
    /// The one named `admin` is for the admin listener (`FileDescriptorName=` in a socket unit),
    /// the other one for pushes.
    pub fn from_systemd() -> Result<Self, StartError> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let names: Vec<_> = names.split(':').collect();
        let mut passed = ListenFd::from_env();
        let mut sockets = Self::default();
        for index in 0..passed.len() {
            let listener = take(&mut passed, index).map_err(StartError::Activation)?;
            let (key, slot) = match names.get(index) {
                Some(&"admin") => ("admin.listen", &mut sockets.admin),
                _ => ("http.listen", &mut sockets.http),
            };
            if slot.is_some() {
                // Its clients would wait for ever: systemd listens, and nobody accepts.
                return Err(StartError::Superfluous(key));
            }
            *slot = listener;
        }
        Ok(sockets)
    }
}

fn take(passed: &mut ListenFd, index: usize) -> io::Result<Option<Listener>> {
    if let Ok(Some(tcp)) = passed.take_tcp_listener(index) {
        return Listener::try_from(tcp).map(Some);
    }
    passed
        .take_unix_listener(index)?
        .map(Listener::try_from)
        .transpose()
}

/// The listener that was handed over, or one that is bound to the configured address. `key` is the
/// option that has it.
pub async fn listener(
    key: &'static str,
    listen: &Listen,
    passed: Option<Listener>,
) -> Result<Listener, StartError> {
    match passed {
        Some(listener) => Ok(listener),
        None => Listener::bind(listen)
            .await
            .map_err(|source| StartError::Bind { key, source }),
    }
}
