//! The headers of a Web Push request (RFC 8030 §5.2 to §5.4), and those of the old encoding `aesgcm`
//! (draft-ietf-webpush-encryption-04), which hold what the phone needs to decrypt. What others may send
//! along (Prefer) is never a reason to refuse and is not even read; VAPID is `vapid`'s.
//!
//! A 400 costs some senders their subscription: it is for what no real sender sends. Gateways add a TTL
//! to the sender's own, which comes first; libraries send headers that they have no value for.

use axum::http::{HeaderMap, HeaderName, header::CONTENT_ENCODING};

use crate::model::{
    message::{Topic, Ttl, Urgency},
    payload::Head,
};

static TTL: HeaderName = HeaderName::from_static("ttl");
static URGENCY: HeaderName = HeaderName::from_static("urgency");
static TOPIC: HeaderName = HeaderName::from_static("topic");

/// A bad header, as its sender's author is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    #[error("TTL: send it as a whole number of seconds, such as 86400.")]
    Ttl,
    #[error("TTL: the header is missing, and this server requires it (RFC 8030, section 5.2).")]
    TtlMissing,
    #[error("Urgency: send it at most once, as one of very-low, low, normal, high.")]
    Urgency,
    #[error("Topic: send it at most once, as 1 to 32 characters from A-Z, a-z, 0-9, - and _.")]
    Topic,
    #[error("Encryption, Crypto-Key: send them with less than 1000 bytes together.")]
    Aesgcm,
}

#[derive(Debug, PartialEq, Eq)]
pub struct PushHeaders {
    pub ttl: Option<Ttl>,
    pub urgency: Urgency,
    pub topic: Option<Topic>,
    /// What the phone gets before the body.
    pub head: Option<Head>,
}

impl PushHeaders {
    pub fn parse(headers: &HeaderMap, require_ttl: bool) -> Result<Self, HeaderError> {
        let ttl = first_ttl(headers)?;
        if require_ttl && ttl.is_none() {
            return Err(HeaderError::TtlMissing);
        }
        let urgency = at_most_one(headers, &URGENCY, Urgency::parse, HeaderError::Urgency)?;
        Ok(Self {
            ttl,
            urgency: urgency.unwrap_or_default(),
            topic: at_most_one(headers, &TOPIC, Topic::parse, HeaderError::Topic)?,
            head: aesgcm(headers)?,
        })
    }
}

/// A gateway may have put the parameters into the body already and left out their headers: it is not
/// done twice.
fn aesgcm(headers: &HeaderMap) -> Result<Option<Head>, HeaderError> {
    let lines = headers.get_all(CONTENT_ENCODING).iter();
    let mut encodings = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    if !encodings.any(|encoding| encoding.trim_ascii().eq_ignore_ascii_case(b"aesgcm")) {
        return Ok(None);
    }
    let [encryption, crypto_key] = ["encryption", "crypto-key"].map(|name| joined(headers, name));
    if encryption.is_empty() || crypto_key.is_empty() {
        return Ok(None);
    }
    match Head::aesgcm(&encryption, &crypto_key) {
        None => Err(HeaderError::Aesgcm),
        head => Ok(head),
    }
}

/// The values of all headers of a name, in their order (RFC 9110 §5.3).
fn joined(headers: &HeaderMap, name: &str) -> Vec<u8> {
    let values = headers.get_all(name).iter().map(|value| value.as_bytes());
    let values: Vec<_> = values.filter(|value| !value.is_empty()).collect();
    values.join(&b", "[..])
}

/// The first valid one of several, which may come in one line as well (RFC 9110 §5.3).
fn first_ttl(headers: &HeaderMap) -> Result<Option<Ttl>, HeaderError> {
    let lines = headers.get_all(&TTL).iter();
    let mut values = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    match values.find_map(|value| Ttl::parse(value.trim_ascii())) {
        None if headers.contains_key(&TTL) => Err(HeaderError::Ttl),
        first => Ok(first),
    }
}

