//! `unified-push import`: takes over endpoints that another server keeps in files.

use std::path::PathBuf;

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
