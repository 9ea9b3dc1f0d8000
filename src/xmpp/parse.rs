//! Parses one stanza that the framer has cut out: its bytes in, what matters of it out.

use std::borrow::Cow;

use memchr::memchr;
use quick_xml::{
    XmlVersion,
    escape::resolve_predefined_entity,
    events::{BytesStart, Event},
    name::{Namespace, ResolveResult},
    reader::NsReader,
};
use xmpp_parsers::ns;

use super::stanza::{Builder, Fault, Head, Kind, Stanza, Tag};

/// No XML, or with a prefix that means nothing.
struct Malformed;

/// Err: not even the attributes can be read.
pub fn stanza(bytes: &[u8]) -> Result<Stanza<'_>, Fault> {
    empty_iq(bytes).map_or_else(|| in_full(bytes), Ok)
}

/// Nearly every stanza is a phone's answer, an iq without content. Written plainly, it is read in a
/// tenth of the time. None when it is anything else.
fn empty_iq(bytes: &[u8]) -> Option<Stanza<'_>> {
    let text = str::from_utf8(bytes).ok()?;
    let mut rest = text.strip_prefix("<iq")?.strip_suffix("/>")?;
    let (mut r#type, mut id, mut from, mut to) = (None, None, None, None);
    let (mut namespace, mut language) = (None, None);
    while let Some(attribute) = rest.strip_prefix(' ') {
        let (name, quoted) = split_at_byte(attribute, b'=')?;
        let quote = *quoted.as_bytes().first()?;
        if !matches!(quote, b'\'' | b'"') {
            return None;
        }
        let (value, after) = split_at_byte(&quoted[1..], quote)?;
        if !is_plain(value) {
            return None;
        }
        let place = match name {
            "type" => &mut r#type,
            "id" => &mut id,
            "from" => &mut from,
            "to" => &mut to,
            "xmlns" if [ns::COMPONENT, ns::JABBER_CLIENT].contains(&value) => &mut namespace,
            "xml:lang" => &mut language,
            _ => return None,
        };
        if place.replace(value).is_some() {
            return None;
        }
        rest = after;
    }
    let head = Head {
        kind: Kind::Iq,
        r#type: r#type.unwrap_or_default().into(),
        id: id.unwrap_or_default().into(),
        from: from.map(Cow::Borrowed),
        to: to.map(Cow::Borrowed),
    };
    rest.is_empty().then(|| Builder::new(head).finish())
}

/// What stands before and after an ASCII character.
fn split_at_byte(text: &str, byte: u8) -> Option<(&str, &str)> {
    let at = memchr(byte, text.as_bytes())?;
    Some((&text[..at], &text[at + 1..]))
}

/// Whether a value means just what is written.
fn is_plain(value: &str) -> bool {
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'&' && byte != b'<';
    // Without an end in between, so that many bytes are looked at at once.
    value
        .bytes()
        .fold(true, |plain, byte| plain & is_plain(byte))
}

fn in_full(bytes: &[u8]) -> Result<Stanza<'static>, Fault> {
    let mut reader = reader(bytes);
    let mut builder = Builder::new(start(&mut reader).map_err(|Malformed| Fault::Malformed)?);
    match rest(&mut reader, &mut builder) {
        Ok(()) => Ok(builder.finish()),
        Err(Malformed) => Ok(builder.fail(Fault::Malformed)),
    }
}

/// The attributes of the stanza that begins with these bytes, if its start tag is among them.
pub fn head(bytes: &[u8]) -> Option<Head<'static>> {
    start(&mut reader(bytes)).ok()
}

fn reader(bytes: &[u8]) -> NsReader<&[u8]> {
    // Where this ends too early, so does the stanza.
    let text = bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    let mut reader = NsReader::from_str(text);
    reader.config_mut().expand_empty_elements = true;
    reader
}

