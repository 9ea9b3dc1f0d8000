//! Bound sockets: TCP or Unix, bound here or handed over by systemd.

use std::{
    fs,
    io::{self, ErrorKind},
    net::{self, IpAddr, SocketAddr},
    os::unix::{
        self,
        fs::{FileTypeExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};

use crate::model::listen::Listen;

/// The socket is open to every account of the machine, like a port on loopback: a proxy runs as
/// another user. The mode of its directory can narrow that.
const SOCKET_MODE: u32 = 0o666;

/// How many connections may wait to be accepted, unless the kernel permits fewer. Beyond it some that
/// come at once are reset.
const BACKLOG: u32 = 4096;

/// Bytes that the kernel keeps of a connection in each direction, which it doubles for its own book-keeping.
/// By itself it would let a client that reads nothing take megabytes.
const BUFFER: usize = 32 * 1024;

#[derive(Debug)]
pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A connection just accepted.
pub enum Accepted {
    Tcp(TcpStream, IpAddr),
    Unix(UnixStream),
}

#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error(
        "cannot listen on {address}: {source}; stop the program that listens there, or choose another address"
    )]
    Tcp {
        address: SocketAddr,
        source: io::Error,
    },
    #[error("cannot listen on unix:{}: {source}; let the user who runs unified-push write to the directory", .path.display())]
    Unix { path: PathBuf, source: io::Error },
    #[error("cannot listen on unix:{}: a file that is not a socket has this name; move it away, or choose another path", .0.display())]
    NotASocket(PathBuf),
    #[error("cannot listen on unix:{}: another process listens there; stop it, or choose another path", .0.display())]
    InUse(PathBuf),
}

impl Listener {
    /// Binds. A Unix socket that nobody listens on any more is replaced.
    pub async fn bind(listen: &Listen) -> Result<Self, BindError> {
        match listen {
            Listen::Tcp(address) => {
                bind_tcp(*address)
                    .map(Self::Tcp)
                    .map_err(|source| BindError::Tcp {
                        address: *address,
                        source,
                    })
            }
            Listen::Unix(path) => {
                remove_stale(path)?;
                bind_unix(path)
                    .map(Self::Unix)
                    .map_err(|source| BindError::Unix {
                        path: path.clone(),
                        source,
                    })
            }
        }
    }

    /// Where it listens, for the log and for tests that bind port 0.
    pub fn address(&self) -> io::Result<Listen> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(Listen::Tcp),
            Self::Unix(listener) => {
                let address = listener.local_addr()?;
                let path = address.as_pathname().unwrap_or(Path::new("unnamed"));
                Ok(Listen::Unix(path.to_owned()))
            }
        }
    }

    pub async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok(Accepted::Tcp(stream, peer.ip()))
            }
            Self::Unix(listener) => {
                let stream = listener.accept().await?.0;
                // Unix sockets inherit nothing.
                bound_buffers(SockRef::from(&stream))?;
                Ok(Accepted::Unix(stream))
            }
        }
    }
}

impl TryFrom<net::TcpListener> for Listener {
    type Error = io::Error;

    fn try_from(listener: net::TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        bound_buffers(SockRef::from(&listener))?;
        TcpListener::from_std(listener).map(Self::Tcp)
    }
}

impl TryFrom<unix::net::UnixListener> for Listener {
    type Error = io::Error;

    fn try_from(listener: unix::net::UnixListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        UnixListener::from_std(listener).map(Self::Unix)
    }
}

/// What a listener of TCP accepts inherits them.
fn bound_buffers(socket: SockRef) -> io::Result<()> {
    socket.set_send_buffer_size(BUFFER)?;
    socket.set_recv_buffer_size(BUFFER)
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // What a daemon before this one has left in TIME_WAIT does not count.
    socket.set_reuseaddr(true)?;
    bound_buffers(SockRef::from(&socket))?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(SOCKET_MODE))?;
    Ok(listener)
}

/// A daemon that was killed leaves its socket behind, and no other can bind there.
fn remove_stale(path: &Path) -> Result<(), BindError> {
    let failed = |source| BindError::Unix {
        path: path.to_owned(),
        source,
    };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(BindError::NotASocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    match unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(failed)
        }
        Err(error) => Err(failed(error)),
        Ok(_) => Err(BindError::InUse(path.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let listen = Listen::Unix(directory.path().join("http.sock"));
        drop(Listener::bind(&listen).await.unwrap());
        let live = Listener::bind(&listen).await.unwrap();
        assert_eq!(live.address().unwrap(), listen);
        let second = Listener::bind(&listen).await;
        assert!(matches!(second, Err(BindError::InUse(_))), "{second:?}");
    }

    #[tokio::test]
    async fn another_file_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("precious");
        fs::write(&path, "data").unwrap();
        let refused = Listener::bind(&Listen::Unix(path.clone())).await;
        assert!(
            matches!(refused, Err(BindError::NotASocket(_))),
            "{refused:?}"
        );
        assert_eq!(fs::read(&path).unwrap(), b"data");
    }

    #[tokio::test]
    async fn a_proxy_of_another_user_may_connect() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("http.sock");
        let _listener = Listener::bind(&Listen::Unix(path.clone())).await.unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, SOCKET_MODE);
    }

    /// By itself the kernel lets one that reads nothing have megabytes.
    #[tokio::test]
    async fn what_the_kernel_keeps_of_a_connection_is_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("http.sock");
        let tcp = Listen::Tcp(([127, 0, 0, 1], 0).into());
        let tcp = Listener::bind(&tcp).await.unwrap();
        let unix = Listener::bind(&Listen::Unix(path.clone())).await.unwrap();
        let inherited = net::TcpListener::bind("127.0.0.1:0").unwrap();
        let inherited = Listener::try_from(inherited).unwrap();
        let _client = UnixStream::connect(&path).await.unwrap();
        let mut clients = Vec::new();
        for listener in [tcp, inherited, unix] {
            if let Listen::Tcp(address) = listener.address().unwrap() {
                clients.push(TcpStream::connect(address).await.unwrap());
            }
            let accepted = listener.accept().await.unwrap();
            let kept = match &accepted {
                Accepted::Tcp(stream, _) => SockRef::from(stream).send_buffer_size(),
                Accepted::Unix(stream) => SockRef::from(stream).send_buffer_size(),
            };
            // The kernel doubles what it is told.
            assert!(kept.unwrap() <= 2 * BUFFER);
        }
    }

    #[tokio::test]
    async fn a_taken_port_is_named() {
        let first = Listener::bind(&Listen::Tcp(([127, 0, 0, 1], 0).into()))
            .await
            .unwrap();
        let Listen::Tcp(address) = first.address().unwrap() else {
            panic!("not TCP")
        };
        let error = Listener::bind(&Listen::Tcp(address)).await.unwrap_err();
        assert!(error.to_string().contains(&address.to_string()), "{error}");
    }
}
