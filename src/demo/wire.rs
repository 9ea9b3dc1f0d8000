//! The server's side of XEP-0114: a listener, the handshake, then raw XML both ways.

use std::io;

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    model::secret::Secret,
    xmpp::{
        frame::{Framer, Mark},
        stream::digest,
    },
};

/// The id of every stream: the handshake protects nothing on loopback.
const STREAM_ID: &str = "3BF96D32";

/// A port for components on loopback.
pub struct Host {
    listener: TcpListener,
    port: u16,
}

impl Host {
    pub async fn bind() -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        Ok(Self { listener, port })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The next component, before it has said anything.
    pub async fn accept(&self) -> io::Result<Wire> {
        let (socket, _) = self.listener.accept().await?;
        socket.set_nodelay(true)?;
        Ok(Wire::new(socket))
    }
}

/// A component's connection, seen from the server.
pub struct Wire {
    socket: TcpStream,
    buffer: BytesMut,
    scanned: usize,
    framer: Framer,
}

impl Wire {
    fn new(socket: TcpStream) -> Self {
        Self {
            socket,
            buffer: BytesMut::new(),
            scanned: 0,
            // The component on the other side is our own.
            framer: Framer::new(u32::MAX),
        }
    }

    /// Exchanges stream headers. Returns the component's.
    pub async fn open(&mut self) -> io::Result<String> {
        while !self.buffer.starts_with(b"<stream:stream") || !self.buffer.contains(&b'>') {
            if let Some(start) = find(&self.buffer, b"<stream:stream") {
                self.buffer.advance(start);
            }
            self.read().await?;
        }
        let end = self.buffer.iter().position(|byte| *byte == b'>');
        let header = self.buffer.split_to(end.map_or(0, |end| end + 1));
        self.send(&format!(
            "<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept' \
             xmlns:stream='http://etherx.jabber.org/streams' id='{STREAM_ID}' from='demo'>"
        ))
        .await?;
        Ok(String::from_utf8_lossy(&header).into_owned())
    }

    /// Lets the component in if it knows the secret; otherwise says `not-authorized`.
    pub async fn admit(&mut self, secret: &Secret) -> io::Result<bool> {
        self.open().await?;
        let digest = digest(STREAM_ID, secret);
        let hex: String = digest.iter().map(|b| format!("{b:02x}")).collect();
        let handshake = self.receive().await?;
        let right = handshake.is_some_and(|xml| xml.contains(&format!(">{hex}</")));
        if right {
            self.send("<handshake/>").await?;
        } else {
            self.refuse("not-authorized").await?;
        }
        Ok(right)
    }

    /// Ends the stream with an error.
    pub async fn refuse(&mut self, condition: &str) -> io::Result<()> {
        self.send(&format!(
            "<stream:error><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>\
             <text xmlns='urn:ietf:params:xml:ns:xmpp-streams'>No.</text>\
             </stream:error></stream:stream>"
        ))
        .await
    }

    pub async fn send(&mut self, xml: &str) -> io::Result<()> {
        self.socket.write_all(xml.as_bytes()).await
    }

    /// The next stanza as it was written; None when the component closed its stream. May be
    /// cancelled.
    pub async fn receive(&mut self) -> io::Result<Option<String>> {
        loop {
            let (taken, mark) = (self.framer.scan(&self.buffer[self.scanned..]))
                .map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
            self.scanned += taken;
            if mark == Some(Mark::StreamEnd) {
                return Ok(None);
            }
            if mark == Some(Mark::StanzaEnd) {
                let stanza = self.buffer.split_to(std::mem::take(&mut self.scanned));
                let stanza = String::from_utf8_lossy(&stanza);
                return Ok(Some(stanza.trim_start().to_owned()));
            }
            self.read().await?;
        }
    }

    async fn read(&mut self) -> io::Result<()> {
        match self.socket.read_buf(&mut self.buffer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    (haystack.windows(needle.len())).position(|window| window == needle)
}
