//! The bounded parser of what the server sends: bytes in, stanzas out.
//!
//! What a stranger writes reaches us through the server, up to 512 KiB a stanza and as deep as that
//! allows. Only stanzas within [`MAX_STANZA`] and [`MAX_DEPTH`] are parsed; of the others the
//! attributes are read and the rest is skipped, unbuffered, to the end tag. So nothing but the
//! server's own end of the stream, or bytes that are no XML at all, ends the stream.

use bytes::{Buf, BufMut, BytesMut, buf::Limit};

use super::{
    frame::{Framer, Mark, NotWellFormed},
    parse,
    stanza::{Fault, Head, Stanza},
};

/// Larger stanzas are skipped; in bytes. The largest that has a purpose is far smaller.
pub const MAX_STANZA: usize = 64 * 1024;

/// Deeper stanzas are skipped; in levels, the stanza's own included.
pub const MAX_DEPTH: u32 = 32;

/// How much is read from the socket at once, in bytes: what strangers ask for is to be answered
/// before more of it is read.
pub const CHUNK: usize = 16 * 1024;

#[derive(Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every event is a stanza, and none is kept"
)]
pub enum Event<'a> {
    /// It may lie in the reader's buffer.
    Stanza(Stanza<'a>),
    /// A stanza of which not even the attributes could be read.
    Unreadable(Fault),
    /// The server closed the stream in order.
    End,
}

pub struct Reader {
    buffer: BytesMut,
    /// How much of the buffer the framer has seen.
    scanned: usize,
    /// All of that is a stanza that was handed out.
    handed_out: bool,
    framer: Framer,
    /// Set while the rest of a stanza is skipped.
    skipping: Option<Skip>,
}

struct Skip {
    /// None: not even the attributes fit.
    head: Option<Head<'static>>,
    fault: Fault,
}

impl Event<'_> {
    /// For whoever keeps it while more is read.
    pub fn into_owned(self) -> Event<'static> {
        match self {
            Event::Stanza(Stanza { head, content }) => Event::Stanza(Stanza {
                head: head.into_owned(),
                content,
            }),
            Event::Unreadable(fault) => Event::Unreadable(fault),
            Event::End => Event::End,
        }
    }
}

/// Starts behind the stream's header and the handshake.
impl Default for Reader {
    fn default() -> Self {
        Self {
            buffer: BytesMut::new(),
            scanned: 0,
            handed_out: false,
            framer: Framer::new(MAX_DEPTH),
            skipping: None,
        }
    }
}

impl Reader {
    /// Where to put at most [`CHUNK`] bytes; call [`next_event`](Self::next_event) until it has no
    /// more before asking again.
    pub fn buffer(&mut self) -> Limit<&mut BytesMut> {
        self.discard_handed_out();
        self.buffer.reserve(CHUNK);
        (&mut self.buffer).limit(CHUNK)
    }

