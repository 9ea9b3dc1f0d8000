//! What a phone registers: which app, on which of its own instances, reachable at which JID.

use std::fmt;

use base64_simd::STANDARD;
use jid::{BareJid, Jid};

use crate::model::time::Timestamp;

/// The XML namespace of register, registered and push.
pub const NS: &str = "http://gultsch.de/xmpp/drafts/unified-push";

/// Extensions of ours, as service discovery and answers to registrations name them: the element
/// unregister,
pub const UNREGISTER: &str = "urn:unified-push:unregister:0";

/// and the attribute vapid.
pub const VAPID: &str = "urn:unified-push:vapid:0";

/// The SHA-256 digest that names an application or an instance to its phone, sent as standard
/// base64. Phones accept a push from whoever knows these, so a digest never reaches a log.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

/// The texts are those of mod_unified_push.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    #[error("no value provided")]
    Missing,
    #[error("invalid base64")]
    NotBase64,
    #[error("incorrect decoded length, expected 32")]
    WrongLength,
}

impl Digest {
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Parses an attribute of a register stanza.
    pub fn parse(text: Option<&str>) -> Result<Self, DigestError> {
        let text = text.ok_or(DigestError::Missing)?;
        let bytes = STANDARD
            .decode_to_vec(text)
            .map_err(|_| DigestError::NotBase64)?;
        let bytes = bytes.try_into().map_err(|_| DigestError::WrongLength)?;
        Ok(Self(bytes))
    }

    /// Standard base64, as the phone sent it.
    pub fn to_base64(self) -> String {
        STANDARD.encode_to_string(self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(redacted)")
    }
}

/// What outlives a change of resource or of endpoint: revocation, rate and queue are keyed by it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RegistrationKey {
    pub owner: BareJid,
    pub application: Digest,
    pub instance: Digest,
}

/// What an endpoint's token stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The JID that registered, in general a full one: pushes go there.
    pub owner: Jid,
    pub application: Digest,
    pub instance: Digest,
    /// When the phone last registered. A revocation kills what was issued up to its instant.
    pub issued: Timestamp,
    /// Until when its endpoint is accepted. That is a grace longer than its phone was told.
    pub expires: Timestamp,
}

impl Registration {
    /// The bare JID that registered.
    pub fn account(&self) -> &str {
        let owner = self.owner.as_str();
        owner.split_once('/').map_or(owner, |(account, _)| account)
    }

    pub fn key(&self) -> RegistrationKey {
        RegistrationKey {
            owner: self.owner.to_bare(),
            application: self.application,
            instance: self.instance,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_base64_of_exactly_32_bytes() {
        let good = STANDARD.encode_to_string([7; 32]);
        assert_eq!(Digest::parse(Some(&good)), Ok(Digest([7; 32])));
        assert_eq!(Digest::parse(None), Err(DigestError::Missing));
        for bad in [
            "",
            "not base64!",
            &good[..43],
            &format!(" {good}"),
            &format!("{good}\n"),
            // Its last bits say nothing, so they have one spelling.
            &good.replace("c=", "d="),
            "=",
            "====",
            "A===",
        ] {
            assert!(Digest::parse(Some(bad)).is_err(), "{bad:?}");
        }
        let short = STANDARD.encode_to_string([7; 31]);
        assert_eq!(Digest::parse(Some(&short)), Err(DigestError::WrongLength));
    }

    #[test]
    fn the_url_safe_alphabet_is_refused() {
        let url_safe = STANDARD.encode_to_string([0xff; 32]).replace('/', "_");
        assert_eq!(Digest::parse(Some(&url_safe)), Err(DigestError::NotBase64));
    }
}
