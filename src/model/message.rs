//! The headers of a Web Push message as types (RFC 8030 §5.2 to §5.4), and its two names.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::time::Timestamp;

/// A message on its way to a phone; the ids of its stanzas carry it. Never the id of its message
/// resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageKey([u8; 16]);

impl MessageKey {
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// Whether a message that waits may be sent. A phone that left a message unanswered may still get
/// it from its server, and each time it is sent again it may arrive twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hold {
    Free,
    /// Not before this, unless its phone is known to have lost what it was sent.
    Until(Timestamp),
}

impl Hold {
    /// When it ends: long ago, if there is none.
    pub fn end(self) -> Timestamp {
        match self {
            Self::Free => Timestamp::from_secs(0),
            Self::Until(end) => end,
        }
    }
}

/// The opaque id of a message resource (RFC 8030 §5): random, tells nothing about the endpoint. Who
/// has it may take the message back.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct MessageId([u8; 16]);

impl MessageId {
    /// How many characters it has in a URL.
    pub const LENGTH: usize = 22;

    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Appends it as it is written in a URL.
    pub fn write(self, url: &mut String) {
        URL_SAFE_NO_PAD.encode_string(self.0, url);
    }

    /// As [`write`](Self::write), and [`Display`](fmt::Display), write it.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MessageId(redacted)")
    }
}

/// Time to live in seconds (RFC 8030 §5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ttl(u32);

impl Ttl {
    /// What a larger value is taken for.
    const MAX: u32 = 1 << 31;

    pub const ZERO: Self = Self(0);

    pub fn from_secs(secs: u64) -> Self {
        Self(u32::try_from(secs).unwrap_or(Self::MAX).min(Self::MAX))
    }

    pub fn as_secs(self) -> u32 {
        self.0
    }

    /// `1*DIGIT`; a number beyond 2^31 is 2^31.
    pub fn parse(header: &[u8]) -> Option<Self> {
        if header.is_empty() || !header.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let digits = std::str::from_utf8(header).ok()?;
        // All digits, so the only way to fail is to overflow.
        Some(Self::from_secs(digits.parse().unwrap_or(u64::MAX)))
    }
}

/// How urgent a message is to its user (RFC 8030 §5.3); later is more urgent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    VeryLow,
    Low,
    #[default]
    Normal,
    High,
}

impl Urgency {
    /// From 0, for very low, to 3, for high.
    pub fn rank(self) -> u8 {
        self as u8
    }

    /// One of the four words; like every literal in ABNF (RFC 5234 §2.3), in either case.
    pub fn parse(header: &[u8]) -> Option<Self> {
        let words = [
            ("very-low", Self::VeryLow),
            ("low", Self::Low),
            ("normal", Self::Normal),
            ("high", Self::High),
        ];
        let (_, urgency) = words
            .into_iter()
            .find(|(word, _)| header.eq_ignore_ascii_case(word.as_bytes()))?;
        Some(urgency)
    }
}

/// A later message with the same topic replaces a stored one (RFC 8030 §5.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic(String);

impl Topic {
    /// 1 to 32 characters of the URL-safe base64 alphabet. Some senders pad it, which does not matter.
    pub fn parse(header: &[u8]) -> Option<Self> {
        let header = unpadded(header);
        let allowed = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        if !(1..=32).contains(&header.len()) || !header.iter().all(allowed) {
            return None;
        }
        String::from_utf8(header.to_vec()).ok().map(Self)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Without up to two `=` at the end, as base64 has them.
fn unpadded(base64: &[u8]) -> &[u8] {
    let once = base64.strip_suffix(b"=").unwrap_or(base64);
    once.strip_suffix(b"=").unwrap_or(once)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ttl_is_digits_and_saturates() {
        assert_eq!(Ttl::parse(b"0"), Some(Ttl::ZERO));
        assert_eq!(Ttl::parse(b"0060").map(Ttl::as_secs), Some(60));
        for huge in ["2147483648", "2147483649", "99999999999999999999999999"] {
            assert_eq!(Ttl::parse(huge.as_bytes()).map(Ttl::as_secs), Some(1 << 31));
        }
        for bad in ["", "-1", "+1", "1.5", "1 ", "soon", "\u{0661}"] {
            assert_eq!(Ttl::parse(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn urgency_is_one_of_four_words() {
        assert_eq!(Urgency::parse(b"very-low"), Some(Urgency::VeryLow));
        assert!(Urgency::VeryLow < Urgency::Low && Urgency::Normal < Urgency::High);
        assert_eq!(Urgency::parse(b"High"), Some(Urgency::High));
        for bad in ["", "urgent", "low, high"] {
            assert_eq!(Urgency::parse(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn topic_is_32_url_safe_characters_at_most() {
        assert!(Topic::parse(&[b'a'; 32]).is_some());
        assert!(Topic::parse(b"Az09-_").is_some());
        assert_eq!(Topic::parse(&[b'a'; 33]), None);
        for bad in ["", "a b", "a+b", "a/b", "=", "==", "a===", "a=b", "ä"] {
            assert_eq!(Topic::parse(bad.as_bytes()), None, "{bad:?}");
        }
        // As Sygnal sends it, and with as many characters as there may be.
        for whole in [&b"a23456789_a23456789_a23456789_"[..], &[b'a'; 32]] {
            for padding in ["=", "=="] {
                let padded = [whole, padding.as_bytes()].concat();
                assert_eq!(Topic::parse(&padded), Topic::parse(whole));
            }
        }
    }
}
