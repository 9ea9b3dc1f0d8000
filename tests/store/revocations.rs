//! What is revoked: registrations, and the messages that wait for them.

use jid::BareJid;
use testbed::tests;
use unified_push::{
    model::{
        registration::{Digest, RegistrationKey},
        revocation::{Revocation, Scope},
    },
    store::{Enqueued, Store},
};

use crate::{
    Test,
    messages::*,
    registrations::{WEEK, found, hash, new, romeo, scope, stored},
};

pub fn tests() -> Vec<Test> {
    tests![
        &what_was_revoked_never_comes_back,
        a_revocation_spares_what_was_registered_after_its_instant,
        a_registration_lives_even_if_the_clock_was_set_back_behind_a_revocation,
        an_owners_revocation_covers_all_of_the_account,
        an_account_cannot_fill_the_list_with_revocations,
        an_account_cannot_fill_the_store_with_what_was_revoked,
        what_was_revoked_is_dropped,
        what_is_revoked_is_not_what_was_registered_again,
        what_was_revoked_meanwhile_is_not_stored,
    ]
}

async fn what_was_revoked_never_comes_back(store: &Store) {
    store.register(romeo(1, NOW)).await.unwrap();
    let revoked = store.revoke(scope(), after(1), NOW).await.unwrap();
    // Until the last token under any secret has expired.
    assert_eq!(revoked.revocation.until, NOW.saturating_add(WEEK));
    assert!(found(store, 1).await.revoked);

    let fresh = store.register(romeo(2, after(2))).await.unwrap();
    assert_eq!(fresh, stored(2, after(2).saturating_add(WEEK)));
    assert!(!found(store, 2).await.revoked);
}

async fn a_revocation_spares_what_was_registered_after_its_instant(store: &Store) {
    store.register(romeo(1, NOW)).await.unwrap();
    store.register(romeo(2, after(10))).await.unwrap();
    store.revoke(scope(), after(9), NOW).await.unwrap();
    assert!(!found(store, 1).await.revoked);
}

async fn a_registration_lives_even_if_the_clock_was_set_back_behind_a_revocation(store: &Store) {
    let owner = Scope::Owner(BareJid::new("romeo@example.org").unwrap());
    store.revoke(scope(), after(10), NOW).await.unwrap();
    store.revoke(owner, after(20), NOW).await.unwrap();
    store.register(romeo(1, NOW)).await.unwrap();
    let issued = found(store, 1).await.registration.issued;
    assert_eq!(issued.as_millis(), after(20).as_millis() + 1);
}

async fn an_owners_revocation_covers_all_of_the_account(store: &Store) {
    store.register(romeo(1, NOW)).await.unwrap();
    let second = new("romeo@example.org/x", 2, 2, NOW);
    store.register(second).await.unwrap();
    let juliet = new("juliet@example.org/x", 1, 3, NOW);
    store.register(juliet).await.unwrap();
    let owner = Scope::Owner(BareJid::new("romeo@example.org").unwrap());
    store.revoke(owner, after(1), NOW).await.unwrap();
    assert!(found(store, 1).await.revoked && found(store, 2).await.revoked);
    assert!(!found(store, 3).await.revoked);
}

async fn an_account_cannot_fill_the_list_with_revocations(store: &Store) {
    store.register(romeo(1, NOW)).await.unwrap();
    let key = |app: u16| {
        let mut application = [0xaa; 32];
        application[..2].copy_from_slice(&app.to_be_bytes());
        let key = romeo(0, NOW).registration.key();
        Scope::Registration(RegistrationKey {
            application: Digest::from_bytes(application),
            ..key
        })
    };
    let far = after(1).saturating_add(WEEK * 9);
    store.revoke(key(0), after(1), far).await.unwrap();
    for app in 1..1000 {
        store.revoke(key(app), after(1), NOW).await.unwrap();
    }
    assert!(!found(store, 1).await.revoked);
    let whole = store.revoke(key(1000), after(2), NOW).await.unwrap();
    assert!(matches!(whole.revocation.scope, Scope::Owner(_)));
    assert_eq!(
        whole.revocation.until, far,
        "as long as the longest that it takes in"
    );
    assert_eq!(store.revocations().await.unwrap(), [whole.revocation]);
    assert!(found(store, 1).await.revoked);
}

