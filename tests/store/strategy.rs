//! Which operations are tried, and how often.

use proptest::{collection::vec, prelude::*, sample::select};
use unified_push::{model::message::Urgency, store::Caps};

use crate::operations::{ACCOUNTS, Arrival, OWNERS, Operation, Phone};

pub fn operation() -> impl Strategy<Value = Operation> {
    let owner = || select(&OWNERS[..]);
    let account = || select(&ACCOUNTS[..]);
    let phone = || {
        let parts = (owner(), 1..3_u8, 0..40_u64);
        parts.prop_map(|(owner, app, ago)| Phone { owner, app, ago })
    };
    let urgency = select(vec![
        Urgency::VeryLow,
        Urgency::Low,
        Urgency::Normal,
        Urgency::High,
    ]);
    let topic = proptest::option::of(select(&["mail", "news"][..]));
    let arrival = (
        phone(),
        topic,
        urgency,
        1..200_usize,
        0..20_u64,
        any::<bool>(),
        select(&[0, 0, 10, 30][..]),
        1..100_u64,
    );
    let arrival = arrival.prop_map(
        |(phone, topic, urgency, len, ago, sent, held, ttl)| Arrival {
            phone,
            topic,
            urgency,
            len,
            ago,
            sent,
            held,
            ttl,
        },
    );
    let caps = (1..5_u32, 1..8_u32, select(&[1500, 4000, 1 << 20][..]));
    let caps = caps.prop_map(|(per_endpoint, per_account, bytes)| Caps {
        per_endpoint,
        per_account,
        bytes,
    });
    let many = (vec(arrival.clone(), 2..8), caps.clone(), account());
    let many = many.prop_map(|(mut many, caps, account)| {
        for arrival in &mut many {
            let owners = OWNERS.iter().filter(|owner| owner.starts_with(account));
            let owners: Vec<_> = owners.collect();
            arrival.phone.owner = owners[arrival.len % owners.len()];
        }
        Operation::EnqueueMany(many, caps)
    });
    let serial = || 0..20_u32;
    let put_back = (serial(), 0..3_u16, owner(), 0..50_u64);
    let put_back = put_back.prop_map(|(serial, attempt, owner, held)| Operation::PutBack {
        serial,
        attempt,
        owner,
        held,
    });
    let claim = (owner(), 1..50_u64).prop_map(|(owner, lease)| Operation::Claim { owner, lease });
    let next = (
        proptest::option::weighted(0.3, serial()),
        owner(),
        1..50_u64,
    )
        .prop_map(|(done, owner, lease)| Operation::Next { done, owner, lease });
    let asked =
        (serial(), 0..3_u16).prop_map(|(serial, attempt)| Operation::Asked(serial, attempt));
    let release = (owner(), 0..60_u64).prop_map(|(owner, ago)| Operation::Release { owner, ago });
    let page = (proptest::option::of(owner()), 0..4_u32);
    let revoke_account = (account(), 0..40_u64);
    let revoke_account =
        revoke_account.prop_map(|(account, ago)| Operation::RevokeAccount { account, ago });
    prop_oneof![
        16 => (arrival, caps).prop_map(|(new, caps)| Operation::Enqueue(new, caps)),
        3 => many,
        8 => claim,
        8 => next,
        6 => (0..30_u64).prop_map(Operation::Wait),
        4 => put_back,
        3 => serial().prop_map(Operation::Acknowledge),
        3 => asked,
        3 => phone().prop_map(Operation::Redirect),
        2 => release,
        1 => page.prop_map(|(after, limit)| Operation::OwnersWaiting(after, limit)),
        1 => serial().prop_map(Operation::IsWaiting),
        1 => serial().prop_map(Operation::Cancel),
        1 => account().prop_map(Operation::DropWaiting),
        1 => phone().prop_map(Operation::RevokeRegistration),
        1 => revoke_account,
        1 => Just(Operation::Purge),
    ]
}
