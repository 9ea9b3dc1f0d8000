//! The reader of the XMPP stream: however the bytes are cut, it finds the same, and of what rxml reads as
//! well it says the same as rxml.

use bytes::BufMut;
use rxml::{Event as XmlEvent, Parse, Parser};
use unified_push::xmpp::reader::{CHUNK, Event, Reader};

const START: &str = "<stream:stream xmlns='jabber:component:accept' \
                     xmlns:stream='http://etherx.jabber.org/streams'>";
const END: &str = "</stream:stream>";

pub fn run(data: &[u8]) {
    let whole = read(data, CHUNK);
    for size in [1, 2, 7, 64] {
        assert!(read(data, size) == whole, "cut into {size} bytes each");
    }
    // Of several carriage returns in an attribute, rxml leaves one out.
    if let (events, true) = &whole
        && !data.contains(&b'\r')
    {
        compare(data, events);
    }
}

/// What is found, and whether there was neither an end nor an error.
fn read(data: &[u8], size: usize) -> (Vec<Event<'static>>, bool) {
    let mut reader = Reader::default();
    let mut events = Vec::new();
    for chunk in data.chunks(size) {
        reader.buffer().put_slice(chunk);
        loop {
            match reader.next_event() {
                Ok(None) => break,
                Ok(Some(Event::End)) | Err(_) => return (events, false),
                Ok(Some(event)) => events.push(event.into_owned()),
            }
        }
    }
    (events, true)
}

/// An element of the stream, as rxml reads it.
struct Element {
    name: String,
    attributes: Vec<(String, String)>,
    children: usize,
}

/// None when it is no XML.
fn elements(data: &[u8]) -> Option<Vec<Element>> {
    let document = [START.as_bytes(), data, END.as_bytes()].concat();
    let mut parser = Parser::new();
    let mut rest = &document[..];
    let mut found = Vec::new();
    let mut depth = 0;
    while let Some(event) = parser.parse(&mut rest, true).ok()? {
        match event {
            XmlEvent::StartElement(_, (_, name), attributes) => {
                depth += 1;
                match depth {
                    2 => {
                        let own = attributes.iter().filter(|((ns, _), _)| ns.is_none());
                        let attributes =
                            own.map(|((_, name), value)| (name.to_string(), value.to_string()));
                        let attributes = attributes.collect();
                        found.push(Element {
                            name: name.to_string(),
                            attributes,
                            children: 0,
                        });
                    }
                    3 => found.last_mut()?.children += 1,
                    _ => {}
                }
            }
            XmlEvent::EndElement(_) => depth -= 1,
            XmlEvent::XmlDeclaration(..) | XmlEvent::Text(..) => {}
        }
    }
    Some(found)
}

fn compare(data: &[u8], events: &[Event]) {
    let Some(elements) = elements(data) else {
        return;
    };
    assert_eq!(events.len(), elements.len(), "so many stanzas");
    for (event, element) in events.iter().zip(elements) {
        let Event::Stanza(stanza) = event else {
            continue;
        };
        let attribute = |name: &str| {
            let mut attributes = element.attributes.iter();
            attributes
                .find(|(known, _)| known == name)
                .map(|(_, value)| &**value)
        };
        // Of what is malformed, or over the limits, the rest is not known.
        let Ok(content) = &stanza.content else {
            continue;
        };
        assert_eq!(stanza.head.id, attribute("id").unwrap_or_default());
        assert_eq!(stanza.head.r#type, attribute("type").unwrap_or_default());
        assert_eq!(stanza.head.from.as_deref(), attribute("from"));
        assert_eq!(stanza.head.to.as_deref(), attribute("to"));
        // In the stream's own error, conditions stand there.
        if element.name != "error" {
            assert_eq!(content.children, element.children);
        }
    }
}
