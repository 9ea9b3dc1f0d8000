//! What a PASETO token says about a registration, in as few bytes as that takes: senders have limits
//! on the length of an endpoint, and some are 500 bytes.
//!
//! | bytes | |
//! |---|---|
//! | 1 | the version: 1, or 2 with the hash of a key |
//! | 86, or 104 | packed, seven bits to a byte: application, instance (32 bytes each), the date of issue (6, milliseconds), the expiry (5, seconds), with version 2 the hash (16), bits of zero to the next byte |
//! | the rest | the full JID |
//!
//! Packed, because PASETO's messages are UTF-8, and base64 would be longer. Numbers are big-endian.

use jid::Jid;

use crate::model::{
    registration::{Digest, Registration},
    time::Timestamp,
    vapid::KeyHash,
};

/// Without a key, and with one.
const VERSIONS: (u8, u8) = (1, 2);
const BYTES: usize = 32 + 32 + 6 + 5;
const KEY: usize = 16;

/// Times that do not fit, in the year 10889 and in the year 36812, become the last that does.
pub(super) fn write(registration: &Registration, signer: Option<KeyHash>) -> Vec<u8> {
    let issued = registration.issued.as_millis().min((1 << 48) - 1);
    let expires = registration.expires.as_secs().min((1 << 40) - 1);
    let mut bytes = Vec::with_capacity(BYTES + KEY);
    bytes.extend_from_slice(registration.application.as_bytes());
    bytes.extend_from_slice(registration.instance.as_bytes());
    bytes.extend_from_slice(&issued.to_be_bytes()[2..]);
    bytes.extend_from_slice(&expires.to_be_bytes()[3..]);
    bytes.extend_from_slice(signer.as_ref().map_or(&[], |key| key.as_bytes()));
    let owner = registration.owner.as_str().as_bytes();
    let mut message = Vec::with_capacity(1 + packed(bytes.len()) + owner.len());
    message.push(match signer {
        None => VERSIONS.0,
        Some(_) => VERSIONS.1,
    });
    pack(&bytes, &mut message);
    message.extend_from_slice(owner);
    message
}

/// None for anything that [`write()`] does not make of a registration.
pub(super) fn read(message: &str) -> Option<(Registration, Option<KeyHash>)> {
    let (version, rest) = message.as_bytes().split_first()?;
    let length = match *version {
        version if version == VERSIONS.0 => BYTES,
        version if version == VERSIONS.1 => BYTES + KEY,
        _ => return None,
    };
    let bytes = unpack(rest.get(..packed(length))?)?;
    let owner = message.get(1 + packed(length)..)?;
    let (application, rest) = bytes.split_first_chunk()?;
    let (instance, rest) = rest.split_first_chunk()?;
    let (issued, rest) = rest.split_at_checked(6)?;
    let (expires, key) = rest.split_at_checked(5)?;
    let registration = Registration {
        owner: Jid::new(owner).ok()?,
        application: Digest::from_bytes(*application),
        instance: Digest::from_bytes(*instance),
        issued: Timestamp::from_millis(number(issued)),
        expires: Timestamp::from_secs(number(expires)),
    };
    Some((registration, key.try_into().ok().map(KeyHash::from_bytes)))
}

fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// How many bytes so many become.
const fn packed(bytes: usize) -> usize {
    (bytes * 8).div_ceil(7)
}

fn pack(bytes: &[u8], out: &mut Vec<u8>) {
    // What of the bytes so far is not written yet is the lowest bits.
    let (mut window, mut bits) = (0_u16, 0);
    for byte in bytes {
        window = window << 8 | u16::from(*byte);
        bits += 8;
        while bits >= 7 {
            bits -= 7;
            out.push((window >> bits) as u8 & 0x7f);
        }
    }
    if bits > 0 {
        out.push((window << (7 - bits)) as u8 & 0x7f);
    }
}

