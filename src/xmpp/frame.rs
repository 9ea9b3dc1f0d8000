//! Finds where stanzas begin and end in the bytes of a stream, without parsing them.
//!
//! One pass, a few bytes of state, no stack: whatever a stranger nests costs its bytes once. It
//! trusts the server to send well-formed XML and only looks for what ends a tag, so a tag's name
//! or an entity is not its business; [`super::reader`] has what it lets through parsed.

use memchr::memchr;

/// What [`Framer::scan`] came across.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The last byte of a stanza.
    StanzaEnd,
    /// An element one level deeper than permitted begins. Said once per stanza.
    TooDeep,
    /// The stream's own end tag.
    StreamEnd,
}

/// Bytes that no XML stream has there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotWellFormed;

pub struct Framer {
    max_depth: u32,
    /// How many elements are open, the stream's own not counted.
    depth: u32,
    told_too_deep: bool,
    state: State,
}

#[derive(Clone, Copy)]
enum State {
    Text,
    /// After `<`.
    Opened,
    /// After `<!`.
    Bang,
    /// Within a start tag; the last byte was a slash or not.
    StartTag {
        slash: bool,
    },
    /// Within an attribute's value, up to this quote.
    Value(u8),
    EndTag,
    /// Within something that ends only with these bytes, so many of which were seen last.
    Until(&'static [u8], usize),
}

impl Framer {
    /// Stanzas may nest `max_depth` levels, their own element included.
    pub fn new(max_depth: u32) -> Self {
        Self {
            max_depth,
            depth: 0,
            told_too_deep: false,
            state: State::Text,
        }
    }

    /// Between two stanzas, where a server may send white space.
    pub fn at_rest(&self) -> bool {
        self.depth == 0 && matches!(self.state, State::Text)
    }

    /// Reads on. Returns how many bytes it took, and what the last of them means; all of them were
    /// taken when there is no mark.
    pub fn scan(&mut self, bytes: &[u8]) -> Result<(usize, Option<Mark>), NotWellFormed> {
        let mut index = 0;
        while let Some(&byte) = bytes.get(index) {
            index += 1;
            if let Some(mark) = self.step(byte)? {
                return Ok((index, Some(mark)));
            }
            index += self.meaningless(&bytes[index..]);
        }
        Ok((index, None))
    }

    /// How many of the next bytes change nothing; most bytes of a stanza are of this kind.
    fn meaningless(&self, bytes: &[u8]) -> usize {
        let end = match self.state {
            State::Value(quote) => memchr(quote, bytes),
            State::Text if self.depth > 0 => memchr(b'<', bytes),
            State::StartTag { slash: false } => bytes
                .iter()
                .position(|byte| matches!(byte, b'\'' | b'"' | b'/' | b'<' | b'>')),
            _ => return 0,
        };
        end.unwrap_or(bytes.len())
    }

    fn step(&mut self, byte: u8) -> Result<Option<Mark>, NotWellFormed> {
        self.state = match (self.state, byte) {
            (State::Text, b'<') => State::Opened,
            (State::Text, _) if self.depth > 0 || byte.is_ascii_whitespace() => return Ok(None),
            (State::Text, _) => return Err(NotWellFormed),
            (State::Opened, b'/') => State::EndTag,
            (State::Opened, b'!' | b'?') if self.depth == 0 => return Err(NotWellFormed),
            (State::Opened, b'!') => State::Bang,
            (State::Opened, b'?') => State::Until(b"?>", 0),
            (State::Opened, b'<' | b'>') => return Err(NotWellFormed),
            (State::Opened, _) => State::StartTag { slash: false },
            (State::Bang, b'[') => State::Until(b"]]>", 0),
            (State::Bang, b'-') => State::Until(b"-->", 0),
            (State::Bang, _) => return Err(NotWellFormed),
            (State::StartTag { slash }, b'>') => {
                self.state = State::Text;
                return Ok(if slash { self.empty() } else { self.open() });
            }
            (State::StartTag { .. }, b'"' | b'\'') => State::Value(byte),
            (State::StartTag { .. } | State::EndTag, b'<') => return Err(NotWellFormed),
            (State::StartTag { .. }, _) => State::StartTag {
                slash: byte == b'/',
            },
            (State::Value(quote), _) if byte == quote => State::StartTag { slash: false },
            (State::Value(_), _) => return Ok(None),
            (State::EndTag, b'>') => {
                self.state = State::Text;
                return Ok(self.close());
            }
            (State::EndTag, _) => return Ok(None),
            (State::Until(end, seen), _) => until(end, seen, byte),
        };
        Ok(None)
    }

