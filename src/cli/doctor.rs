//! `unified-push doctor`: looks at everything that the daemon rests on, and says what is wrong and what
//! to do. It works while the daemon runs and while it does not, and changes nothing.

mod certificate;
mod challenge;
mod daemon;
mod finding;
mod public;
mod storage;

use std::{env, path::Path};

use self::finding::Findings;
pub use self::finding::Format;
use super::error::{CliError, Exit};
use crate::{
    config::{self, Loaded},
    model::time::{Clock, RELEASED, SystemClock},
};

/// Prints what was found; no when something is wrong.
pub async fn run(path: Option<&Path>, format: Format) -> Result<Exit, CliError> {
    let loaded = config::load(path, env::vars_os())?;
    let mut findings = Findings::new(format);
    configuration(&loaded, &mut findings);
    clock(&mut findings);
    let config = &loaded.config;
    let daemon = daemon::look(config, &mut findings);
    let secret = storage::secret(config, &mut findings);
    let shared = storage::store(config, daemon.is_some(), &mut findings).await;
    daemon::listener(config, daemon.is_some(), secret.as_ref(), &mut findings);
    daemon::link(config, daemon.as_ref(), shared, &mut findings).await;
    // It waits for the network, and nothing else is to be done meanwhile.
    public::look(config, daemon.is_some(), secret.as_ref(), &mut findings);
    Ok(findings.finish())
}

fn configuration(loaded: &Loaded, findings: &mut Findings) {
    const SUBJECT: &str = "configuration";
    findings.ok(SUBJECT, format!("{} is valid", loaded.file()));
    for warning in &loaded.warnings {
        findings.warning(SUBJECT, warning.clone());
    }
}

fn clock(findings: &mut Findings) {
    const SUBJECT: &str = "clock";
    let now = SystemClock.now();
    if now >= RELEASED {
        findings.ok(SUBJECT, format!("it says {now}"));
    } else {
        findings.wrong(
            SUBJECT,
            format!(
                "it says {now}, which is before this version was released ({RELEASED}). Set it, and turn \
                 on time synchronisation (`timedatectl set-ntp true`)"
            ),
        );
    }
}
