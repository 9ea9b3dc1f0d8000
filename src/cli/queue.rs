//! `unified-push queue`: looks at the messages that wait for their phones and drops them, while the
//! daemon runs.

use std::iter;

use super::{
    accounts::{account, messages, print_list},
    state::open,
};
use crate::{
    config::Config,
    model::time::{Clock, SystemClock},
};

#[derive(clap::Subcommand)]
pub enum Command {
    /// Accounts and what waits for the phones of each
    List,
    /// Drop every message that waits for an account; its endpoints go on working
    Drop {
        /// A bare JID
        jid: String,
    },
}

pub async fn run(config: &Config, command: Command) -> Result<bool, String> {
    match command {
        Command::List => list(config).await,
        Command::Drop { jid } => drop(config, &jid).await,
    }
}

async fn list(config: &Config) -> Result<bool, String> {
    let waiting = open(config)
        .await?
        .waiting(SystemClock.now())
        .await
        .map_err(|e| e.to_string())?;
    let heading = format!(
        "{:>8}  {:>12}  {:20}  account",
        "messages", "bytes", "oldest"
    );
    let rows = waiting.iter().map(|waiting| {
        format!(
            "{:>8}  {:>12}  {:20}  {}",
            waiting.messages,
            waiting.bytes,
            waiting.oldest.to_string(),
            waiting.owner
        )
    });
    print_list(iter::once(heading).chain(rows))
}

async fn drop(config: &Config, jid: &str) -> Result<bool, String> {
    let owner = account(jid)?;
    let dropped = open(config)
        .await?
        .drop_waiting(&owner)
        .await
        .map_err(|e| e.to_string())?;
    println!("dropped {} that waited for {owner}", messages(dropped));
    Ok(true)
}
