//! Registrations, and the secrets that issued tokens.

use std::time::Duration;

use jid::BareJid;
use testbed::tests;
use unified_push::{
    model::{
        registration::{Digest, Registration},
        revocation::Scope,
        secret::KeyId,
        time::Timestamp,
        vapid::KeyHash,
    },
    store::{Found, Generation, NewRegistration, Owned, Registered, Store, TokenHash},
};

use crate::{
    Test,
    messages::{BALCONY, NOW, ORCHARD, after, full},
};

pub const WEEK: Duration = Duration::from_secs(7 * 86_400);
const KEY: KeyId = KeyId::from_bytes([1; 8]);
const OTHER_KEY: KeyId = KeyId::from_bytes([2; 8]);

pub fn tests() -> Vec<Test> {
    tests![
        &registering_again_keeps_the_row_and_renews_it,
        the_newest_registration_decides_who_may_sign,
        a_shorter_ttl_takes_nothing_back,
        another_app_phone_or_account_gets_its_own_row,
        what_has_expired_never_comes_back,
        a_registration_that_is_about_to_end_gets_a_new_url,
        a_new_secret_gets_a_new_row_beside_the_old_one,
        an_account_holds_so_many_and_no_more,
        what_was_renewed_longest_ago_is_told,
        what_has_expired_is_purged,
        an_issuer_lives_as_long_as_the_latest_of_its_tokens,
        a_forgotten_key_takes_its_registrations_along,
        accounts_are_listed_with_what_they_hold,
        what_is_imported_is_kept_once_and_beside_what_is_registered_here,
    ]
}

pub fn hash(serial: u8) -> TokenHash {
    TokenHash::from_bytes([serial; 32])
}

/// `serial` makes the generation and the id that are offered; `app` the application.
pub fn new(jid: &str, app: u8, serial: u8, now: Timestamp) -> NewRegistration {
    NewRegistration {
        registration: Registration {
            owner: full(jid),
            application: Digest::from_bytes([app; 32]),
            instance: Digest::from_bytes([9; 32]),
            issued: now,
            expires: now.saturating_add(WEEK),
        },
        signer: None,
        key: KEY,
        generation: Generation::from_bytes([serial; 16]),
        id: hash(serial),
        limit: 200,
        live_until: now.saturating_add(WEEK),
    }
}

pub fn romeo(serial: u8, now: Timestamp) -> NewRegistration {
    new(ORCHARD, 1, serial, now)
}

/// Of [`romeo`]'s.
pub fn scope() -> Scope {
    Scope::Registration(romeo(0, NOW).registration.key())
}

pub fn stored(serial: u8, expires: Timestamp) -> Registered {
    Registered::Stored {
        generation: Generation::from_bytes([serial; 16]),
        expires,
    }
}

pub async fn found(store: &Store, serial: u8) -> Found {
    store.find(hash(serial)).await.unwrap().expect("a row")
}

async fn registering_again_keeps_the_row_and_renews_it(store: &Store) {
    let first = store.register(romeo(1, NOW)).await.unwrap();
    assert_eq!(first, stored(1, NOW.saturating_add(WEEK)));

    let again = new("romeo@example.org/balcony", 1, 2, after(60));
    let wanted = again.registration.clone();
    let kept = store.register(again).await.unwrap();
    assert_eq!(kept, stored(1, wanted.expires));
    assert_eq!(found(store, 1).await.registration, wanted);
    assert_eq!(store.find(hash(2)).await.unwrap(), None);
}

async fn the_newest_registration_decides_who_may_sign(store: &Store) {
    let key = |byte| Some(KeyHash::from_bytes([byte; 16]));
    for (serial, signer) in [(1, None), (2, key(1)), (3, key(2)), (4, None), (5, key(1))] {
        let mut new = romeo(serial, after(serial.into()));
        new.signer = signer;
        store.register(new).await.unwrap();
        assert_eq!(found(store, 1).await.signer, signer, "{serial}");
    }
    let mut other = new("juliet@example.org/x", 1, 9, NOW);
    other.signer = key(3);
    store.register(other).await.unwrap();
    assert_eq!(found(store, 9).await.signer, key(3));
}

async fn a_shorter_ttl_takes_nothing_back(store: &Store) {
    store.register(romeo(1, NOW)).await.unwrap();
    let mut short = romeo(2, after(60));
    short.registration.expires = after(120);
    let kept = store.register(short).await.unwrap();
    assert_eq!(kept, stored(1, NOW.saturating_add(WEEK)));
}

