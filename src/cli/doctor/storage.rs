//! Where the state is kept: its directory and disk, or its database, and the secret.

use super::finding::Findings;
use crate::{
    app::state::{find_secret, open_files},
    config::{self, Config},
    model::{
        secret::Secret,
        time::{Clock, SystemClock},
    },
    store::{
        PostgresExamined, PostgresUrl, SqliteExamined, SqliteOpenError, examine_postgres,
        examine_sqlite,
    },
};

const SECRET: &str = "secret";
const STATE: &str = "state_dir";
const DATABASE: &str = "database";

/// Less room than this on a disk is soon none.
const LITTLE: u64 = 100 << 20;
const FEW_FILES: u64 = 100;

/// The oldest PostgreSQL that serves.
const OLDEST: u32 = 130_000;

/// The secret that tokens rest on.
pub fn secret(config: &Config, findings: &mut Findings) -> Option<Secret> {
    match find_secret(config) {
        Ok(Some(secret)) => {
            findings.ok(SECRET, format!("it has the key id {}", secret.id()));
            Some(secret)
        }
        Ok(None) => {
            let text = format!(
                "none is configured, and the daemon makes one in {} at its first start",
                config.state_dir.display()
            );
            findings.ok(SECRET, text);
            None
        }
        Err(error) => {
            findings.wrong(SECRET, error.to_string());
            None
        }
    }
}

/// Looks at the store. Returns whether other daemons use it.
pub async fn store(config: &Config, daemon_runs: bool, findings: &mut Findings) -> bool {
    match &config.store {
        config::Store::Sqlite => {
            let examined = examine_sqlite(&config.state_dir, daemon_runs);
            let others = matches!(examined, Err(SqliteOpenError::InUse { .. }));
            match examined {
                Ok(SqliteExamined { version: None, .. }) if daemon_runs => {
                    let text = format!(
                        "the daemon that runs does not keep its state in {}. Restart it if `state_dir` \
                         was changed, or name its configuration with --config",
                        config.state_dir.display()
                    );
                    findings.wrong(STATE, text);
                }
                Ok(examined) => directory(config, &examined, findings),
                Err(error) => findings.wrong(STATE, error.to_string()),
            }
            for open in open_files(config) {
                findings.warning(STATE, open.to_string());
            }
            others
        }
        config::Store::Postgres(url) => match examine_postgres(url).await {
            Ok(examined) => {
                database(url, &examined, findings);
                examined.in_use
            }
            Err(error) => {
                findings.wrong(DATABASE, error.to_string());
                false
            }
        },
    }
}

fn directory(config: &Config, examined: &SqliteExamined, findings: &mut Findings) {
    let path = config.state_dir.display();
    let enough = LITTLE.min(config.delivery.max_queued_bytes);
    let free = examined.free.unwrap_or(u64::MAX);
    if free < enough {
        let mebibytes = free >> 20;
        findings.warning(
            STATE,
            format!(
                "only {mebibytes} MiB are free on the disk of {path}. Make room there, or set `state_dir` \
                 to a directory with more room"
            ),
        );
    } else if examined.free_files.is_some_and(|files| files < FEW_FILES) {
        findings.warning(
            STATE,
            format!("the disk of {path} has no room for more files (inodes). Delete some there"),
        );
    }
    let text = match &examined.version {
        Some(version) => format!("{path} can be written; its database opens (SQLite {version})"),
        None => format!("{path} can be written; the daemon makes its database at its first start"),
    };
    findings.ok(STATE, text);
}

fn database(url: &PostgresUrl, examined: &PostgresExamined, findings: &mut Findings) {
    let PostgresExamined {
        version,
        version_number,
        fsync,
        full_page_writes,
        may_create,
        now,
        connections: (connections, most),
        ..
    } = examined;
    let mut wrong = |text: String| findings.wrong(DATABASE, format!("{url} {text}"));
    if *version_number < OLDEST {
        wrong(format!(
            "is PostgreSQL {version}. Version 13 is the oldest that serves: upgrade it"
        ));
    }
    if !*may_create {
        wrong(
            "has no schema in which the user may make tables. Let the user own the database, or grant it \
             CREATE on the schema"
                .to_owned(),
        );
    }
    for (set, setting) in [(fsync, "fsync"), (full_page_writes, "full_page_writes")] {
        if !set {
            wrong(format!(
                "has {setting} = off, so that a crash may lose what was accepted. Set it to on in \
                 postgresql.conf"
            ));
        }
    }
    let apart = now.map_or(0, |now| now.millis_since(SystemClock.now()).abs());
    if apart > 5_000 {
        let seconds = apart / 1000;
        findings.warning(
            DATABASE,
            format!(
                "the clock of {url} and this machine's are {seconds} seconds apart. Turn on time \
                 synchronisation on both (`timedatectl set-ntp true`)"
            ),
        );
    }
    if connections * 10 > most * 9 {
        findings.warning(
            DATABASE,
            format!(
                "{url} has {connections} of at most {most} connections. Raise max_connections in \
                 postgresql.conf"
            ),
        );
    }
    findings.ok(DATABASE, format!("{url} answers: PostgreSQL {version}"));
}
