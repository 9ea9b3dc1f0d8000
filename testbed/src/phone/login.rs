//! How a client gets in: stream, SASL PLAIN, and either a bound resource or a resumed session
//! (XEP-0198). No TLS: everything is on loopback.

use base64::{Engine, engine::general_purpose::STANDARD};
use tokio::{
    io::AsyncWriteExt,
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::timeout,
};

use crate::{
    PATIENCE,
    server::{DOMAIN, Server},
    xml::{Element, Received, StreamReader},
};

pub const SM: &str = "urn:xmpp:sm:3";

/// An authenticated stream.
pub struct Stream {
    pub reader: StreamReader,
    pub read: OwnedReadHalf,
    pub write: OwnedWriteHalf,
}

impl Stream {
    pub async fn log_in(server: &Server, user: &str) -> Self {
        let address = ("127.0.0.1", server.layout.clients);
        let socket = timeout(PATIENCE, TcpStream::connect(address)).await;
        let socket = socket.unwrap().unwrap();
        // Or its second answer waits until the server has to acknowledge the first.
        socket.set_nodelay(true).unwrap();
        let (read, write) = socket.into_split();
        let mut stream = Self {
            reader: StreamReader::default(),
            read,
            write,
        };
        stream.open().await;
        let plain = STANDARD.encode(format!("\0{user}\0any password"));
        let auth = format!(
            "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{plain}</auth>"
        );
        let answer = stream.ask(&auth).await;
        assert_eq!(answer.name, "success", "{answer:?}");
        stream.open().await;
        stream
    }

    /// Gives the full JID.
    pub async fn bind(&mut self, resource: &str) -> String {
        const BIND: &str = "urn:ietf:params:xml:ns:xmpp-bind";
        let request = format!(
            "<iq type='set' id='bind'><bind xmlns='{BIND}'><resource>{resource}</resource></bind></iq>"
        );
        let answer = self.ask(&request).await;
        let bound = answer.child("bind", BIND).map(|bind| &bind.children);
        bound.expect("a bound resource")[0].text.clone()
    }

    /// Turns stream management on; gives the id to resume with.
    pub async fn enable_resumption(&mut self) -> String {
        let request = format!("<enable xmlns='{SM}' resume='true'/>");
        let mut answer = self.ask(&request).await;
        // What was on its way to this resource's former session may come first.
        while answer.namespace != SM {
            answer = self.ask("").await;
        }
        assert_eq!(answer.name, "enabled", "{answer:?}");
        answer.attr("id").expect("a resumable session").to_owned()
    }

    /// Takes a hibernating session over, `handled` stanzas of which were received. Whether there
    /// still was one.
    pub async fn resume(&mut self, id: &str, handled: u32) -> bool {
        let request = format!("<resume xmlns='{SM}' previd='{id}' h='{handled}'/>");
        self.ask(&request).await.name == "resumed"
    }

    async fn open(&mut self) {
        self.reader = StreamReader::default();
        let header = format!(
            "<?xml version='1.0'?><stream:stream xmlns='jabber:client' to='{DOMAIN}' \
             version='1.0' xmlns:stream='http://etherx.jabber.org/streams'>"
        );
        let header = self.step(&header).await;
        assert!(matches!(header, Received::Header(_)), "{header:?}");
        let features = self.ask("").await;
        assert_eq!(features.name, "features", "{features:?}");
    }

    async fn ask(&mut self, xml: &str) -> Element {
        match self.step(xml).await {
            Received::Stanza(element) => element,
            other => panic!("after {xml}: {other:?}"),
        }
    }

    async fn step(&mut self, xml: &str) -> Received {
        let exchange = async {
            self.write.write_all(xml.as_bytes()).await.unwrap();
            self.reader.next(&mut self.read).await
        };
        let answer = timeout(PATIENCE, exchange).await;
        answer.expect("the server answers in time")
    }
}
