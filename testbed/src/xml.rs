//! XML as the tests see it: a stream cut into stanzas, each a small tree.

use rxml::{Event, Parse, Parser, WithOptions, parser::Options};
use tokio::io::{AsyncRead, AsyncReadExt};

pub const STANZA_ERRORS: &str = "urn:ietf:params:xml:ns:xmpp-stanzas";

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    pub name: String,
    pub namespace: String,
    pub attributes: Vec<(String, String)>,
    pub children: Vec<Element>,
    pub text: String,
}

impl Element {
    /// A stanza as it is written in the stream of a component.
    pub async fn parse(stanza: &str) -> Self {
        let stream = format!(
            "<stream:stream xmlns='jabber:component:accept' \
             xmlns:stream='http://etherx.jabber.org/streams'>{stanza}"
        );
        let (mut reader, mut bytes) = (StreamReader::default(), stream.as_bytes());
        loop {
            match reader.next(&mut bytes).await {
                Received::Header(_) => {}
                Received::Stanza(stanza) => return stanza,
                Received::End => panic!("no stanza: {stanza}"),
            }
        }
    }

    pub fn attr(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    pub fn child(&self, name: &str, namespace: &str) -> Option<&Element> {
        let is_it = |child: &&Element| child.name == name && child.namespace == namespace;
        self.children.iter().find(is_it)
    }

    pub fn is(&self, name: &str, kind: &str) -> bool {
        self.name == name && self.attr("type") == Some(kind)
    }

    /// As it may be written in a stream of another namespace.
    pub fn written(&self) -> String {
        let (name, namespace) = (&self.name, &self.namespace);
        let attribute = |(key, value): &(String, String)| format!(" {key}='{}'", escape(value));
        let attributes: String = self.attributes.iter().map(attribute).collect();
        let children: String = self.children.iter().map(Self::written).collect();
        let text = escape(&self.text);
        format!("<{name} xmlns='{namespace}'{attributes}>{text}{children}</{name}>")
    }

    /// An IQ that answers this one. The server adds whom it is from.
    pub fn reply(&self, kind: &str, content: &str) -> String {
        let [id, to] = ["id", "from"].map(|name| escape(self.attr(name).unwrap_or_default()));
        format!("<iq type='{kind}' id='{id}' to='{to}'>{content}</iq>")
    }

    /// A stanza error that answers this IQ.
    pub fn refuse(&self, kind: &str, condition: &str) -> String {
        let error = format!("<error type='{kind}'><{condition} xmlns='{STANZA_ERRORS}'/></error>");
        self.reply("error", &error)
    }
}

/// For an attribute or a text.
pub fn escape(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;").replace('\'', "&apos;")
}

#[derive(Debug)]
pub enum Received {
    /// The header of the stream.
    Header(Element),
    Stanza(Element),
    /// `</stream:stream>`, or the end of the connection.
    End,
}

/// Reads one stream. A restarted stream needs a new reader.
pub struct StreamReader {
    parser: Parser,
    buffer: Vec<u8>,
    parsed: usize,
    open: Vec<Element>,
    begun: bool,
}

impl Default for StreamReader {
    fn default() -> Self {
        let options = Options {
            max_token_length: 1 << 20,
            ..Options::default()
        };
        Self {
            parser: Parser::with_options(options),
            buffer: Vec::new(),
            parsed: 0,
            open: Vec::new(),
            begun: false,
        }
    }
}

impl StreamReader {
    /// A connection that breaks ends the stream too: servers reset it when they close on a client
    /// that still writes. May be cancelled.
    pub async fn next(&mut self, socket: &mut (impl AsyncRead + Unpin)) -> Received {
        /// With which a client begins that wants to know whether TLS is spoken here (RFC 8446 §5.1).
        const TLS_HANDSHAKE: u8 = 0x16;
        loop {
            if !self.begun && self.buffer.first() == Some(&TLS_HANDSHAKE) {
                return Received::End;
            }
            let mut rest = &self.buffer[self.parsed..];
            let before = rest.len();
            let result = self.parser.parse(&mut rest, false);
            self.parsed += before - rest.len();
            match result {
                Ok(Some(event)) => {
                    if let Some(received) = self.take(event) {
                        return received;
                    }
                }
                Ok(None) => return Received::End,
                Err(rxml::error::EndOrError::NeedMoreData) => {
                    self.buffer.drain(..self.parsed);
                    self.parsed = 0;
                    match socket.read_buf(&mut self.buffer).await {
                        Ok(0) | Err(_) => return Received::End,
                        Ok(_) => {}
                    }
                }
                Err(rxml::error::EndOrError::Error(error)) => {
                    panic!("malformed XML was sent: {error}")
                }
            }
        }
    }

    fn take(&mut self, event: Event) -> Option<Received> {
        match event {
            Event::XmlDeclaration(..) => None,
            Event::StartElement(_, (namespace, name), attributes) => {
                let attributes = attributes
                    .into_iter()
                    .map(|((_, key), value)| (key.to_string(), value));
                let element = Element {
                    name: name.to_string(),
                    namespace: namespace.to_string(),
                    attributes: attributes.collect(),
                    ..Element::default()
                };
                if !self.begun {
                    self.begun = true;
                    return Some(Received::Header(element));
                }
                self.open.push(element);
                None
            }
            Event::Text(_, text) => {
                if let Some(element) = self.open.last_mut() {
                    element.text.push_str(&text);
                }
                None
            }
            Event::EndElement(_) => {
                let Some(element) = self.open.pop() else {
                    return Some(Received::End);
                };
                match self.open.last_mut() {
                    Some(parent) => {
                        parent.children.push(element);
                        None
                    }
                    None => Some(Received::Stanza(element)),
                }
            }
        }
    }
}
