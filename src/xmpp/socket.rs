//! Gets bytes to the server and back: by TCP, with or without TLS, or by a Unix socket.

use std::{fmt, io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use rustls::{ClientConfig, ClientConnection, Error as TlsError, RootCertStore};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream, lookup_host},
    task::spawn_blocking,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::{
    loss::Loss,
    prompt::Prompt,
    settings::{Login, Timings},
};
use crate::{
    model::{host::Host, listen::is_private},
    tls::{self, Trust},
};

/// How long the kernel tries to get bytes acknowledged before it gives the connection up.
const USER_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes that the kernel keeps for a server that is slow to read, which it doubles for its own
/// book-keeping. What waits here goes out before anything more urgent that comes later.
const SEND_BUFFER: usize = 64 * 1024;

/// Both directions of a connection to the server.
pub struct Socket {
    pub peer: Peer,
    pub read: Read,
    pub write: Write,
}

pub type Read = Box<dyn AsyncRead + Send + Unpin>;

/// With TLS, what was written may wait for a flush.
pub type Write = Box<dyn AsyncWrite + Send + Unpin>;

/// The other end.
#[derive(Clone, Debug)]
pub enum Peer {
    Tcp(SocketAddr),
    Tls(SocketAddr),
    Unix(PathBuf),
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Tls(address) => write!(f, "{address} (TLS)"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Peer {
    /// Whether others than the administrators of the two ends can read along.
    pub fn is_exposed(&self) -> bool {
        matches!(self, Self::Tcp(address) if !is_private(address.ip()))
    }
}

/// Connects to wherever the server is.
pub async fn open(login: &Login, timings: &Timings) -> Result<Socket, Loss> {
    let host = match &login.host {
        Host::Network(host) => host,
        Host::Unix(path) => return unix(path.clone(), timings.connect).await,
    };
    let (stream, address) = tcp(host, login.port, timings.connect).await?;
    match &login.tls {
        None => {
            let (read, write) = tokio::io::split(Prompt(stream));
            Ok(Socket {
                peer: Peer::Tcp(address),
                read: Box::new(read),
                write: Box::new(write),
            })
        }
        Some(trust) => {
            let encrypted = encrypt(stream, address, trust.clone());
            let encrypted = timeout(timings.handshake, encrypted).await;
            encrypted.unwrap_or(Err(Loss::TlsTimeout { address }))
        }
    }
}

/// Connects to the first address of the host that takes the connection.
async fn tcp(host: &str, port: u16, limit: Duration) -> Result<(TcpStream, SocketAddr), Loss> {
    let unresolvable = |source| Loss::Unresolvable {
        host: host.to_owned(),
        source,
    };
    let addresses = match timeout(limit, lookup_host((host, port))).await {
        Ok(addresses) => addresses.map_err(unresolvable)?,
        Err(_) => return Err(unresolvable(io::ErrorKind::TimedOut.into())),
    };
    let mut loss = None;
    for address in addresses {
        let failed = match timeout(limit, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                tune(&stream).map_err(Loss::Cut)?;
                return Ok((stream, address));
            }
            Ok(Err(error)) => unreachable(address, &error),
            Err(_) => unreachable(address, &io::ErrorKind::TimedOut.into()),
        };
        // A refusal tells more than an address family that this machine does not have.
        if !matches!(loss, Some(Loss::Refused { .. })) {
            loss = Some(failed);
        }
    }
    Err(loss.unwrap_or_else(|| unresolvable(io::ErrorKind::NotFound.into())))
}

fn unreachable(address: SocketAddr, error: &io::Error) -> Loss {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Loss::Refused { address },
        _ => Loss::Unreachable {
            address,
            reason: error.to_string(),
        },
    }
}

fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_send_buffer_size(SEND_BUFFER)?;
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(30))
        .with_interval(Duration::from_secs(10));
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))
}

async fn unix(path: PathBuf, limit: Duration) -> Result<Socket, Loss> {
    // A socket whose queue is full makes a connection wait.
    let connected = timeout(limit, UnixStream::connect(&path)).await;
    match connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
        Ok(stream) => {
            let (read, write) = stream.into_split();
            Ok(Socket {
                peer: Peer::Unix(path),
                read: Box::new(read),
                write: Box::new(write),
            })
        }
        Err(source) => Err(Loss::Socket { path, source }),
    }
}

async fn encrypt(stream: TcpStream, address: SocketAddr, trust: Trust) -> Result<Socket, Loss> {
    let name = trust.name.clone();
    // The system's authorities take milliseconds to read.
    let client = spawn_blocking(move || trust.client()).await;
    let client = client.map_err(|error| Loss::Cut(error.into()))??;
    let connector = TlsConnector::from(Arc::new(client));
    match connector.connect(name, Prompt(stream)).await {
        Ok(stream) => {
            let (read, write) = tokio::io::split(stream);
            Ok(Socket {
                peer: Peer::Tls(address),
                read: Box::new(read),
                write: Box::new(write),
            })
        }
        Err(error) => Err(match tls::cause(&error) {
            Some(TlsError::InvalidMessage(_)) => Loss::NoTls { address },
            cause => Loss::Tls {
                address,
                cause: cause.cloned(),
                error,
            },
        }),
    }
}

/// Whether a port answers the beginning of a TLS handshake as a TLS server does: with a record of
/// type handshake or alert (RFC 8446 §5.1). To XML such servers answer with an alert, with nothing,
/// or with a reset.
pub async fn speaks_tls(address: SocketAddr, limit: Duration) -> bool {
    timeout(limit, greet(address))
        .await
        .unwrap_or(None)
        .is_some()
}

async fn greet(address: SocketAddr) -> Option<()> {
    const ALERT: u8 = 0x15;
    const HANDSHAKE: u8 = 0x16;
    let client: ClientConfig = tls::client(RootCertStore::empty());
    let mut tls = ClientConnection::new(Arc::new(client), address.ip().into()).ok()?;
    let mut hello = Vec::new();
    tls.write_tls(&mut hello).ok()?;
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(&hello).await.ok()?;
    let first = stream.read_u8().await.ok()?;
    matches!(first, ALERT | HANDSHAKE).then_some(())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn the_kernel_looks_whether_the_server_is_there() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let stream = tcp("127.0.0.1", port, Duration::from_secs(20)).await;
        let (stream, _) = stream.unwrap();
        let socket = SockRef::from(&stream);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(USER_TIMEOUT));
        assert!(socket.keepalive().unwrap());
        let time = socket.tcp_keepalive_time().unwrap();
        let interval = socket.tcp_keepalive_interval().unwrap();
        assert_eq!((time.as_secs(), interval.as_secs()), (30, 10));
        assert!(stream.nodelay().unwrap(), "a push is sent at once");
    }
}
