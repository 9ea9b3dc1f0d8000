//! The body of a push: opaque bytes, 1 to 4096 of them by construction (RFC 8030 §7.2), and perhaps a
//! head that tells the phone what the headers said.

use std::fmt;

use bytes::Bytes;

/// The largest body that a push service has to take.
pub const MAX_PAYLOAD: usize = 4096;

/// The largest [`Head`], in bytes. Those of real senders have about 350.
const MAX_HEAD: usize = 1024;

/// What an application server sends and the phone gets, unchanged. Cloning copies no bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload(Bytes);

/// Why bytes are no payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    #[error("the body is empty")]
    Empty,
    #[error("the body is larger than {MAX_PAYLOAD} bytes")]
    TooLarge,
}

/// What stands before the body of a message in the encoding `aesgcm`: its parameters come in headers,
/// which no phone gets to see.
#[derive(Clone, PartialEq, Eq)]
pub struct Head(Vec<u8>);

impl Head {
    /// From the values of the headers `Encryption` and `Crypto-Key`. None when they are too long.
    pub fn aesgcm(encryption: &[u8], crypto_key: &[u8]) -> Option<Self> {
        let head = [
            b"aesgcm\nEncryption: ",
            encryption,
            b"\nCrypto-Key: ",
            crypto_key,
            b"\n",
        ];
        Some(Self(head.concat())).filter(|head| head.0.len() <= MAX_HEAD)
    }
}

impl Payload {
    pub fn new(bytes: Bytes) -> Result<Self, PayloadError> {
        match bytes.len() {
            0 => Err(PayloadError::Empty),
            1..=MAX_PAYLOAD => Ok(Self(bytes)),
            _ => Err(PayloadError::TooLarge),
        }
    }

    /// Behind a head, which does not count for the size of a body.
    pub fn behind(self, head: &Head) -> Self {
        Self([head.0.as_slice(), &self.0].concat().into())
    }

    /// One that was made before, such as a row of the store.
    pub fn restored(bytes: Bytes) -> Result<Self, PayloadError> {
        match bytes.len() {
            0 => Err(PayloadError::Empty),
            len if len > MAX_HEAD + MAX_PAYLOAD => Err(PayloadError::TooLarge),
            _ => Ok(Self(bytes)),
        }
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    #[expect(clippy::len_without_is_empty, reason = "a payload is never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// Keys and salts of a message.
impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Head({} bytes)", self.0.len())
    }
}

/// The length only: what an application sends to a phone is no business of a log.
impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_to_4096_bytes() {
        let payload = |len| Payload::new(Bytes::from(vec![b'x'; len])).map(|p| p.len());
        assert_eq!(payload(0), Err(PayloadError::Empty));
        assert_eq!(payload(1), Ok(1));
        assert_eq!(payload(4096), Ok(4096));
        assert_eq!(payload(4097), Err(PayloadError::TooLarge));
    }

    #[test]
    fn a_head_stands_before_the_body_and_has_a_limit_of_its_own() {
        let head = Head::aesgcm(b"salt=c2FsdA", b"dh=a2V5").unwrap();
        let body = Payload::new(Bytes::from_static(b"\x00body")).unwrap();
        let folded = body.behind(&head);
        let expected = b"aesgcm\nEncryption: salt=c2FsdA\nCrypto-Key: dh=a2V5\n\x00body";
        assert_eq!(folded.as_bytes(), expected);

        let around = head.0.len() - "salt=c2FsdA".len();
        let longest = Head::aesgcm(&[b'x'; MAX_HEAD][around..], b"dh=a2V5").unwrap();
        assert_eq!(
            Head::aesgcm(&[b'x'; MAX_HEAD + 1][around..], b"dh=a2V5"),
            None
        );
        let body = Payload::new(Bytes::from(vec![b'x'; MAX_PAYLOAD])).unwrap();
        let whole = body.behind(&longest).0;
        assert_eq!(Payload::restored(whole.clone()).unwrap().0, whole);
        let longer = Bytes::from([&whole[..], b"x"].concat());
        assert_eq!(Payload::restored(longer), Err(PayloadError::TooLarge));
    }

    #[test]
    fn debug_shows_no_content() {
        let payload = Payload::new(Bytes::from_static(b"secret")).unwrap();
        assert_eq!(format!("{payload:?}"), "Payload(6 bytes)");
    }
}
