use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::model::{
    message::{Hold, MessageId, MessageKey, Urgency},
    payload::Payload,
    registration::Digest,
};

const URGENCIES: [Urgency; 4] = [
    Urgency::VeryLow,
    Urgency::Low,
    Urgency::Normal,
    Urgency::High,
];

fn at(secs: u64) -> Timestamp {
    Timestamp::from_secs(secs)
}

fn registration(issued: u64) -> Registration {
    Registration {
        owner: Jid::new("romeo@example.org/orchard").unwrap(),
        application: Digest::from_bytes([1; 32]),
        instance: Digest::from_bytes([2; 32]),
        issued: at(issued),
        expires: at(issued + 1000),
    }
}

fn asked_for(now: u64, limit: u32) -> NewRegistration {
    NewRegistration {
        registration: registration(now),
        signer: None,
        key: KeyId::from_bytes([1; 8]),
        generation: Generation::from_bytes([1; 16]),
        id: TokenHash::from_bytes([1; 32]),
        limit,
        live_until: at(now + 1000),
    }
}

fn message(urgency: Urgency, arrived: u64, len: usize) -> NewMessage {
    NewMessage {
        key: MessageKey::from_bytes([1; 16]),
        id: MessageId::from_bytes([2; 16]),
        registration: registration(0),
        topic: None,
        urgency,
        payload: Payload::new(Bytes::from(vec![b'x'; len])).unwrap(),
        arrived: at(arrived),
        expires: at(9999),
        sent: None,
        hold: Hold::Free,
        try_at: at(arrived),
    }
}

prop_compose! {
    fn row()(urgency in 0..4_u8, arrived in 0..50_u64, size in 512..5000_u64) -> Leaving {
        Leaving { number: 0, urgency, arrived: at(arrived), size }
    }
}

/// An endpoint's messages, as they would leave.
fn waiting() -> impl Strategy<Value = Vec<Leaving>> {
    proptest::collection::vec(row(), 0..8).prop_map(|mut rows| {
        rows.sort_by_key(|row| (row.urgency, row.arrived));
        for (number, row) in (1..).zip(&mut rows) {
            row.number = number;
        }
        rows
    })
}

