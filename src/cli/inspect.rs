//! `unified-push inspect`: what an endpoint stands for, for who has the secret.

use std::io;

use super::state::tokens;
use crate::{
    config::Config,
    token::{InspectError, Inspection},
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
        Err(InspectError::Forged) => Err("this is not an endpoint of this server: it was cut or changed, is another server's, or rests on a secret that \
            neither `secret` nor `previous_secrets` holds"
            .to_owned()),
        Err(InspectError::Store(error)) => Err(error.to_string()),
    }
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
