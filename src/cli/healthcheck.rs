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
const REQUEST: &[u8] = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// Prints what the daemon says of itself; no when it is not ready.
pub fn run(admin: Listen) -> Result<Exit, CliError> {
    let (exit, body) = ask_at(&admin).map_err(|source| CliError::NoHealth {
        listen: admin,
        source,
    })?;
    println!("{body}");
    Ok(exit)
}

fn ask_at(admin: &Listen) -> io::Result<(Exit, String)> {
    let response = match admin {
        Listen::Tcp(address) => {
            let stream = TcpStream::connect_timeout(&reachable(*address), TIMEOUT)?;
            stream.set_read_timeout(Some(TIMEOUT))?;
            ask(stream)?
        }
        Listen::Unix(path) => {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(TIMEOUT))?;
            ask(stream)?
        }
    };
    let exit = match response.starts_with("HTTP/1.1 200 ") {
        true => Exit::Done,
        false => Exit::No,
    };
    let body = response.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok((exit, body.trim().to_owned()))
}

fn ask(mut stream: impl Read + Write) -> io::Result<String> {
    stream.write_all(REQUEST)?;
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
