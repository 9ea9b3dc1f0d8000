//! `unified-push healthcheck`: asks the running daemon's admin listener whether it is ready.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    time::Duration,
};

use crate::model::listen::Listen;

const TIMEOUT: Duration = Duration::from_secs(5);
const REQUEST: &[u8] = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// Whether the daemon is ready, and what it says of itself.
pub fn run(admin: &Listen) -> io::Result<(bool, String)> {
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
    let ready = response.starts_with("HTTP/1.1 200 ");
    let body = response.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok((ready, body.trim().to_owned()))
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
