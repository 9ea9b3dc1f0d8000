//! The daemon's state, as the commands open it beside the daemon.

use std::sync::Arc;

use crate::{
    app::policy,
    config::{self, Config},
    model::{random::SystemRandom, secret::Secret, time::SystemClock},
    store::Store,
    token::{Keyring, StateSecret, Tokens},
};

/// As the daemon would open them.
pub async fn tokens(config: &Config) -> Result<Tokens, String> {
    let store = open(config).await?;
    let secret = secret(config)?.ok_or_else(|| {
        let path = config.state_dir.display();
        format!("no secret is configured, and there is none in {path}")
    })?;
    let keyring = Keyring::new(&secret, &config.previous_secrets);
    let (clock, random) = (Arc::new(SystemClock), Arc::new(SystemRandom));
    Tokens::load(keyring, policy(config), store, clock, random)
        .await
        .map_err(|error| error.to_string())
}

/// The daemon's, which may be using it.
pub async fn open(config: &Config) -> Result<Store, String> {
    let opened = match &config.store {
        config::Store::Sqlite => Store::open_existing(&config.state_dir),
        config::Store::Postgres(url) => Store::connect(url).await,
    };
    opened.map_err(|error| error.to_string())
}

/// The configured one, or the one that the daemon has made.
pub fn secret(config: &Config) -> Result<Option<Secret>, String> {
    if let Some(secret) = &config.secret {
        return Ok(Some(secret.clone()));
    }
    let state = StateSecret::load(&config.state_dir).map_err(|error| error.to_string())?;
    Ok(state.map(|state| state.secret))
}
