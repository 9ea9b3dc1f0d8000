//! `unified-push healthcheck`: asks the running daemon's admin listener whether it is ready.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    time::Duration,
};

use super::error::{CliError, Exit};
use crate::model::listen::Listen;

const TIMEOUT: Duration = Duration::from_secs(5);
/// Where the daemon says how it is.
pub const READINESS: &str = "/readyz";
/// Prints what the daemon says of itself; no when it is not ready.
pub fn run(admin: Listen) -> Result<Exit, CliError> {
    let (status, body) = get(&admin, READINESS).map_err(|source| CliError::NoHealth {
        listen: admin,
        source,
    })?;
    println!("{body}");
    Ok(match status {
        200 => Exit::Done,
        _ => Exit::No,
    })
}

/// Asks one of the daemon's listeners for a path. Returns the status, which is 0 if none came, and the
/// body.
pub fn get(listen: &Listen, target: &str) -> io::Result<(u16, String)> {
    let response = match listen {
        Listen::Tcp(address) => {
            let stream = TcpStream::connect_timeout(&reachable(*address), TIMEOUT)?;
            stream.set_read_timeout(Some(TIMEOUT))?;
            ask(stream, target)?
        }
        Listen::Unix(path) => {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(TIMEOUT))?;
            ask(stream, target)?
        }
    };
    let status = response.strip_prefix("HTTP/1.1 ");
    let status = status.and_then(|rest| rest.get(..3)?.parse().ok());
    let body = response.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok((status.unwrap_or(0), body.trim().to_owned()))
}

fn ask(mut stream: impl Read + Write, target: &str) -> io::Result<String> {
    let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut response = String::new();
    stream.take(4096).read_to_string(&mut response)?;
    Ok(response)
}

/// A daemon that listens on every address is asked on loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}
