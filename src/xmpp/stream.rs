//! Gets a connection: resolve, connect, shake hands (XEP-0114 §3). tokio-xmpp negotiates; then the
//! socket is taken back, because its stream ends on what any stranger may send.

use std::{borrow::Cow, io, net::SocketAddr, time::Duration};

use bytes::BufMut;
use futures::{SinkExt, StreamExt};
use jid::BareJid;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::BufReader,
    net::{
        TcpStream, lookup_host,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::timeout,
};
use tokio_xmpp::xmlstream::{ReadError, StreamHeader, Timeouts, XmlStream, initiate_stream};
use xmpp_parsers::{component::Handshake, ns, stream_error::StreamError};
use xso::FromXml;

use super::{
    loss::Loss,
    reader::{CHUNK, Reader},
};
use crate::model::secret::Secret;

/// How long the kernel tries to get bytes acknowledged before it gives the connection up.
const USER_TIMEOUT: Duration = Duration::from_secs(30);

pub struct Connection {
    pub peer: SocketAddr,
    /// Holds what came behind the handshake.
    pub reader: Reader,
    pub read: OwnedReadHalf,
    pub write: OwnedWriteHalf,
}

/// Connects to the first address of the host that takes the connection.
pub async fn connect(host: &str, port: u16, limit: Duration) -> Result<TcpStream, Loss> {
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
                return Ok(stream);
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
    let address = address.to_string();
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
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(30))
        .with_interval(Duration::from_secs(10));
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))
}

/// What a server answers to the handshake.
#[derive(FromXml, Debug)]
#[xml()]
enum Login {
    #[xml(transparent)]
    #[expect(dead_code, reason = "that it comes says all")]
    Accepted(Handshake),
    #[xml(transparent)]
    Refused(StreamError),
}

/// Proves to the server that this is the component.
pub async fn authenticate(
    stream: TcpStream,
    domain: &BareJid,
    secret: &Secret,
) -> Result<Connection, Loss> {
    let peer = stream.peer_addr().map_err(Loss::Cut)?;
    let (read, write) = stream.into_split();
    // Not BufStream: that one does not give back what it has read.
    let io = tokio::io::join(BufReader::with_capacity(CHUNK, read), write);
    let header = StreamHeader {
        to: Some(Cow::Borrowed(domain.as_str())),
        ..Default::default()
    };
    let mut negotiation = initiate_stream(io, ns::COMPONENT, header, Timeouts::default())
        .await
        .map_err(broken)?;
    let id = negotiation.take_header().id;
    let mut stream: XmlStream<_, Login> = negotiation.skip_features();
    // A server that does not know the name sends its error behind a header without an id.
    if let Some(id) = id {
        // Whatever makes this fail, the server may have said why.
        let handshake = Handshake {
            data: Some(digest(&id, secret)),
        };
        let _ = stream.send(&handshake).await;
    }
    match stream.next().await {
        Some(Ok(Login::Accepted(_))) => (),
        Some(Ok(Login::Refused(error))) => {
            return Err(Loss::StreamError {
                condition: error.condition.to_string(),
                text: error.texts.into_values().next(),
            });
        }
        Some(Err(ReadError::HardError(error))) => return Err(broken(error)),
        Some(Err(ReadError::ParseError(error))) => return Err(Loss::NotXmpp(error.to_string())),
        Some(Err(ReadError::StreamFooterReceived)) | None => return Err(Loss::Closed),
        Some(Err(ReadError::SoftTimeout)) => return Err(Loss::HandshakeTimeout),
    }
    let (buffered, write) = stream.into_inner().into_inner();
    let mut reader = Reader::default();
    reader.buffer().put_slice(buffered.buffer());
    Ok(Connection {
        peer,
        reader,
        read: buffered.into_inner(),
        write,
    })
}

/// What a component proves itself with: SHA-1 of the stream's id and the secret (XEP-0114 §3). It
/// is written in lower case, as the XEP says and as ejabberd insists.
pub(crate) fn digest(stream_id: &str, secret: &Secret) -> [u8; 20] {
    let mut sha1 = ring::digest::Context::new(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY);
    sha1.update(stream_id.as_bytes());
    sha1.update(secret.as_bytes());
    let digest = sha1.finish().as_ref().try_into();
    digest.expect("SHA-1 has 20 bytes")
}

fn broken(error: io::Error) -> Loss {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Loss::Closed,
        io::ErrorKind::InvalidData => Loss::NotXmpp(error.to_string()),
        _ => Loss::Cut(error),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn handshake_is_the_example_of_the_xep() {
        // SHA-1 of "3BF96D32" and "secret", by sha1sum.
        let digest = digest("3BF96D32", &Secret::new("secret"));
        let hex: String = digest.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, "b09ea9b3b7f586be8a08d0a3dd7466f110aeb136");
    }

    #[tokio::test]
    async fn the_kernel_looks_whether_the_server_is_there() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let stream = connect("127.0.0.1", port, Duration::from_secs(20)).await;
        let stream = stream.unwrap();
        let socket = SockRef::from(&stream);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(USER_TIMEOUT));
        assert!(socket.keepalive().unwrap());
        let time = socket.tcp_keepalive_time().unwrap();
        let interval = socket.tcp_keepalive_interval().unwrap();
        assert_eq!((time.as_secs(), interval.as_secs()), (30, 10));
        assert!(stream.nodelay().unwrap(), "a push is sent at once");
    }
}
