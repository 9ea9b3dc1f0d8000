//! `unified-push inspect`: to whom an endpoint belongs, for those who have the secret.

use std::{io, time::Duration};

use super::{
    AT_WORK,
    error::{CliError, Exit},
    still,
};
use crate::{
    app::state::State,
    config::Config,
    model::time::{Clock, SystemClock},
    token::{Endpoint, InspectError, Inspection},
};

/// Prints what is known; no when a push to the endpoint would not be accepted.
pub async fn run(config: &Config, endpoint: &str) -> Result<Exit, CliError> {
    let endpoint = if endpoint == "-" {
        read_line()?
    } else {
        endpoint.to_owned()
    };
    let _patience = still(AT_WORK);
    let State { tokens, clock, .. } = State::find(config, SystemClock).await?;
    let token = endpoint.trim().rsplit('/').next().unwrap_or_default();
    match tokens.inspect(token).await {
        Ok(inspection) => Ok(print(&inspection, config.registration_grace, &*clock)),
        Err(error @ InspectError::Forged) => Err(CliError::Foreign(error)),
        Err(InspectError::Store(error)) => Err(error.into()),
    }
}

fn read_line() -> Result<String, CliError> {
    let mut line = String::new();
    io::stdin().read_line(&mut line).map_err(CliError::Input)?;
    Ok(line)
}

fn print(inspection: &Inspection, grace: Duration, clock: &dyn Clock) -> Exit {
    let Inspection {
        format,
        key,
        endpoint,
        expired,
        revoked,
    } = inspection;
    println!("back end:    {format}");
    println!("key id:      {key}");
    if let Some(Endpoint {
        registration,
        signer,
    }) = endpoint
    {
        println!("owner:       {}", registration.owner);
        println!("application: {}", registration.application.to_base64());
        println!("instance:    {}", registration.instance.to_base64());
        println!("registered:  {}", clock.to_wall(registration.issued));
        let told = registration.expires.saturating_sub(grace);
        println!("expires:     {}", clock.to_wall(told));
        let accepted = clock.to_wall(registration.expires);
        println!("accepted:    until {accepted}");
        let who = match signer {
            Some(_) => "only messages signed by the key it was registered with",
            None => "messages of any sender",
        };
        println!("takes:       {who}");
    }
    let state = match (revoked, expired) {
        (true, _) => "revoked: pushes get 404",
        (false, true) => "expired: pushes get 404",
        (false, false) => "valid",
    };
    println!("state:       {state}");
    match *revoked || *expired {
        true => Exit::No,
        false => Exit::Done,
    }
}
