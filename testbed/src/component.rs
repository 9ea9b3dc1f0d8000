//! A component of the test's own (XEP-0114): a stranger to the daemon, and the proof that the
//! server's component port works when the daemon does not.

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};

use crate::{
    Account, PATIENCE, Server,
    xml::{Element, Received, StreamReader},
};

pub struct Component {
    pub domain: String,
    reader: StreamReader,
    socket: TcpStream,
}

impl Component {
    /// The error is the stream error's condition.
    pub async fn connect(server: &Server, account: &Account) -> Result<Self, String> {
        Self::connect_to(server.layout.components, account).await
    }

    pub async fn connect_to(port: u16, account: &Account) -> Result<Self, String> {
        let address = ("127.0.0.1", port);
        let mut component = Self {
            domain: account.domain.clone(),
            reader: StreamReader::default(),
            socket: TcpStream::connect(address).await.unwrap(),
        };
        let header = format!(
            "<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept' to='{}' \
             xmlns:stream='http://etherx.jabber.org/streams'>",
            account.domain
        );
        component.send(&header).await;
        let Received::Header(header) = component.next().await else {
            panic!("no stream header");
        };
        // A host-unknown has no id and follows at once.
        let id = header.attr("id").unwrap_or_default();
        let proof = handshake(id, &account.secret);
        component
            .send(&format!("<handshake>{proof}</handshake>"))
            .await;
        match component.next().await {
            Received::Stanza(answer) if answer.name == "handshake" => Ok(component),
            Received::Stanza(answer) => Err(answer.children[0].name.clone()),
            other => panic!("after the handshake: {other:?}"),
        }
    }

    /// Its connection, for raw XML both ways.
    pub fn into_socket(self) -> TcpStream {
        self.socket
    }

    pub async fn send(&mut self, xml: &str) {
        // A stream that the server has ended shows in what is read.
        let _ = self.socket.write_all(xml.as_bytes()).await;
    }

    /// Leaves in order, so that its name is free again.
    pub async fn close(mut self) {
        self.send("</stream:stream>").await;
        while !matches!(self.next().await, Received::End) {}
    }

    pub async fn stanza(&mut self) -> Element {
        match self.next().await {
            Received::Stanza(stanza) => stanza,
            other => panic!("instead of a stanza: {other:?}"),
        }
    }

    async fn next(&mut self) -> Received {
        let next = self.reader.next(&mut self.socket);
        timeout(PATIENCE, next).await.expect("an answer in time")
    }
}

/// How a component proves that it knows the secret, in a stream of this id.
pub fn handshake(id: &str, secret: &str) -> String {
    let hash = digest(
        &SHA1_FOR_LEGACY_USE_ONLY,
        format!("{id}{secret}").as_bytes(),
    );
    hash.as_ref().iter().map(|b| format!("{b:02x}")).collect()
}