async fn another_app_phone_or_account_gets_its_own_row(store: &Store) {
    store.register(romeo(1, NOW)).await.unwrap();
    let app = new("romeo@example.org/orchard", 2, 2, NOW);
    let account = new("juliet@example.org/orchard", 1, 3, NOW);
    let mut phone = romeo(4, NOW);
    phone.registration.instance = Digest::from_bytes([8; 32]);
    for (serial, new) in [(2, app), (3, account), (4, phone)] {
        let expires = new.registration.expires;
        assert_eq!(store.register(new).await.unwrap(), stored(serial, expires));
    }
}

async fn what_has_expired_never_comes_back(store: &Store) {
    store.register(romeo(1, NOW)).await.unwrap();
    let then = NOW.saturating_add(WEEK);
    let fresh = store.register(romeo(2, then)).await.unwrap();
    assert_eq!(fresh, stored(2, then.saturating_add(WEEK)));
}

async fn a_registration_that_is_about_to_end_gets_a_new_url(store: &Store) {
    let end = NOW.saturating_add(WEEK);
    let [early, late] = [3600, 60].map(|left| Timestamp::from_secs(end.as_secs() - left));
    let juliet = |serial, now| new(BALCONY, 1, serial, now);
    store.register(romeo(1, NOW)).await.unwrap();
    store.register(juliet(3, NOW)).await.unwrap();
    let early = store.register(romeo(2, early)).await.unwrap();
    assert!(
        matches!(early, Registered::Stored { generation, .. } if generation == Generation::from_bytes([1; 16]))
    );
    let late = store.register(juliet(4, late)).await.unwrap();
    assert!(
        matches!(late, Registered::Stored { generation, .. } if generation == Generation::from_bytes([4; 16]))
    );
}

async fn a_new_secret_gets_a_new_row_beside_the_old_one(store: &Store) {
    store.register(romeo(1, NOW)).await.unwrap();
    let rotated = |serial, now| NewRegistration {
        key: OTHER_KEY,
        limit: 2,
        ..romeo(serial, now)
    };
    let fresh = store.register(rotated(2, after(1))).await.unwrap();
    assert_eq!(fresh, stored(2, after(1).saturating_add(WEEK)));
    assert!(!found(store, 1).await.revoked);
    let kept = store.register(rotated(3, after(2))).await.unwrap();
    assert_eq!(kept, stored(2, after(2).saturating_add(WEEK)));

    // The limit counts registrations, not their rows.
    let mut second = new("romeo@example.org/orchard", 2, 4, after(3));
    second.limit = 2;
    assert_ne!(store.register(second).await.unwrap(), Registered::TooMany);
}

async fn an_account_holds_so_many_and_no_more(store: &Store) {
    let limited = |app, now| NewRegistration {
        limit: 2,
        ..new("romeo@example.org/orchard", app, app, now)
    };
    store.register(limited(1, NOW)).await.unwrap();
    store.register(limited(2, NOW)).await.unwrap();
    let third = store.register(limited(3, NOW)).await.unwrap();
    assert_eq!(third, Registered::TooMany);
    assert_eq!(store.find(hash(3)).await.unwrap(), None);

    // Renewing is no third one, and what is revoked or expired counts no more.
    let renewed = store.register(limited(1, after(1))).await.unwrap();
    assert_ne!(renewed, Registered::TooMany);
    store.revoke(scope(), after(2), NOW).await.unwrap();
    let third = store.register(limited(3, after(3))).await.unwrap();
    assert_ne!(third, Registered::TooMany);
    let later = after(4).saturating_add(WEEK);
    let fourth = store.register(limited(4, later)).await.unwrap();
    assert_ne!(fourth, Registered::TooMany);
}

async fn what_was_renewed_longest_ago_is_told(store: &Store) {
    let owner = BareJid::new("romeo@example.org").unwrap();
    let oldest = async |now| {
        let found = store.longest_unrenewed(&owner, now).await.unwrap();
        found.map(|found| (found.application.as_bytes()[0], found.issued))
    };
    assert_eq!(oldest(NOW).await, None);
    for app in [1, 2, 3] {
        let registration = new("romeo@example.org/orchard", app, app, after(app.into()));
        store.register(registration).await.unwrap();
    }
    let other = new("juliet@example.org/x", 1, 9, NOW);
    store.register(other).await.unwrap();
    assert_eq!(oldest(after(4)).await, Some((1, after(1))));
    let renewed = new("romeo@example.org/orchard", 1, 1, after(5));
    store.register(renewed).await.unwrap();
    assert_eq!(oldest(after(6)).await, Some((2, after(2))));

    // Of a registration under two keys the newer row counts.
    let rotated = NewRegistration {
        key: OTHER_KEY,
        ..new("romeo@example.org/orchard", 2, 4, after(7))
    };
    store.register(rotated).await.unwrap();
    assert_eq!(oldest(after(8)).await, Some((3, after(3))));
    let scope = Scope::Registration(new("romeo@example.org/x", 3, 3, NOW).registration.key());
    store.revoke(scope, after(8), after(8)).await.unwrap();
    assert_eq!(oldest(after(9)).await, Some((1, after(5))));
    assert_eq!(oldest(after(9).saturating_add(WEEK)).await, None);
}

