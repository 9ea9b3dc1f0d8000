//! `unified-push registrations`: lists and revokes registrations in the store, while the daemon runs.

use std::{iter, time::Duration};

use jid::Jid;

use super::{
    accounts::{account, messages, print_list},
    error::{CliError, Exit},
    examples,
};
use crate::{
    app::state::{State, find_clock, find_secret, find_store},
    config::Config,
    model::{acl::Acl, revocation::Scope, secret::KeyId, time::SystemClock},
};

/// How long a whole account's revocation is kept: it also covers tokens that mod_unified_push signed
/// with the same secret, whose lives we do not know.
const KEPT: Duration = Duration::from_secs(100 * 365 * 86400);

#[derive(clap::Subcommand)]
pub enum Command {
    /// List the accounts that have registrations (only with back end storage)
    #[command(after_help = examples::REGISTRATIONS_LIST)]
    List,
    /// Show whether an account may register, and which entry of `acl` decides
    #[command(after_help = examples::REGISTRATIONS_TEST)]
    Test {
        /// A JID, with or without a resource
        jid: String,
    },
    /// Revoke every endpoint of an account; its phones may register again
    #[command(after_help = examples::REGISTRATIONS_REVOKE)]
    Revoke {
        /// A bare JID
        jid: String,
    },
    /// Give up every endpoint that was issued under a lost secret
    #[command(after_help = examples::REGISTRATIONS_FORGET_KEY)]
    ForgetKey {
        /// The key id that the daemon names when it refuses to start
        id: String,
    },
}

pub async fn run(config: &Config, command: Command) -> Result<Exit, CliError> {
    match command {
        Command::List => list(config).await,
        Command::Test { jid } => test(&config.acl, &jid),
        Command::Revoke { jid } => revoke(config, &jid).await,
        Command::ForgetKey { id } => forget_key(config, &id).await,
    }
}

async fn list(config: &Config) -> Result<Exit, CliError> {
    let store = find_store(config).await?;
    let clock = find_clock(&store, SystemClock).await?;
    let owners = store.owners(clock.now()).await?;
    let heading = format!(
        "{:>13}  {:20}  {:20}  account",
        "registrations", "last registered", "accepted until"
    );
    let rows = owners.iter().map(|owned| {
        format!(
            "{:>13}  {:20}  {:20}  {}",
            owned.registrations,
            clock.to_wall(owned.last_registered).to_string(),
            clock.to_wall(owned.latest_expiry).to_string(),
            owned.owner
        )
    });
    print_list(iter::once(heading).chain(rows))
}

fn test(acl: &Acl, given: &str) -> Result<Exit, CliError> {
    let sender = Jid::new(given).map_err(|source| CliError::NoJid {
        given: given.to_owned(),
        source,
    })?;
    let account = sender.to_bare();
    if let Some(rule) = acl.rule(&sender) {
        println!("{account} may register: \"{rule}\" in `acl` lets it in");
        return Ok(Exit::Done);
    }
    let entries = acl.entries().iter().map(|entry| format!("\"{entry}\""));
    let entries = entries.collect::<Vec<_>>().join(", ");
    println!("{account} may not register: nothing in `acl` = [{entries}] lets it in");
    Ok(Exit::No)
}

async fn revoke(config: &Config, jid: &str) -> Result<Exit, CliError> {
    let owner = account(jid)?;
    let State { tokens, clock, .. } = State::find(config, SystemClock).await?;
    // After all that was issued, also by a daemon whose time was restored from a backup.
    let now = clock.now().max(clock.wall().unwrap_or(clock.now()));
    let dropped = tokens
        .revoke(Scope::Owner(owner.clone()), now, now.saturating_add(KEPT))
        .await?;
    println!(
        "from the next second on, every endpoint of {owner} answers 404; its phones may register \
         again. Dropped from its queue: {}",
        messages(dropped)
    );
    Ok(Exit::Done)
}

async fn forget_key(config: &Config, id: &str) -> Result<Exit, CliError> {
    let key: KeyId = id.parse().map_err(|source| CliError::NoKeyId {
        given: id.to_owned(),
        source,
    })?;
    let secrets = find_secret(config)?.into_iter();
    let mut secrets = secrets.chain(config.previous_secrets.iter().cloned());
    if secrets.any(|secret| secret.id() == key) {
        return Err(CliError::KeyInUse(key));
    }
    match find_store(config).await?.forget_key(key).await? {
        Some(registrations) => {
            println!(
                "every endpoint of key {key} has been given up; {registrations} of them were in the \
                 store. Reload every daemon that still has the key's secret"
            );
            Ok(Exit::Done)
        }
        None => Err(CliError::UnknownKey(key)),
    }
}
