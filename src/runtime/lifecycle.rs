//! Signals, and what systemd wants to be told.

use std::{io, process, time::Duration};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sd_notify::NotifyState;
pub use tokio::signal::unix::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The exit code of a process that a second signal ended.
const EXIT_ABORTED: i32 = 130;

/// A token that SIGTERM or SIGINT cancels. A second signal ends the process at once.
pub fn shutdown_signal() -> io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let shutdown = CancellationToken::new();
    let token = shutdown.clone();
    tokio::spawn(async move {
        either(&mut terminate, &mut interrupt).await;
        tracing::info!("stopping; send a second signal to end at once");
        token.cancel();
        either(&mut terminate, &mut interrupt).await;
        tracing::warn!("second signal received: ending without waiting for pushes in flight");
        process::exit(EXIT_ABORTED);
    });
    Ok(shutdown)
}

/// Lets the process open as many files as the system lets it ask for, and says how many these are:
/// each connection is one, and the usual default of 1024 is for programs of another kind.
pub fn raise_open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    let current = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    // None: no limit.
    current.unwrap_or(u64::MAX)
}

async fn either(one: &mut Signal, other: &mut Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}

/// SIGHUP, which asks for the configuration to be read again; before this call, it would end the process.
pub fn reload_signal() -> io::Result<Signal> {
    signal(SignalKind::hangup())
}

/// Tells systemd that pushes can be accepted, or that a reload is over.
pub fn notify_ready() {
    notify(&[NotifyState::Ready]);
}

/// Tells systemd, and whoever asks it, what the daemon waits for; nothing when the text is empty.
pub fn notify_status(status: &str) {
    notify(&[NotifyState::Status(status)]);
}

/// How much longer systemd waits for a start each time that it is asked to.
const EXTENSION: Duration = Duration::from_secs(60);

/// Asks systemd to wait longer for the start, which goes on: it would end the daemon, and the next start
/// would begin anew.
pub fn notify_starting() {
    let extension = u32::try_from(EXTENSION.as_micros()).unwrap_or(u32::MAX);
    notify(&[NotifyState::ExtendTimeoutUsec(extension)]);
}

/// Tells systemd that a reload has begun. `Type=notify-reload` wants to know when.
pub fn notify_reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "cannot tell systemd about the reload"),
    }
}

pub fn notify_stopping() {
    notify(&[NotifyState::Stopping]);
}

/// Feeds systemd's watchdog, when it set one, for as long as the runtime schedules us.
pub async fn feed_watchdog() {
    let Some(limit) = sd_notify::watchdog_enabled() else {
        return std::future::pending().await;
    };
    let mut interval = tokio::time::interval((limit / 2).max(Duration::from_millis(1)));
    loop {
        interval.tick().await;
        notify(&[NotifyState::Watchdog]);
    }
}

/// A manager that cannot be reached is no reason to stop working.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "cannot notify systemd");
    }
}