/// An empty one is none.
fn at_most_one<T>(
    headers: &HeaderMap,
    name: &HeaderName,
    parse: impl Fn(&[u8]) -> Option<T>,
    error: HeaderError,
) -> Result<Option<T>, HeaderError> {
    let values = headers.get_all(name).iter();
    let mut values = values.filter(|value| !value.is_empty());
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(error);
    }
    parse(value.as_bytes()).map(Some).ok_or(error)
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn parse(headers: &[(&'static str, &'static str)]) -> Result<PushHeaders, HeaderError> {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| {
                let name = HeaderName::from_static(name);
                (name, HeaderValue::from_static(value))
            })
            .fold(HeaderMap::new(), |mut map, (name, value)| {
                map.append(name, value);
                map
            });
        PushHeaders::parse(&headers, false)
    }

    #[test]
    fn all_three_are_optional() {
        let none = PushHeaders {
            ttl: None,
            urgency: Urgency::Normal,
            topic: None,
            head: None,
        };
        assert_eq!(parse(&[]), Ok(none));
        let all = PushHeaders {
            ttl: Some(Ttl::from_secs(60)),
            urgency: Urgency::High,
            topic: Topic::parse(b"mail"),
            head: None,
        };
        let headers = [("ttl", "60"), ("urgency", "high"), ("topic", "mail")];
        assert_eq!(parse(&headers), Ok(all));
    }

    #[test]
    fn a_bad_header_is_named() {
        let cases = [
            ("ttl", "soon", "60", HeaderError::Ttl, "TTL"),
            ("ttl", "", "60", HeaderError::Ttl, "TTL"),
            ("ttl", ",", "60", HeaderError::Ttl, "TTL"),
            ("urgency", "urgent", "low", HeaderError::Urgency, "Urgency"),
            ("topic", "a b", "mail", HeaderError::Topic, "Topic"),
            ("topic", "=", "mail", HeaderError::Topic, "Topic"),
        ];
        for (name, bad, good, error, shown) in cases {
            assert_eq!(parse(&[(name, bad)]), Err(error));
            assert_eq!(parse(&[(name, bad), (name, bad)]), Err(error));
            assert!(parse(&[(name, good)]).is_ok());
            assert!(error.to_string().starts_with(shown));
        }
    }

    #[test]
    fn the_first_valid_ttl_counts() {
        for values in [
            &["60", "0"][..],
            &["60", "60"],
            &["60", "soon"],
            &["soon", "60"],
            &["", "60"],
            &["60, 0"],
            &["60,60", "0"],
        ] {
            let headers: Vec<_> = values.iter().map(|value| ("ttl", *value)).collect();
            let ttl = parse(&headers).unwrap().ttl;
            assert_eq!(ttl, Some(Ttl::from_secs(60)), "{values:?}");
        }
    }

    #[test]
    fn an_empty_urgency_or_topic_is_none_and_two_are_refused() {
        let empty = [("urgency", ""), ("topic", ""), ("topic", "")];
        assert_eq!(parse(&empty), parse(&[]));
        let beside = [
            ("urgency", ""),
            ("urgency", "high"),
            ("topic", "mail"),
            ("topic", ""),
        ];
        assert_eq!(
            parse(&beside),
            parse(&[("urgency", "high"), ("topic", "mail")])
        );
        for (name, one, other, error) in [
            ("urgency", "low", "high", HeaderError::Urgency),
            ("topic", "a", "b", HeaderError::Topic),
        ] {
            assert_eq!(parse(&[(name, one), (name, other)]), Err(error));
        }
    }

    #[test]
    fn the_padding_of_a_topic_does_not_matter() {
        assert_eq!(
            parse(&[("topic", "bWFpbA==")]),
            parse(&[("topic", "bWFpbA")])
        );
    }

    #[test]
    fn the_parameters_of_aesgcm_come_before_the_body() {
        let (salt, key) = (("encryption", "salt=c2FsdA"), ("crypto-key", "dh=a2V5"));
        let head = |encryption: &[u8], key: &[u8]| Ok(Head::aesgcm(encryption, key));
        let encoding = |value| ("content-encoding", value);
        let parse = |headers: &[_]| parse(headers).map(|parsed| parsed.head);
        for encodings in [
            &[encoding("aesgcm")][..],
            &[encoding("AESGCM")],
            &[encoding("aesgcm"), encoding("aes128gcm")],
            &[encoding("aes128gcm"), encoding("aesgcm")],
            &[encoding("gzip, aesgcm")],
        ] {
            let folded = parse(&[encodings, &[salt, key]].concat());
            assert_eq!(folded, head(b"salt=c2FsdA", b"dh=a2V5"), "{encodings:?}");
            // A gateway has done it.
            for left in [&[][..], &[salt], &[key], &[salt, ("crypto-key", "")]] {
                assert_eq!(parse(&[encodings, left].concat()), Ok(None), "{left:?}");
            }
        }
        for other in [&[][..], &[encoding("aes128gcm")], &[encoding("xaesgcm")]] {
            assert_eq!(parse(&[other, &[salt, key]].concat()), Ok(None));
        }
        let two = [
            encoding("aesgcm"),
            salt,
            ("crypto-key", "p256ecdsa=c2ln"),
            key,
        ];
        let expected = head(b"salt=c2FsdA", b"p256ecdsa=c2ln, dh=a2V5");
        assert_eq!(parse(&two), expected);

        let long: &'static str = Box::leak("x".repeat(1000).into_boxed_str());
        let long = [encoding("aesgcm"), salt, ("crypto-key", long)];
        assert_eq!(parse(&long), Err(HeaderError::Aesgcm));
    }

    #[test]
    fn a_ttl_can_be_required() {
        let missing = PushHeaders::parse(&HeaderMap::new(), true);
        assert_eq!(missing, Err(HeaderError::TtlMissing));
    }
}