    fn empty(&mut self) -> Option<Mark> {
        let mark = self.open();
        self.depth -= 1;
        match self.depth {
            0 => self.close_stanza(),
            _ => mark,
        }
    }

    fn open(&mut self) -> Option<Mark> {
        self.depth = self.depth.saturating_add(1);
        if self.depth <= self.max_depth || self.told_too_deep {
            return None;
        }
        self.told_too_deep = true;
        Some(Mark::TooDeep)
    }

    fn close(&mut self) -> Option<Mark> {
        match self.depth {
            0 => Some(Mark::StreamEnd),
            1 => {
                self.depth = 0;
                self.close_stanza()
            }
            _ => {
                self.depth -= 1;
                None
            }
        }
    }

    fn close_stanza(&mut self) -> Option<Mark> {
        self.told_too_deep = false;
        Some(Mark::StanzaEnd)
    }
}

/// Every terminator is one character repeated, then `>`: after a mismatch by that character
/// itself, as many of it as before are still the last ones seen.
fn until(end: &'static [u8], seen: usize, byte: u8) -> State {
    if byte != end[seen] {
        let seen = if byte == end[0] { seen } else { 0 };
        return State::Until(end, seen);
    }
    if seen + 1 == end.len() {
        return State::Text;
    }
    State::Until(end, seen + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The marks in `text` and where they end, fed in chunks of `size`.
    fn marks(text: &str, size: usize) -> Result<Vec<(usize, Mark)>, NotWellFormed> {
        let mut framer = Framer::new(3);
        let mut found = Vec::new();
        let mut position = 0;
        for chunk in text.as_bytes().chunks(size) {
            let mut rest = chunk;
            while !rest.is_empty() {
                let (taken, mark) = framer.scan(rest)?;
                position += taken;
                rest = &rest[taken..];
                found.extend(mark.map(|mark| (position, mark)));
            }
        }
        Ok(found)
    }

    fn stanza_ends(text: &str) -> Vec<usize> {
        let whole = marks(text, usize::MAX).unwrap();
        for size in 1..=text.len() {
            assert_eq!(marks(text, size).unwrap(), whole, "in chunks of {size}");
        }
        let ends = whole.iter().filter(|(_, mark)| *mark == Mark::StanzaEnd);
        ends.map(|(end, _)| *end).collect()
    }

    #[test]
    fn finds_the_end_of_each_stanza_however_it_is_cut() {
        let first = "<iq a='1'/>";
        let second = "<message><body>a > b</body></message>";
        assert_eq!(
            stanza_ends(&format!("{first} \n{second}")),
            [first.len(), first.len() + 2 + second.len()]
        );
    }

    #[test]
    fn what_looks_like_markup_in_a_value_or_a_section_is_none() {
        for stanza in [
            "<iq a='</iq>' b=\"/>'\" />",
            "<iq a='x/'></iq>",
            "<iq><![CDATA[</iq>]] ]></iq>]]]></iq>",
            "<iq><!-- </iq> ---></iq>",
            "<iq><?pi </iq> ??></iq>",
            "<iq><a/><a b='/'/><a b/></iq>",
        ] {
            assert_eq!(stanza_ends(stanza), [stanza.len()], "{stanza}");
        }
    }

    #[test]
    fn tells_once_that_a_stanza_is_too_deep() {
        let of = |text| -> Vec<Mark> {
            let found = marks(text, 1).unwrap();
            found.into_iter().map(|(_, mark)| mark).collect()
        };
        use Mark::{StanzaEnd, TooDeep};
        assert_eq!(of("<a><b><c/></b></a>"), [StanzaEnd]);
        assert_eq!(of("<a><b><c><d/></c></b></a>"), [TooDeep, StanzaEnd]);
        assert_eq!(
            of("<a><b><c><d></d><d><e/></d></c></b></a><a/>"),
            [TooDeep, StanzaEnd, StanzaEnd]
        );
    }

    #[test]
    fn an_end_tag_between_stanzas_ends_the_stream() {
        assert_eq!(
            marks(" </stream:stream>", 1).unwrap(),
            [(17, Mark::StreamEnd)]
        );
    }

    #[test]
    fn nonsense_is_not_well_formed() {
        for bad in [
            "x",
            "<>",
            "<<",
            "<iq <",
            "<iq></iq <",
            "<!D",
            "<?x",
            "<a><!D",
        ] {
            assert_eq!(marks(bad, usize::MAX), Err(NotWellFormed), "{bad}");
        }
    }
}
