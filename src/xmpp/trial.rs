//! One connection to the server to see whether it can be had, for whoever looks for a fault.

use jid::BareJid;
use tokio::time::timeout;

use super::{
    loss::Loss,
    settings::{Login, Timings},
    socket, stream,
};

/// Whether something listens where the server should be. Returns its address.
pub async fn reach(login: &Login) -> Result<String, Loss> {
    let socket = socket::open(login, &Timings::default()).await?;
    Ok(socket.peer.to_string())
}

/// Logs in as the component and leaves at once. Meanwhile the name is not another daemon's, so this is
/// not for a name that one holds. Returns the server's address.
pub async fn log_in(domain: &BareJid, login: &Login) -> Result<String, Loss> {
    let timings = Timings::default();
    let socket = socket::open(login, &timings).await?;
    let authenticated = stream::authenticate(socket, domain, &login.secret);
    match timeout(timings.handshake, authenticated).await {
        Ok(connection) => Ok(connection?.peer.to_string()),
        Err(_) => Err(Loss::HandshakeTimeout),
    }
}
