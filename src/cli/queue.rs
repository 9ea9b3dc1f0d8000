//! `unified-push queue`: lists and drops the messages that are waiting for their phones, while the
//! daemon runs.

use std::iter;

use super::{
    accounts::{account, messages, print_list},
    error::{CliError, Exit},
    examples,
};
use crate::{
    app::state::{find_clock, find_store},
    config::Config,
    model::time::SystemClock,
};

#[derive(clap::Subcommand)]
pub enum Command {
    /// List the accounts for which messages are waiting
    #[command(after_help = examples::QUEUE_LIST)]
    List,
    /// Drop all messages that are waiting for an account; its endpoints keep working
    #[command(after_help = examples::QUEUE_DROP)]
    Drop {
        /// A bare JID
        jid: String,
    },
}

pub async fn run(config: &Config, command: Command) -> Result<Exit, CliError> {
    match command {
        Command::List => list(config).await,
        Command::Drop { jid } => drop(config, &jid).await,
    }
}

async fn list(config: &Config) -> Result<Exit, CliError> {
    let store = find_store(config).await?;
    let clock = find_clock(&store, SystemClock).await?;
    let waiting = store.waiting(clock.now()).await?;
    let heading = format!(
        "{:>8}  {:>12}  {:20}  account",
        "messages", "bytes", "oldest"
    );
    let rows = waiting.iter().map(|waiting| {
        format!(
            "{:>8}  {:>12}  {:20}  {}",
            waiting.messages,
            waiting.bytes,
            clock.to_wall(waiting.oldest).to_string(),
            waiting.owner
        )
    });
    print_list(iter::once(heading).chain(rows))
}

async fn drop(config: &Config, jid: &str) -> Result<Exit, CliError> {
    let owner = account(jid)?;
    let dropped = find_store(config).await?.drop_waiting(&owner).await?;
    println!("dropped {} waiting for {owner}", messages(dropped));
    Ok(Exit::Done)
}