fn unpack(packed: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(BYTES + KEY);
    let (mut window, mut bits) = (0_u16, 0);
    for septet in packed {
        if !septet.is_ascii() {
            return None;
        }
        window = window << 7 | u16::from(*septet);
        bits += 7;
        if bits >= 8 {
            bits -= 8;
            bytes.push((window >> bits) as u8);
        }
    }
    let padding = window & ((1 << bits) - 1);
    (padding == 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use proptest::prelude::*;

    use super::*;

    fn any_registration() -> impl Strategy<Value = Registration> {
        let digest = || proptest::array::uniform32(any::<u8>()).prop_map(Digest::from_bytes);
        let owner = "[a-zäß0-9.]{1,20}@[a-z]{1,20}\\.example(/[!-~é]{1,60})?";
        let owner = owner.prop_filter_map("a JID", |text| Jid::new(&text).ok());
        let times = (0..1_u64 << 48, 0..1_u64 << 40);
        (owner, digest(), digest(), times).prop_map(
            |(owner, application, instance, (issued, expires))| Registration {
                owner,
                application,
                instance,
                issued: Timestamp::from_millis(issued),
                expires: Timestamp::from_secs(expires),
            },
        )
    }

    fn any_key() -> impl Strategy<Value = Option<KeyHash>> {
        let key = proptest::array::uniform16(any::<u8>()).prop_map(KeyHash::from_bytes);
        proptest::option::of(key)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(registration in any_registration(), key in any_key()) {
            let message = String::from_utf8(write(&registration, key)).unwrap();
            let before = if key.is_some() { 105 } else { 87 };
            prop_assert_eq!(message.len(), before + registration.owner.as_str().len());
            prop_assert_eq!(read(&message), Some((registration, key)));
        }

        #[test]
        fn only_what_is_written_is_read(
            text in "[\u{1}\u{2}][\\x00-\\x7f]{80,110}[a-z]{0,3}@?[a-zä/]{0,9}",
        ) {
            if let Some((registration, key)) = read(&text) {
                let written = write(&registration, key);
                let before = if key.is_some() { 105 } else { 87 };
                prop_assert_eq!(&written[..before], &text.as_bytes()[..before]);
                prop_assert_eq!(Ok(registration.owner), Jid::new(&text[before..]));
            }
        }
    }

    const PACKED: usize = packed(BYTES);

    fn one() -> (Registration, String) {
        let registration = Registration {
            owner: Jid::new("romeo@example.org/orchard").unwrap(),
            application: Digest::from_bytes([1; 32]),
            instance: Digest::from_bytes([0xff; 32]),
            issued: Timestamp::from_millis(1_763_900_000_123),
            expires: Timestamp::from_secs(1_764_504_800),
        };
        let message = String::from_utf8(write(&registration, None)).unwrap();
        (registration, message)
    }

    /// Endpoints that were handed out long ago are opened still.
    #[test]
    fn a_message_is_what_it_always_was() {
        let (registration, message) = one();
        let start = "AQBAIBAIBAIBAEAgEAgEAgEAQCAQCAQCAQBAIBAIBAIBAEAgEA9/f39/f39/f39/f39/f39/f39/\
                     f39/f39/f39/f39/f39/f39AMysFCA57ABolQycA";
        let owner = "cm9tZW9AZXhhbXBsZS5vcmcvb3JjaGFyZA==";
        assert_eq!(STANDARD.encode(message), format!("{start}{owner}"));
        let key = KeyHash::from_bytes(std::array::from_fn(|byte| byte as u8));
        let with_key = STANDARD.encode(write(&registration, Some(key)));
        let start = start.replacen("AQ", "Ag", 1);
        assert_eq!(with_key, format!("{start}AAEBAGBAKBgOCARCQTBgNBwP{owner}"));
    }

    #[test]
    fn nothing_short_or_of_another_version_is_read() {
        let (registration, message) = one();
        assert_eq!(read(&message), Some((registration.clone(), None)));
        for end in 0..=1 + PACKED {
            assert_eq!(read(&message[..end]), None, "{end}");
        }
        let key = Some(KeyHash::from_bytes([0xff; 16]));
        let with_key = String::from_utf8(write(&registration, key)).unwrap();
        assert_eq!(read(&with_key), Some((registration, key)));
        for end in 0..=1 + packed(BYTES + KEY) {
            assert_eq!(read(&with_key[..end]), None, "{end}");
        }
        for version in (0..=0x7f).filter(|version| ![1, 2].contains(version)) {
            let other = format!("{}{}", char::from(version), &message[1..]);
            assert_eq!(read(&other), None, "{version}");
        }
    }

    #[test]
    fn the_padding_is_zero_and_the_packed_part_is_ascii() {
        let (_, message) = one();
        let with = |index: usize, byte: u8| {
            let mut bytes = message.clone().into_bytes();
            bytes[index] = byte;
            String::from_utf8(bytes).unwrap()
        };
        let last = message.as_bytes()[PACKED];
        assert_eq!(last & 0b11, 0);
        assert_eq!(read(&with(PACKED, last | 1)), None);
        assert_eq!(read(&with(PACKED, last | 2)), None);
        assert_eq!(read(&message.replacen(&message[5..7], "ä", 1)), None);
    }

    #[test]
    fn a_time_that_does_not_fit_is_the_last_that_does() {
        let (registration, _) = one();
        let far = Registration {
            issued: Timestamp::from_millis(u64::MAX),
            expires: Timestamp::from_millis(u64::MAX),
            ..registration
        };
        let read = read(&String::from_utf8(write(&far, None)).unwrap());
        let (read, _) = read.unwrap();
        assert_eq!(read.issued.as_millis(), (1 << 48) - 1);
        assert!(read.expires.as_secs() > 1 << 39);
    }
}
