//! What a PASETO token says about a registration, in as few bytes as that takes: senders have limits
//! on the length of an endpoint, and some are 500 bytes.
//!
//! | bytes | |
//! |---|---|
//! | 1 | the version, 1 |
//! | 86 | packed, seven bits to a byte: application, instance (32 bytes each), the date of issue (6, milliseconds), the expiry (5, seconds), two bits of zero |
//! | the rest | the full JID |
//!
//! Packed, because PASETO's messages are UTF-8, and base64 would be longer. Numbers are big-endian.

use jid::Jid;

use crate::model::{
    registration::{Digest, Registration},
    time::Timestamp,
};

const VERSION: u8 = 1;
const BYTES: usize = 32 + 32 + 6 + 5;
const PACKED: usize = (BYTES * 8).div_ceil(7);

/// Times that do not fit, in the year 10889 and in the year 36812, become the last that does.
pub(super) fn write(registration: &Registration) -> Vec<u8> {
    let issued = registration.issued.as_millis().min((1 << 48) - 1);
    let expires = registration.expires.as_secs().min((1 << 40) - 1);
    let mut bytes = [0; BYTES];
    bytes[..32].copy_from_slice(registration.application.as_bytes());
    bytes[32..64].copy_from_slice(registration.instance.as_bytes());
    bytes[64..70].copy_from_slice(&issued.to_be_bytes()[2..]);
    bytes[70..].copy_from_slice(&expires.to_be_bytes()[3..]);
    let owner = registration.owner.as_str().as_bytes();
    let mut message = Vec::with_capacity(1 + PACKED + owner.len());
    message.push(VERSION);
    pack(&bytes, &mut message);
    message.extend_from_slice(owner);
    message
}

/// None for anything that [`write`] does not make of a registration.
pub(super) fn read(message: &str) -> Option<Registration> {
    let (version, rest) = message.as_bytes().split_first()?;
    if *version != VERSION {
        return None;
    }
    let bytes = unpack(rest.first_chunk()?)?;
    let owner = message.get(1 + PACKED..)?;
    let (application, rest) = bytes.split_first_chunk()?;
    let (instance, rest) = rest.split_first_chunk()?;
    let (issued, expires) = rest.split_at_checked(6)?;
    Some(Registration {
        owner: Jid::new(owner).ok()?,
        application: Digest::from_bytes(*application),
        instance: Digest::from_bytes(*instance),
        issued: Timestamp::from_millis(number(issued)),
        expires: Timestamp::from_secs(number(expires)),
    })
}

fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn pack(bytes: &[u8; BYTES], out: &mut Vec<u8>) {
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
    out.push((window << (7 - bits)) as u8 & 0x7f);
}

fn unpack(packed: &[u8; PACKED]) -> Option<[u8; BYTES]> {
    let mut bytes = [0; BYTES];
    let mut filled = bytes.iter_mut();
    let (mut window, mut bits) = (0_u16, 0);
    for septet in packed {
        if !septet.is_ascii() {
            return None;
        }
        window = window << 7 | u16::from(*septet);
        bits += 7;
        if bits >= 8 {
            bits -= 8;
            *filled.next()? = (window >> bits) as u8;
        }
    }
    let padding = window & ((1 << bits) - 1);
    (padding == 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
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

    proptest! {
        #[test]
        fn what_is_written_is_read(registration in any_registration()) {
            let message = String::from_utf8(write(&registration)).unwrap();
            prop_assert_eq!(message.len(), 87 + registration.owner.as_str().len());
            prop_assert_eq!(read(&message), Some(registration));
        }

        #[test]
        fn only_what_is_written_is_read(text in "\u{1}[\\x00-\\x7f]{80,90}[a-z]{0,3}@?[a-zä/]{0,9}") {
            if let Some(registration) = read(&text) {
                let written = write(&registration);
                prop_assert_eq!(&written[..87], &text.as_bytes()[..87]);
                prop_assert_eq!(Ok(registration.owner), Jid::new(&text[87..]));
            }
        }
    }

    fn one() -> (Registration, String) {
        let registration = Registration {
            owner: Jid::new("romeo@example.org/orchard").unwrap(),
            application: Digest::from_bytes([1; 32]),
            instance: Digest::from_bytes([0xff; 32]),
            issued: Timestamp::from_millis(1_763_900_000_123),
            expires: Timestamp::from_secs(1_764_504_800),
        };
        let message = String::from_utf8(write(&registration)).unwrap();
        (registration, message)
    }

    #[test]
    fn nothing_short_or_of_another_version_is_read() {
        let (registration, message) = one();
        assert_eq!(read(&message), Some(registration));
        for end in 0..=1 + PACKED {
            assert_eq!(read(&message[..end]), None, "{end}");
        }
        for version in (0..=0x7f).filter(|version| *version != VERSION) {
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
        let read = read(&String::from_utf8(write(&far)).unwrap()).unwrap();
        assert_eq!(read.issued.as_millis(), (1 << 48) - 1);
        assert!(read.expires.as_secs() > 1 << 39);
    }
}
