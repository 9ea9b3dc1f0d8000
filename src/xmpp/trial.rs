//! One connection to the server to see whether it can be had, for whoever looks for a fault.

use jid::BareJid;
use tokio::time::timeout;

use super::{
    loss::Loss,
    settings::{Login, Timings},
    stream,
};

/// Whether something listens where the server should be. Returns its address.
pub async fn reach(login: &Login) -> Result<String, Loss> {
    let limit = Timings::default().connect;
    let stream = stream::connect(&login.host, login.port, limit).await?;
    Ok(stream.peer_addr().map_err(Loss::Cut)?.to_string())
}

/// Logs in as the component and leaves at once. Meanwhile the name is not another daemon's, so this is
/// not for a name that one holds. Returns the server's address.
pub async fn log_in(domain: &BareJid, login: &Login) -> Result<String, Loss> {
    let timings = Timings::default();
    let stream = stream::connect(&login.host, login.port, timings.connect).await?;
    let authenticated = stream::authenticate(stream, domain, &login.secret);
    match timeout(timings.handshake, authenticated).await {
        Ok(connection) => Ok(connection?.peer.to_string()),
        Err(_) => Err(Loss::HandshakeTimeout),
    }
}
