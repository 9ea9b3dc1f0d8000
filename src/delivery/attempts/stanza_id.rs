//! The ids of push stanzas: which replica sent which message for which time, and a MAC over it all
//! and the JID that was asked.
//!
//! So any replica, also after a restart, tells a true answer from a stranger's without a look-up,
//! and nobody but the phone that was asked can answer.
//!
//! The MAC is SipHash-2-4 with its tag of 128 bits: made to authenticate short messages, and used for
//! this by DNS servers, whose cookies (RFC 9018) bind a client to its address as these ids bind an
//! answer to a JID. Nobody sees a tag but the server and the phone that it is for; who guesses one
//! has to send each guess as a stanza, and most of an id is a random key besides. An HMAC with SHA-256
//! takes some fifteen times as many instructions, twice for every push.

use std::hash::Hasher;

use jid::Jid;
use siphasher::sip128::{Hasher128, SipHasher24};
use subtle::ConstantTimeEq;

use crate::{
    link::StanzaId,
    model::{message::MessageKey, secret::Secret},
};

const PURPOSE: &str = "stanza-id/siphash-2-4-128";
const FIELDS: usize = 4 + 16 + 2;
const MAC: usize = StanzaId::BYTES - FIELDS;

/// A daemon, since it was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replica([u8; 4]);

impl Replica {
    pub const fn from_bytes(bytes: [u8; 4]) -> Self {
        Self(bytes)
    }
}

/// What an authentic id says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptId {
    pub replica: Replica,
    pub message: MessageKey,
    /// Which attempt at the message it is, from 1.
    pub number: u16,
}

pub struct StanzaIds {
    /// The current secret's key first: it signs, the others only verify.
    keys: Vec<SipHasher24>,
}

impl StanzaIds {
    pub fn new(current: &Secret, previous: &[Secret]) -> Self {
        let key = |secret: &Secret| {
            let derived = secret.derive(PURPOSE);
            let key = derived.first_chunk().expect("it has 32 bytes");
            SipHasher24::new_with_key(key)
        };
        Self {
            keys: std::iter::once(current).chain(previous).map(key).collect(),
        }
    }

    /// The id of a stanza to `to`.
    pub fn mint(&self, to: &Jid, attempt: &AttemptId) -> StanzaId {
        let mut id = [0; StanzaId::BYTES];
        id[..4].copy_from_slice(&attempt.replica.0);
        id[4..20].copy_from_slice(attempt.message.as_bytes());
        id[20..FIELDS].copy_from_slice(&attempt.number.to_be_bytes());
        let mac = mac(self.keys[0], &id[..FIELDS], to.as_str());
        id[FIELDS..].copy_from_slice(&mac);
        StanzaId::encode(&id)
    }

    /// What was asked of `from`; None when the id is not ours or went to somebody else.
    pub fn verify(&self, from: &str, id: &str) -> Option<AttemptId> {
        let bytes = StanzaId::decode(id)?;
        let (fields, tag) = bytes.split_at(FIELDS);
        let mut keys = self.keys.iter();
        let authentic = keys.any(|key| mac(*key, fields, from).ct_eq(tag).into());
        authentic.then(|| AttemptId {
            replica: Replica(fields[..4].try_into().expect("4 bytes")),
            message: MessageKey::from_bytes(fields[4..20].try_into().expect("16 bytes")),
            number: u16::from_be_bytes(fields[20..].try_into().expect("2 bytes")),
        })
    }
}

/// The fields have a fixed length, so that no two inputs read alike.
fn mac(mut key: SipHasher24, fields: &[u8], jid: &str) -> [u8; MAC] {
    key.write(fields);
    key.write(jid.as_bytes());
    key.finish128().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ATTEMPT: AttemptId = AttemptId {
        replica: Replica::from_bytes([1; 4]),
        message: MessageKey::from_bytes([2; 16]),
        number: 3,
    };

    fn ids(secret: u8) -> StanzaIds {
        StanzaIds::new(&Secret::new([secret; 32]), &[])
    }

    fn jid(text: &str) -> Jid {
        Jid::new(text).unwrap()
    }

    #[test]
    fn only_the_jid_that_was_asked_can_answer() {
        let phone = jid("romeo@example.org/orchard");
        let id = ids(7).mint(&phone, &ATTEMPT);
        assert_eq!(ids(7).verify(phone.as_str(), id.as_str()), Some(ATTEMPT));
        for other in [
            "romeo@example.org",
            "romeo@example.org/balcony",
            "eve@example.org/orchard",
        ] {
            assert_eq!(ids(7).verify(other, id.as_str()), None, "{other}");
        }
    }

    #[test]
    fn a_changed_or_foreign_id_is_nobodys() {
        let phone = jid("romeo@example.org/orchard");
        let minted = ids(7).mint(&phone, &ATTEMPT);
        let id = minted.as_str();
        for index in 0..id.len() {
            let mut changed = id.as_bytes().to_vec();
            changed[index] = if changed[index] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(
                ids(7).verify(phone.as_str(), &changed),
                None,
                "character {index}"
            );
        }
        for foreign in [
            "",
            "abc",
            &format!("{id}AAAA"),
            &id[1..],
            ids(8).mint(&phone, &ATTEMPT).as_str(),
        ] {
            assert_eq!(ids(7).verify(phone.as_str(), foreign), None, "{foreign:?}");
        }
    }

    #[test]
    fn an_answer_outlives_a_rotation_of_the_secret() {
        let phone = jid("romeo@example.org/orchard");
        let rotated = StanzaIds::new(&Secret::new([8; 32]), &[Secret::new([7; 32])]);
        assert_eq!(
            rotated.verify(phone.as_str(), ids(7).mint(&phone, &ATTEMPT).as_str()),
            Some(ATTEMPT)
        );
    }
}
