//! Where log lines go: the journal when systemd connects us to it, else stderr as text or JSON.
//!
//! Other crates are held to warnings at every level: at finer ones some print whole stanzas.

use std::{
    env, fs,
    io::{self, IsTerminal},
    os::unix::fs::MetadataExt,
};

use tracing_subscriber::{
    EnvFilter, Layer, Registry, layer::SubscriberExt, reload, util::SubscriberInitExt,
};

use crate::config::{Level, Log, LogFormat};

/// Changes how much is logged.
pub struct LevelControl(reload::Handle<EnvFilter, Registry>);

impl LevelControl {
    pub fn set(&self, level: Level) {
        // It fails only when the logger is gone, and then nobody reads what it would say.
        let _ = self.0.reload(filter(level));
    }
}

/// Installs the process's logger. Later calls, as tests make them, change nothing.
pub fn init(log: &Log) -> LevelControl {
    let (filter, handle) = reload::Layer::new(filter(log.level));
    let registry = tracing_subscriber::registry().with(filter);
    let _ = registry.with(output(log.format)).try_init();
    LevelControl(handle)
}

fn filter(level: Level) -> EnvFilter {
    // Of an outage of PostgreSQL, the pool would write a line for each connection.
    EnvFilter::new(match level {
        Level::Error => "error",
        Level::Warn => "warn,deadpool=error",
        Level::Info => "warn,deadpool=error,unified_push=info",
        Level::Debug => "warn,deadpool=error,unified_push=debug",
        Level::Trace => "warn,deadpool=error,unified_push=trace",
    })
}

type Filtered = tracing_subscriber::layer::Layered<reload::Layer<EnvFilter, Registry>, Registry>;
type Output = Box<dyn Layer<Filtered> + Send + Sync>;

fn output(format: LogFormat) -> Output {
    let colours =
        io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let stderr = tracing_subscriber::fmt::layer()
        .with_ansi(colours)
        .with_writer(io::stderr);
    match format {
        LogFormat::Json => stderr.json().boxed(),
        LogFormat::Text => match journal() {
            Some(journal) => journal.boxed(),
            None => stderr.with_target(false).boxed(),
        },
    }
}

/// systemd names in `$JOURNAL_STREAM` the device and inode of the journal's socket.
fn journal() -> Option<tracing_journald::Layer> {
    let stream = env::var("JOURNAL_STREAM").ok()?;
    let stderr = fs::metadata("/proc/self/fd/2").ok()?;
    if stream != format!("{}:{}", stderr.dev(), stderr.ino()) {
        return None;
    }
    let layer = tracing_journald::layer().ok()?;
    Some(layer.with_syslog_identifier("unified-push".to_owned()))
}