    /// The next event in what was read; None when more has to be read.
    pub fn next_event(&mut self) -> Result<Option<Event<'_>>, NotWellFormed> {
        self.discard_handed_out();
        loop {
            if self.scanned == 0 && self.framer.at_rest() {
                self.skip_white_space();
            }
            let (taken, mark) = self.framer.scan(&self.buffer[self.scanned..])?;
            self.scanned += taken;
            if self.skipping.is_none() {
                if self.scanned > MAX_STANZA {
                    self.start_skipping(Fault::TooLarge);
                } else if mark == Some(Mark::TooDeep) {
                    self.start_skipping(Fault::TooDeep);
                }
            }
            match mark {
                Some(Mark::StanzaEnd) => return Ok(Some(self.stanza())),
                Some(Mark::StreamEnd) => return Ok(Some(Event::End)),
                Some(Mark::TooDeep) => (),
                None => {
                    if self.skipping.is_some() {
                        self.discard();
                    }
                    return Ok(None);
                }
            }
        }
    }

    fn skip_white_space(&mut self) {
        let blanks = self.buffer.iter().take_while(|b| b.is_ascii_whitespace());
        let blanks = blanks.count();
        self.buffer.advance(blanks);
    }

    fn start_skipping(&mut self, fault: Fault) {
        let head = parse::head(&self.buffer[..self.scanned.min(MAX_STANZA)]);
        self.skipping = Some(Skip { head, fault });
    }

    fn discard_handed_out(&mut self) {
        if self.handed_out {
            self.handed_out = false;
            self.discard();
        }
    }

    fn discard(&mut self) {
        self.buffer.advance(self.scanned);
        self.scanned = 0;
    }

    /// The stanza that ends with what was scanned.
    fn stanza(&mut self) -> Event<'_> {
        self.handed_out = true;
        match self.skipping.take() {
            Some(Skip { head, fault }) => match head {
                Some(head) => Event::Stanza(Stanza {
                    head,
                    content: Err(fault),
                }),
                None => Event::Unreadable(fault),
            },
            None => match parse::stanza(&self.buffer[..self.scanned]) {
                Ok(stanza) => Event::Stanza(stanza),
                Err(fault) => Event::Unreadable(fault),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        link::Wish,
        xmpp::stanza::{Content, Kind, Request},
    };

    /// Everything that comes out of `text`, fed in chunks of `size`.
    fn events(text: &str, size: usize) -> Vec<Event<'static>> {
        let mut reader = Reader::default();
        let mut events = Vec::new();
        for chunk in text.as_bytes().chunks(size.min(CHUNK)) {
            reader.buffer().put_slice(chunk);
            while let Some(event) = reader.next_event().unwrap() {
                events.push(event.into_owned());
            }
            assert!(
                reader.buffer.len() <= MAX_STANZA + size,
                "memory is bounded"
            );
        }
        events
    }

    fn one(text: &str) -> Stanza<'static> {
        let mut events = events(text, CHUNK);
        match (events.pop(), events.is_empty()) {
            (Some(Event::Stanza(stanza)), true) => stanza,
            (event, _) => panic!("not one stanza, {event:?} last"),
        }
    }

    fn iq(content: &str) -> String {
        format!("<iq type='set' id='i' from='a@b/c' to='up.example.org'>{content}</iq>")
    }

    fn fault(text: &str) -> Fault {
        let stanza = one(text);
        assert_eq!(stanza.head.id, "i", "the sender can be answered");
        assert_eq!(stanza.head.from.as_deref(), Some("a@b/c"));
        stanza.content.expect_err("it is at fault")
    }

    #[test]
    fn a_stanza_is_the_same_however_it_is_cut() {
        let text = format!(
            " {}\n<iq type='result' id='a&amp;b' from=\"c@d/e'f\"/><presence from='a@b/c'/></stream:stream>",
            iq(
                "<register xmlns='http://gultsch.de/xmpp/drafts/unified-push' application='x' instance='y'/>"
            )
        );
        let whole = events(&text, text.len());
        assert_eq!(whole.len(), 4);
        assert_eq!(whole.last(), Some(&Event::End));
        for size in 1..text.len() {
            assert_eq!(events(&text, size), whole, "in chunks of {size}");
        }
        let Event::Stanza(register) = &whole[0] else {
            panic!("{:?}", whole[0]);
        };
        let request = Request::Register {
            application: Some("x".into()),
            instance: Some("y".into()),
            wish: Wish::Register { vapid: None },
        };
        let content = register.content.as_ref().unwrap();
        assert_eq!(content.request, Some(request));
        assert_eq!(content.children, 1);
        let Event::Stanza(result) = &whole[1] else {
            panic!("{:?}", whole[1]);
        };
        assert_eq!(result.head.id, "a&b");
        assert_eq!(result.head.from.as_deref(), Some("c@d/e'f"));
        assert_eq!(result.content, Ok(Content::default()));
    }

    #[test]
    fn the_condition_of_an_error_is_found_beside_an_echo() {
        let error = "<push xmlns='x'><error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></push>\
            <error type='cancel'><text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>t</text>\
            <own xmlns='x'/><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>\
            <error><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
        let content = one(&iq(error)).content.unwrap();
        assert_eq!(content.condition.as_deref(), Some("item-not-found"));
        assert_eq!(one(&iq("<error/>")).content.unwrap().condition, None);
    }

    #[test]
    fn a_stream_error_keeps_condition_and_text() {
        let error = one(
            "<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>\
             <text xmlns='urn:ietf:params:xml:ns:xmpp-streams'>Replaced &amp; gone</text></stream:error>",
        );
        assert_eq!(error.head.kind, Kind::StreamError);
        let content = error.content.unwrap();
        assert_eq!(content.condition.as_deref(), Some("conflict"));
        assert_eq!(content.text.as_deref(), Some("Replaced & gone"));
    }

    #[test]
    fn limits_are_exact() {
        let nested = |levels: usize| iq(&("<a>".repeat(levels) + &"</a>".repeat(levels)));
        assert!(one(&nested(MAX_DEPTH as usize - 1)).content.is_ok());
        assert_eq!(fault(&nested(MAX_DEPTH as usize)), Fault::TooDeep);
        let long = |len: usize| iq(&"x".repeat(len - iq("").len()));
        assert!(one(&long(MAX_STANZA)).content.is_ok());
        assert_eq!(fault(&long(MAX_STANZA + 1)), Fault::TooLarge);
    }

    #[test]
    fn abuse_is_skipped_and_the_next_stanza_is_read() {
        let attribute = |len| iq(&format!("<a b='{}'/>", "x".repeat(len)));
        let levels = MAX_DEPTH as usize;
        let nested = |text: &str| "<a>".repeat(levels) + text + &"</a>".repeat(levels);
        assert!(one(&attribute(9000)).content.is_ok());
        for (abuse, expected) in [
            // The rest of each takes more than one read.
            (iq(&"x".repeat(MAX_STANZA + 2 * CHUNK)), Fault::TooLarge),
            (attribute(MAX_STANZA + 2 * CHUNK), Fault::TooLarge),
            (iq(&nested(&"x".repeat(2 * CHUNK))), Fault::TooDeep),
            (iq("<p:a/>"), Fault::Malformed),
            (iq("<a></b>"), Fault::Malformed),
            (iq("<a b='1' b='2'/>"), Fault::Malformed),
            (iq("&unknown;"), Fault::Malformed),
        ] {
            assert_eq!(fault(&abuse), expected);
            let followed = events(&(abuse + &iq("")), CHUNK);
            assert_eq!(followed.len(), 2);
            assert_eq!(followed[1], Event::Stanza(one(&iq(""))));
        }
    }

    #[test]
    fn a_start_tag_over_the_limit_leaves_nobody_to_answer() {
        let huge = format!("<iq id='{}'/>", "x".repeat(MAX_STANZA));
        assert_eq!(events(&huge, CHUNK), [Event::Unreadable(Fault::TooLarge)]);
    }

    #[test]
    fn what_is_no_xml_ends_the_stream() {
        let mut reader = Reader::default();
        reader.buffer().put_slice(b"HTTP/1.1 400 Bad Request");
        assert_eq!(reader.next_event(), Err(NotWellFormed));
    }
}
