//! `unified-push inspect`: what an endpoint stands for, for who has the secret.

use std::{io, sync::Arc};

use crate::{
    clock::SystemClock,
    config::Config,
    random::SystemRandom,
    secret::Secret,
    store::Store,
    token::{Inspection, Keyring, OpenError, Policy, StateSecret, Tokens},
};

/// Prints what is known; true when a push to the endpoint would be taken.
pub async fn run(config: &Config, endpoint: &str) -> Result<bool, String> {
    let tokens = tokens(config).await?;
    let endpoint = if endpoint == "-" {
        read_line()?
    } else {
        endpoint.to_owned()
    };
    let token = endpoint.trim().rsplit('/').next().unwrap_or_default();
    match tokens.inspect(token).await {
        Ok(inspection) => Ok(print(&inspection)),
        Err(OpenError::Forged | OpenError::Dead) => Err("this is no endpoint of this \
            configuration: it was cut or changed, is another server's, or rests on a secret that \
            neither `secret` nor `previous_secrets` holds"
            .to_owned()),
        Err(OpenError::Store(error)) => Err(error.to_string()),
    }
}

/// As the daemon would open them.
pub(super) async fn tokens(config: &Config) -> Result<Tokens, String> {
    let store = Store::open_existing(&config.state_dir).map_err(|error| error.to_string())?;
    let secret = secret(config)?.ok_or_else(|| {
        let path = config.state_dir.display();
        format!("no secret is configured, and there is none in {path}")
    })?;
    let policy = Policy {
        backend: config.backend,
        ttl: config.registration_ttl,
        registrations_per_jid: config.limits.registrations_per_jid,
    };
    let keyring = Keyring::new(&secret, &config.previous_secrets);
    let (clock, random) = (Arc::new(SystemClock), Arc::new(SystemRandom::new()));
    Tokens::load(keyring, policy, store, clock, random)
        .await
        .map_err(|error| error.to_string())
}

/// The configured one, or the one that the daemon has made.
pub(super) fn secret(config: &Config) -> Result<Option<Secret>, String> {
    if let Some(secret) = &config.secret {
        return Ok(Some(secret.clone()));
    }
    let state = StateSecret::load(&config.state_dir).map_err(|error| error.to_string())?;
    Ok(state.map(|state| state.secret))
}

fn read_line() -> Result<String, String> {
    let mut line = String::new();
    io::stdin()
        .read_line(&mut line)
        .map_err(|error| format!("standard input cannot be read: {error}"))?;
    Ok(line)
}

fn print(inspection: &Inspection) -> bool {
    let Inspection {
        backend,
        key,
        registration,
        expired,
        revoked,
    } = inspection;
    println!("back end:    {backend}");
    println!("key id:      {key}");
    if let Some(registration) = registration {
        println!("owner:       {}", registration.owner);
        println!("application: {}", registration.application.to_base64());
        println!("instance:    {}", registration.instance.to_base64());
        println!("registered:  {}", registration.issued);
        println!("expires:     {}", registration.expires);
    }
    let state = match (revoked, expired) {
        (true, _) => "revoked: pushes get 404",
        (false, true) => "expired: pushes get 404",
        (false, false) => "valid",
    };
    println!("state:       {state}");
    !revoked && !expired
}