proptest! {
    #[test]
    fn after_a_message_no_cap_is_passed_and_no_more_urgent_one_has_left(
        rows in waiting(),
        elsewhere in 0..8_u64,
        per_endpoint in 0..9_u32,
        per_account in 0..16_u32,
        urgency in proptest::sample::select(URGENCIES.to_vec()),
    ) {
        let message = message(urgency, 100, 10);
        let caps = Caps { per_endpoint, per_account, bytes: u64::MAX };
        let of_endpoint = rows.len() as u64;
        let there = There { of_account: of_endpoint + elsewhere, of_endpoint };
        let excess = excess(there, caps) as usize;
        let least: Vec<_> = rows.iter().take(excess).cloned().collect();
        let rank = urgency.rank();
        match make_room(&message, there, caps, least) {
            Ok(room) => {
                let left = room.leaving.len();
                prop_assert!(rows.len() - left < per_endpoint as usize);
                // None leaves without need.
                prop_assert!(left == 0 || rows.len() - left + 1 == per_endpoint as usize);
                prop_assert!(left > 0 || there.of_account < u64::from(per_account));
                prop_assert!(room.leaving.iter().all(|row| row.urgency <= rank));
                prop_assert_eq!(room.stored(None), Enqueued::Stored {
                    replaced: 0,
                    evicted: left as u32,
                    redirected: None,
                });
            }
            Err(Enqueued::AccountFull) => {
                prop_assert!(rows.len() < per_endpoint as usize);
                prop_assert!(there.of_account >= u64::from(per_account));
            }
            Err(Enqueued::Outranked) => {
                let less_urgent = rows.iter().filter(|row| row.urgency <= rank).count();
                prop_assert!(less_urgent < excess);
            }
            Err(other) => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn of_one_topic_the_message_that_arrived_last_stays(
        earlier in row(),
        arrived in 0..50_u64,
        wait in 0..50_u64,
    ) {
        let now = at(arrived + wait);
        let replaced = replace(&message(Urgency::VeryLow, arrived, 1), earlier.clone(), now);
        // What has yet to arrive was dated by a clock that has been set back since.
        if earlier.arrived > at(arrived) && earlier.arrived <= now {
            prop_assert_eq!(replaced, Err(Enqueued::Superseded));
        } else {
            let room = replaced.unwrap();
            prop_assert_eq!(&room.leaving, &vec![earlier]);
            prop_assert_eq!(room.stored(None), Enqueued::Stored {
                replaced: 1,
                evicted: 0,
                redirected: None,
            });
        }
    }

    #[test]
    fn bytes_are_counted_without_those_that_leave(
        leaving in waiting(),
        others in 0..10_000_u64,
        len in 1..4096_usize,
        spare in 0..3_u64,
    ) {
        let freed: u64 = leaving.iter().map(|row| row.size).sum();
        let message = message(Urgency::High, 0, len);
        let room = Room { leaving, replaced: 0, evicted: 0 };
        let needed = others + MESSAGE_OVERHEAD + len as u64;
        let caps = |bytes| Caps { per_endpoint: 1, per_account: 1, bytes };
        prop_assert!(room.fits(&message, others + freed, caps(needed + spare)));
        prop_assert!(!room.fits(&message, others + freed, caps(needed - spare - 1)));
    }

    #[test]
    fn what_is_issued_is_not_revoked(now in 0..100_u64, revoked in proptest::option::of(0..100_u64)) {
        let revoked = revoked.map(at);
        let issued = issue_time(&registration(now), revoked);
        prop_assert!(issued >= at(now));
        let registration = Registration { issued, ..registration(0) };
        prop_assert!(!is_revoked(&registration, revoked));
        prop_assert_eq!(is_revoked(&registration, Some(issued)), true);
    }

    #[test]
    fn a_row_is_renewed_under_its_own_secret_only_and_never_for_less(
        expires in 0..3000_u64,
        same_key: bool,
        is_live: bool,
        held in 0..4_u64,
        limit in 0..4_u32,
    ) {
        let live = Live {
            id: TokenHash::from_bytes([7; 32]),
            key: KeyId::from_bytes(if same_key { [1; 8] } else { [2; 8] }),
            generation: Generation::from_bytes([7; 16]),
            expires: at(expires),
        };
        let new = asked_for(500, limit);
        match register(&new, is_live.then_some(live), held) {
            Registering::Renew(row) => {
                prop_assert!(is_live && same_key);
                prop_assert!(row.id == live.id && row.generation == live.generation);
                prop_assert_eq!(row.expires, at(expires.max(1500)));
            }
            Registering::Make => {
                let may = if is_live { !same_key } else { held < u64::from(limit) };
                prop_assert!(may);
            }
            Registering::TooMany => prop_assert!(!is_live && held >= u64::from(limit)),
        }
    }

    #[test]
    fn a_revocation_outlives_every_token_and_never_grows_narrower(
        min_until in 0..100_u64,
        latest in proptest::option::of(0..100_u64),
        held in REVOCATIONS_PER_OWNER - 2..REVOCATIONS_PER_OWNER + 2,
        whole: bool,
    ) {
        let key = registration(0).key();
        let owner = Scope::Owner(key.owner.clone());
        let scope = if whole { owner.clone() } else { Scope::Registration(key) };
        let revocation = widen(scope.clone(), at(7), at(min_until), latest.map(at), held);
        prop_assert_eq!(revocation.at, at(7));
        prop_assert_eq!(revocation.until, at(min_until.max(latest.unwrap_or(0))));
        let wide = whole || held >= REVOCATIONS_PER_OWNER;
        prop_assert_eq!(revocation.scope, if wide { owner } else { scope });
    }
}

#[test]
fn a_row_that_ends_within_a_minute_is_not_renewed() {
    assert_eq!(renewable_after(at(5)), at(65));
}
