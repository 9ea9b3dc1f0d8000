//! Parses one stanza that the framer has cut out: its bytes in, what matters of it out.

use quick_xml::{
    XmlVersion,
    escape::resolve_predefined_entity,
    events::{BytesStart, Event},
    name::{Namespace, ResolveResult},
    reader::NsReader,
};
use xmpp_parsers::ns;

use super::stanza::{Builder, Fault, Head, Stanza, Tag};

/// No XML, or with a prefix that means nothing.
struct Malformed;

/// Err: not even the attributes can be read.
pub fn stanza(bytes: &[u8]) -> Result<Stanza, Fault> {
    let mut reader = reader(bytes);
    let mut builder = Builder::new(start(&mut reader).map_err(|Malformed| Fault::Malformed)?);
    match rest(&mut reader, &mut builder) {
        Ok(()) => Ok(builder.finish()),
        Err(Malformed) => Ok(builder.fail(Fault::Malformed)),
    }
}

/// The attributes of the stanza that begins with these bytes, if its start tag is among them.
pub fn head(bytes: &[u8]) -> Option<Head> {
    start(&mut reader(bytes)).ok()
}

fn reader(bytes: &[u8]) -> NsReader<&[u8]> {
    // Where this ends too early, so does the stanza.
    let text = bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    let mut reader = NsReader::from_str(text);
    reader.config_mut().expand_empty_elements = true;
    reader
}

fn start(reader: &mut NsReader<&[u8]>) -> Result<Head, Malformed> {
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