async fn what_has_expired_is_purged(store: &Store) {
    for n in 0..700_u32 {
        let mut short = romeo(0, NOW);
        short.registration.owner = full(&format!("user{n}@example.org/x"));
        let mut id = *short.id.as_bytes();
        id[..4].copy_from_slice(&n.to_be_bytes());
        short.id = TokenHash::from_bytes(id);
        store.register(short).await.unwrap();
    }
    store.revoke(scope(), NOW, NOW).await.unwrap();
    let mut lasting = romeo(9, after(1));
    lasting.key = OTHER_KEY;
    lasting.live_until = after(1).saturating_add(WEEK);
    store.register(lasting).await.unwrap();
    assert_eq!(store.sizes().await.unwrap().registrations, 701);

    store.purge(NOW.saturating_add(WEEK)).await.unwrap();
    assert_eq!(store.sizes().await.unwrap().registrations, 1);
    assert!(store.find(hash(9)).await.unwrap().is_some());
    assert_eq!(store.revocations().await.unwrap(), []);
    assert_eq!(store.issuers().await.unwrap()[0].key, OTHER_KEY);
}

async fn an_issuer_lives_as_long_as_the_latest_of_its_tokens(store: &Store) {
    for secs in [10, 30, 20] {
        store.note_issuer(KEY, after(secs)).await.unwrap();
    }
    assert_eq!(store.issuers().await.unwrap()[0].live_until, after(30));
}

async fn a_forgotten_key_takes_its_registrations_along(store: &Store) {
    store.register(romeo(1, NOW)).await.unwrap();
    let other = NewRegistration {
        key: OTHER_KEY,
        ..new("juliet@example.org/x", 1, 2, NOW)
    };
    store.register(other).await.unwrap();
    assert_eq!(store.forget_key(KEY).await.unwrap(), Some(1));
    assert_eq!(store.find(hash(1)).await.unwrap(), None);
    assert!(store.find(hash(2)).await.unwrap().is_some());
    assert_eq!(store.issuers().await.unwrap()[0].key, OTHER_KEY);
    assert_eq!(store.forget_key(KEY).await.unwrap(), None);
}

async fn accounts_are_listed_with_what_they_hold(store: &Store) {
    store.register(romeo(1, NOW)).await.unwrap();
    let second = new("romeo@example.org/x", 2, 2, after(5));
    store.register(second).await.unwrap();
    let juliet = new("juliet@example.org/x", 1, 3, NOW);
    store.register(juliet).await.unwrap();
    let listed = store.owners(after(6)).await.unwrap();
    let romeo = BareJid::new("romeo@example.org").unwrap();
    assert_eq!(listed[0].owner.as_str(), "juliet@example.org");
    assert_eq!(
        listed[1],
        Owned {
            owner: romeo.clone(),
            registrations: 2,
            last_registered: after(5),
            latest_expiry: after(5).saturating_add(WEEK),
        }
    );
    let later = after(6).saturating_add(WEEK);
    assert_eq!(store.owners(later).await.unwrap(), []);
}

async fn what_is_imported_is_kept_once_and_beside_what_is_registered_here(store: &Store) {
    let former = |jid: &str, serial: u8, expires: Timestamp| NewRegistration {
        registration: Registration {
            issued: Timestamp::from_secs(0),
            expires,
            ..new(jid, 1, serial, NOW).registration
        },
        key: OTHER_KEY,
        live_until: expires,
        ..new(jid, 1, serial, NOW)
    };
    let week = NOW.saturating_add(WEEK);
    let first = vec![former(ORCHARD, 1, week), former(BALCONY, 2, after(60))];
    assert_eq!(store.import(first.clone()).await.unwrap(), 2);
    let again = [first, vec![former(ORCHARD, 3, after(60))]].concat();
    assert_eq!(store.import(again).await.unwrap(), 1);
    assert_eq!(found(store, 1).await.registration.expires, week);
    let issuers = store.issuers().await.unwrap();
    assert_eq!(issuers.len(), 1);
    assert!(issuers[0].key == OTHER_KEY && issuers[0].live_until == week);

    // The phone registers here, under our own key.
    assert_eq!(
        store.register(romeo(4, NOW)).await.unwrap(),
        stored(4, week)
    );
    // What it knows no longer ends under both.
    store.revoke(scope(), NOW, NOW).await.unwrap();
    for serial in [1, 3, 4] {
        assert!(found(store, serial).await.revoked, "{serial}");
    }
    let known = store.import(vec![former(ORCHARD, 1, week)]).await.unwrap();
    assert!(known == 0 && found(store, 1).await.revoked);
}
