//! `unified-push import`: takes over endpoints that another server keeps in files.

use std::{path::PathBuf, time::Duration};

use tokio::time::sleep;

use super::{
    error::{CliError, Exit},
    examples,
};
use crate::{
    app::state::State,
    config::Config,
    model::time::SystemClock,
    token::{Imported, read_prosody_storage},
};

/// Daemons that run look for what is new every second. Before they have seen the first import, they would
/// answer 404 to what was imported, which senders take for final.
const LEARNT: Duration = Duration::from_secs(3);

#[derive(clap::Subcommand)]
pub enum Command {
    /// Those of Prosody's mod_unified_push with the back end storage. Prosody may be running, and this may
    /// be repeated
    #[command(after_help = examples::IMPORT)]
    ProsodyStorage {
        /// Prosody's data directory, such as /var/lib/prosody
        directory: PathBuf,
    },
}

/// Everything is read before anything is written.
pub async fn run(config: &Config, command: Command) -> Result<Exit, CliError> {
    let Command::ProsodyStorage { directory } = command;
    let found = read_prosody_storage(&directory)?;
    let State { tokens, .. } = State::find(config, SystemClock).await?;
    let Imported {
        new,
        known,
        expired,
    } = tokens.import(found).await?;
    if new > 0 {
        sleep(LEARNT).await;
    }
    println!(
        "{} imported. Known from an earlier import: {known}; expired: {expired}",
        endpoints(new)
    );
    Ok(Exit::Done)
}

fn endpoints(count: usize) -> String {
    match count {
        1 => "1 endpoint".to_owned(),
        count => format!("{count} endpoints"),
    }
}
