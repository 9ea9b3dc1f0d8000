//! Shakes hands with the server (XEP-0114 §3). tokio-xmpp negotiates; then the socket is taken back,
//! because its stream ends on what any stranger may send.

use std::{borrow::Cow, io};

use bytes::BufMut;
use futures::{SinkExt, StreamExt};
use jid::BareJid;
use tokio::io::BufReader;
use tokio_xmpp::xmlstream::{ReadError, StreamHeader, Timeouts, XmlStream, initiate_stream};
use xmpp_parsers::{component::Handshake, ns, stream_error::StreamError};
use xso::FromXml;

use super::{
    loss::Loss,
    reader::{CHUNK, Reader},
    socket::{Peer, Read, Socket, Write},
};
use crate::model::secret::Secret;

pub struct Connection {
    pub peer: Peer,
    /// Holds what came behind the handshake.
    pub reader: Reader,
    pub read: Read,
    pub write: Write,
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
    socket: Socket,
    domain: &BareJid,
    secret: &Secret,
) -> Result<Connection, Loss> {
    let Socket { peer, read, write } = socket;
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
    use super::*;

    #[test]
    fn handshake_is_the_example_of_the_xep() {
        // SHA-1 of "3BF96D32" and "secret", by sha1sum.
        let digest = digest("3BF96D32", &Secret::new("secret"));
        let hex: String = digest.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, "b09ea9b3b7f586be8a08d0a3dd7466f110aeb136");
    }
}
