//! The body of a push: opaque bytes, 1 to 4096 of them by construction (RFC 8030 §7.2).

use std::fmt;

use bytes::Bytes;

/// The largest body that a push service has to take.
pub const MAX_PAYLOAD: usize = 4096;

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

impl Payload {
    pub fn new(bytes: Bytes) -> Result<Self, PayloadError> {
        match bytes.len() {
            0 => Err(PayloadError::Empty),
            1..=MAX_PAYLOAD => Ok(Self(bytes)),
            _ => Err(PayloadError::TooLarge),
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
    fn debug_shows_no_content() {
        let payload = Payload::new(Bytes::from_static(b"secret")).unwrap();
        assert_eq!(format!("{payload:?}"), "Payload(6 bytes)");
    }
}