async fn an_account_cannot_fill_the_store_with_what_was_revoked(store: &Store) {
    let juliet = || new(BALCONY, 1, 255, NOW);
    store.register(juliet()).await.unwrap();
    let scope_of_juliet = Scope::Registration(juliet().registration.key());
    let revoke = |scope, at| store.revoke(scope, at, at.saturating_add(WEEK));
    revoke(scope_of_juliet, NOW).await.unwrap();
    let rounds = 150;
    for round in 1..=rounds {
        let at = after(2 * u64::from(round));
        store.register(romeo(round, at)).await.unwrap();
        revoke(scope(), at).await.unwrap();
    }
    let of_romeo = store.sizes().await.unwrap().registrations - 1;
    assert_eq!(of_romeo, 100);
    assert_eq!(store.find(hash(rounds - 100)).await.unwrap(), None);
    for serial in [rounds - 99, rounds, 255] {
        assert!(found(store, serial).await.revoked, "{serial}");
    }

    // A token of any of them is refused by what is known of revocations, as long as it would live.
    let revocations = store.revocations().await.unwrap();
    let of_romeo = |known: &&Revocation| known.scope == scope();
    let known = revocations.iter().find(of_romeo).expect("it is kept");
    let last = after(2 * u64::from(rounds));
    assert_eq!((known.at, known.until), (last, last.saturating_add(WEEK)));
    // What lives is not counted among them.
    let living = romeo(200, after(1000));
    store.register(living).await.unwrap();
    assert!(!found(store, 200).await.revoked);
}

async fn what_was_revoked_is_dropped(store: &Store) {
    let revoke = async |scope, at| store.revoke(scope, at, after(9999)).await.unwrap().dropped;
    put(store, message(1)).await;
    put(store, message(2)).await;
    put(store, message_to(ORCHARD, 2, 3)).await;
    put(store, message_to(BALCONY, 1, 4)).await;
    let mut later = message(5);
    later.registration.issued = after(1);
    put(store, later).await;
    let one = Scope::Registration(registration(ORCHARD, 1).key());
    assert_eq!(revoke(one.clone(), after(0)).await, 2);
    assert_eq!(revoke(one, after(0)).await, 0);
    let all = Scope::Owner(bare("romeo@example.org"));
    assert_eq!(revoke(all, after(1)).await, 2);
    assert_eq!(totals(store).await, (1, size(&message(4))));
    assert_eq!(drain(store, BALCONY, after(5)).await, keys(&[4]));
}

async fn what_is_revoked_is_not_what_was_registered_again(store: &Store) {
    store.register(romeo(1, NOW)).await.unwrap();
    // The same URL, for which a push is in flight since before.
    store.register(romeo(1, after(1))).await.unwrap();
    let scope = Scope::Registration(registration(ORCHARD, 1).key());
    store.revoke(scope, NOW, after(1000)).await.unwrap();
    let answer = store.enqueue(message(1), AMPLE, after(2)).await.unwrap();
    assert!(matches!(answer, Enqueued::Stored { .. }), "{answer:?}");
}

async fn what_was_revoked_meanwhile_is_not_stored(store: &Store) {
    let scope = Scope::Registration(registration(ORCHARD, 1).key());
    store.revoke(scope, NOW, after(9999)).await.unwrap();
    let answer = store.enqueue(message(1), AMPLE, NOW).await.unwrap();
    assert_eq!(answer, Enqueued::Revoked);
    put(store, message_to(ORCHARD, 2, 2)).await;
    let mut renewed = message(3);
    renewed.registration.issued = after(1);
    put(store, renewed).await;
    assert_eq!(totals(store).await.0, 2);
}