fn start(reader: &mut NsReader<&[u8]>) -> Result<Head<'static>, Malformed> {
    match reader.read_resolved_event() {
        Ok((namespace, Event::Start(start))) => Ok(Head::new(&tag(&namespace, &start)?)),
        _ => Err(Malformed),
    }
}

fn rest(reader: &mut NsReader<&[u8]>, builder: &mut Builder) -> Result<(), Malformed> {
    loop {
        match reader.read_resolved_event() {
            Ok((namespace, Event::Start(start))) => builder.open(&tag(&namespace, &start)?),
            Ok((_, Event::Text(text))) => builder.text(&text),
            Ok((_, Event::CData(text))) => builder.text(&text),
            Ok((_, Event::GeneralRef(name))) => match name.resolve_char_ref() {
                Ok(Some(char)) => builder.text(char.encode_utf8(&mut [0; 4])),
                Ok(None) => builder.text(resolve_predefined_entity(&name).ok_or(Malformed)?),
                Err(_) => return Err(Malformed),
            },
            Ok((_, Event::End(_))) => {
                if builder.close() {
                    return Ok(());
                }
            }
            Ok(_) | Err(_) => return Err(Malformed),
        }
    }
}

fn tag<'a>(namespace: &'a ResolveResult, start: &'a BytesStart) -> Result<Tag<'a>, Malformed> {
    let namespace = match namespace {
        ResolveResult::Bound(Namespace(namespace)) => namespace,
        // What the stream's own start tag declares.
        ResolveResult::Unbound => ns::COMPONENT,
        ResolveResult::Unknown(prefix) if prefix == "stream" => ns::STREAM,
        ResolveResult::Unknown(_) => return Err(Malformed),
    };
    let attributes = start.attributes().map(|attribute| {
        let attribute = attribute.map_err(|_| Malformed)?;
        let value = attribute.normalized_value(XmlVersion::Implicit1_0);
        Ok((attribute.key.0, value.map_err(|_| Malformed)?))
    });
    Ok(Tag {
        namespace,
        name: start.local_name().into_inner(),
        attributes: attributes.collect::<Result<_, _>>()?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_answers_of_servers_are_read_at_once() {
        for answer in [
            "<iq type='result' id='i' from='a@b/c' to='up.example.org'/>",
            "<iq id=\"i\" from=\"a@b/it's\" to=\"up.example.org\" type=\"result\"/>",
            "<iq xml:lang='en' to='up.example.org' from='a@b/c' type='result' \
             xmlns='jabber:component:accept' id='i'/>",
            "<iq xmlns='jabber:client' type='result' from='a@b/c'/>",
        ] {
            let read = empty_iq(answer.as_bytes());
            assert!(read.is_some(), "{answer}");
            assert_eq!(read, in_full(answer.as_bytes()).ok(), "{answer}");
        }
    }

    #[test]
    fn what_is_written_otherwise_is_not() {
        for other in [
            "<iq type='result'></iq>",
            "<iq type='result' ><a/></iq>",
            "<iqq type='result'/>",
            "<iq  type='result'/>",
            "<iq type='result' />",
            "<iq type='result'id='i'/>",
            "<iq type = 'result'/>",
            "<iq type='result' type='result'/>",
            "<iq id='a&amp;b'/>",
            "<iq id='a\tb'/>",
            "<iq from='a@b/\u{e4}'/>",
            "<iq xmlns='jabber:server'/>",
            "<iq a:id='i'/>",
            "<presence from='a@b/c'/>",
        ] {
            assert_eq!(empty_iq(other.as_bytes()), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn both_ways_of_reading_agree(
            text in "<iq( (type|id|from|to|xmlns|xml:lang|x)=('[a-c@/&;<\" ]{0,4}'|\"[a-c']{0,3}\")){0,4}/>",
        ) {
            if let Some(read) = empty_iq(text.as_bytes()) {
                prop_assert_eq!(in_full(text.as_bytes()), Ok(read));
            }
        }
    }
}
