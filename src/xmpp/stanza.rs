//! What a stanza says, as far as this component cares. It is put together from parser events
//! without a tree: nothing here recurses, and what is not needed is not kept.
//!
//! RFC 6120 §8; the requests are XEP-0030, XEP-0092, XEP-0199, `register` and `unregister`.

use std::borrow::Cow;

use xmpp_parsers::ns;

use crate::{link::Wish, model::registration};

/// A start tag.
pub struct Tag<'a> {
    pub namespace: &'a str,
    pub name: &'a str,
    /// As they are written, with what they mean.
    pub attributes: Vec<(&'a str, Cow<'a, str>)>,
}

/// A stanza. `from` and the rest of its attributes are as they came; what is written plainly is not
/// copied.
#[derive(Debug, PartialEq, Eq)]
pub struct Stanza<'a> {
    pub head: Head<'a>,
    pub content: Result<Content, Fault>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Head<'a> {
    pub kind: Kind,
    /// Missing is the empty string.
    pub r#type: Cow<'a, str>,
    /// Missing is the empty string: some servers make the one of the other anyway.
    pub id: Cow<'a, str>,
    pub from: Option<Cow<'a, str>>,
    pub to: Option<Cow<'a, str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Iq,
    Presence,
    Message,
    /// `<error/>` of the stream itself.
    StreamError,
    /// Nothing that a server sends to a component.
    Unknown,
}

/// What is inside.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// How many child elements there are.
    pub children: usize,
    /// What the first child asks for.
    pub request: Option<Request>,
    /// The defined condition of an error, of the stanza or of the stream.
    pub condition: Option<String>,
    /// The text of a stream error.
    pub text: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Request {
    DiscoInfo {
        node: Option<String>,
    },
    DiscoItems {
        node: Option<String>,
    },
    Ping,
    Version,
    /// Register or unregister.
    Register {
        application: Option<String>,
        instance: Option<String>,
        wish: Wish,
    },
}

/// Why the content is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    TooLarge,
    TooDeep,
    /// XML that a server should not have let through.
    Malformed,
}

impl Tag<'_> {
    fn attribute(&self, name: &str) -> Option<String> {
        let mut attributes = self.attributes.iter();
        let (_, value) = attributes.find(|(written, _)| *written == name)?;
        Some(value.clone().into_owned())
    }
}

impl Head<'static> {
    pub fn new(tag: &Tag) -> Self {
        Self {
            kind: Kind::of(tag),
            r#type: tag.attribute("type").unwrap_or_default().into(),
            id: tag.attribute("id").unwrap_or_default().into(),
            from: tag.attribute("from").map(Cow::Owned),
            to: tag.attribute("to").map(Cow::Owned),
        }
    }
}

impl Head<'_> {
    pub fn into_owned(self) -> Head<'static> {
        let owned = |text: Cow<str>| Cow::Owned(text.into_owned());
        Head {
            kind: self.kind,
            r#type: owned(self.r#type),
            id: owned(self.id),
            from: self.from.map(owned),
            to: self.to.map(owned),
        }
    }
}

impl Kind {
    fn of(tag: &Tag) -> Self {
        // Some servers leave the namespace in which the sender wrote the stanza.
        let is_stanza = [ns::COMPONENT, ns::JABBER_CLIENT].contains(&tag.namespace);
        match tag.name {
            "iq" if is_stanza => Self::Iq,
            "presence" if is_stanza => Self::Presence,
            "message" if is_stanza => Self::Message,
            "error" if tag.namespace == ns::STREAM => Self::StreamError,
            _ => Self::Unknown,
        }
    }
}

/// Takes a stanza's elements in as they come and keeps what is needed.
pub struct Builder<'a> {
    head: Head<'a>,
    content: Content,
    /// How many elements are open, the stanza's own included.
    depth: usize,
    /// The depth at which an element is an error's defined condition; 0 outside of an error.
    conditions_at: usize,
    in_text: bool,
}

impl<'a> Builder<'a> {
    pub fn new(head: Head<'a>) -> Self {
        let is_stream_error = head.kind == Kind::StreamError;
        Self {
            head,
            content: Content::default(),
            depth: 1,
            conditions_at: if is_stream_error { 2 } else { 0 },
            in_text: false,
        }
    }

    /// A start tag.
    pub fn open(&mut self, tag: &Tag) {
        self.depth += 1;
        if self.depth == self.conditions_at {
            self.condition(tag.namespace, tag.name);
        } else if self.depth == 2 {
            self.content.children += 1;
            if tag.name == "error" {
                self.conditions_at = 3;
            } else if self.content.children == 1 {
                self.content.request = Request::of(tag);
            }
        }
    }

    fn condition(&mut self, namespace: &str, name: &str) {
        if ![ns::XMPP_STANZAS, ns::XMPP_STREAMS].contains(&namespace) {
            return;
        }
        if name == "text" {
            self.in_text = self.head.kind == Kind::StreamError;
        } else if self.content.condition.is_none() {
            self.content.condition = Some(name.to_owned());
        }
    }

    pub fn text(&mut self, text: &str) {
        if self.in_text {
            let so_far = self.content.text.get_or_insert_default();
            so_far.push_str(text);
        }
    }

    /// An end tag. True when it is the stanza's own.
    pub fn close(&mut self) -> bool {
        self.in_text = false;
        if self.conditions_at == self.depth + 1 {
            self.conditions_at = 0;
        }
        self.depth -= 1;
        self.depth == 0
    }

    pub fn finish(self) -> Stanza<'a> {
        Stanza {
            head: self.head,
            content: Ok(self.content),
        }
    }

    /// The stanza turns out to be none.
    pub fn fail(self, fault: Fault) -> Stanza<'a> {
        Stanza {
            head: self.head,
            content: Err(fault),
        }
    }
}

impl Request {
    fn of(tag: &Tag) -> Option<Self> {
        let node = || tag.attribute("node");
        match (tag.namespace, tag.name) {
            (ns::DISCO_INFO, "query") => Some(Self::DiscoInfo { node: node() }),
            (ns::DISCO_ITEMS, "query") => Some(Self::DiscoItems { node: node() }),
            (ns::PING, "ping") => Some(Self::Ping),
            (ns::VERSION, "query") => Some(Self::Version),
            (registration::NS, name @ ("register" | "unregister")) => Some(Self::Register {
                application: tag.attribute("application"),
                instance: tag.attribute("instance"),
                wish: match name {
                    "unregister" => Wish::Unregister,
                    _ => Wish::Register {
                        vapid: tag.attribute("vapid"),
                    },
                },
            }),
            _ => None,
        }
    }
}
