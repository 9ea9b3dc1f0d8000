use std::time::Duration;

use jid::{BareJid, Jid};
use tempfile::TempDir;

use super::{Sqlite as Store, *};
use crate::{
    model::{
        registration::{Digest, Registration},
        revocation::Scope,
        secret::KeyId,
        time::Timestamp,
    },
    store::{
        engine::Engine,
        registrations::{Found, Generation, Issuer, NewRegistration, TokenHash},
    },
};

const NOW: Timestamp = Timestamp::from_secs(1_764_000_000);
const WEEK: Duration = Duration::from_secs(7 * 86400);
const KEY: KeyId = KeyId::from_bytes([1; 8]);
const OTHER_KEY: KeyId = KeyId::from_bytes([2; 8]);

/// A connection to a database that is made if it is missing, and brought to the present schema.
pub fn connected(state_dir: &Path) -> Result<Connection, SqliteOpenError> {
    let path = state_dir::make(state_dir)?;
    let db = open::connect(&path)?;
    schema::migrate(&path, &db)?;
    Ok(db)
}

fn after(secs: u64) -> Timestamp {
    NOW.saturating_add(Duration::from_secs(secs))
}

/// `serial` makes the generation and the id that are offered; `app` the application.
fn new(jid: &str, app: u8, serial: u8, now: Timestamp) -> NewRegistration {
    NewRegistration {
        registration: Registration {
            owner: Jid::new(jid).unwrap(),
            application: Digest::from_bytes([app; 32]),
            instance: Digest::from_bytes([9; 32]),
            issued: now,
            expires: now.saturating_add(WEEK),
        },
        signer: None,
        key: KEY,
        generation: Generation::from_bytes([serial; 16]),
        id: TokenHash::from_bytes([serial; 32]),
        limit: 200,
        live_until: now.saturating_add(WEEK),
    }
}

fn romeo(serial: u8, now: Timestamp) -> NewRegistration {
    new("romeo@example.org/orchard", 1, serial, now)
}

fn scope() -> Scope {
    Scope::Registration(romeo(0, NOW).registration.key())
}

fn open() -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    (dir, store)
}

async fn found(store: &Store, serial: u8) -> Found {
    store
        .find(TokenHash::from_bytes([serial; 32]))
        .await
        .unwrap()
        .expect("a row")
}

#[tokio::test]
async fn a_restart_keeps_everything() {
    let (dir, store) = open();
    store.register(romeo(1, NOW)).await.unwrap();
    let revoked = store.revoke(scope(), after(1), NOW).await.unwrap();
    let owner = BareJid::new("juliet@example.org").unwrap();
    let at = after(2);
    let owner = store.revoke(Scope::Owner(owner), at, NOW).await.unwrap();
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert!(found(&store, 1).await.revoked);
    let kept = store.revocations().await.unwrap();
    assert!(
        kept.len() == 2 && kept.contains(&revoked.revocation) && kept.contains(&owner.revocation)
    );
    let issuer = Issuer {
        key: KEY,
        live_until: NOW.saturating_add(WEEK),
    };
    assert_eq!(store.issuers().await.unwrap(), [issuer]);
}

#[test]
fn a_directory_has_one_daemon_at_a_time() {
    let (dir, store) = open();
    let second = Store::open(dir.path());
    assert!(matches!(second, Err(SqliteOpenError::InUse { .. })));
    Store::open_existing(dir.path()).expect("the command line is let in");
    drop(store);
    Store::open(dir.path()).expect("the first one is gone");
}

#[tokio::test]
async fn what_has_expired_is_purged_and_its_space_given_back() {
    let (_dir, store) = open();
    let many = (0..1200_u32).map(|n| {
        let mut new = romeo(0, NOW);
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        new.registration.application = Digest::from_bytes(bytes);
        new.id = TokenHash::from_bytes(bytes);
        new.limit = 2000;
        store.register(new)
    });
    for registered in futures::future::join_all(many).await {
        // More than wait at once: some are told so.
        assert!(matches!(registered, Ok(_) | Err(StoreError::Busy)));
    }
    store.revoke(scope(), NOW, NOW).await.unwrap();
    let later = NOW.saturating_add(WEEK);
    let mut lasting = romeo(9, after(1));
    lasting.key = OTHER_KEY;
    lasting.live_until = after(1).saturating_add(WEEK);
    lasting.limit = 2000;
    store.register(lasting).await.unwrap();
    let page_count =
        |db: &Connection| db.query_row("PRAGMA page_count", [], |row| row.get::<_, i64>(0));
    let pages = store.reader.read(page_count).await.unwrap();
    assert!(store.sizes().await.unwrap().registrations > 1000);

    store.purge(later).await.unwrap();
    assert_eq!(store.sizes().await.unwrap().registrations, 1);
    assert!(
        store
            .find(TokenHash::from_bytes([9; 32]))
            .await
            .unwrap()
            .is_some()
    );
    assert_eq!(store.revocations().await.unwrap(), []);
    assert_eq!(store.issuers().await.unwrap()[0].key, OTHER_KEY);
    assert!(store.reader.read(page_count).await.unwrap() < pages / 2);
}

#[tokio::test]
async fn another_process_may_work_on_the_same_files() {
    let (dir, daemon) = open();
    let cli = Store::open_existing(dir.path()).unwrap();
    daemon.register(romeo(1, NOW)).await.unwrap();
    // Its own work is no news.
    assert_eq!(daemon.revocations_if_changed().await.unwrap(), None);

    let revoked = cli.revoke(scope(), after(1), NOW).await.unwrap();
    let news = daemon.revocations_if_changed().await.unwrap();
    assert_eq!(news, Some(vec![revoked.revocation]));
    assert_eq!(daemon.revocations_if_changed().await.unwrap(), None);
    assert!(found(&daemon, 1).await.revoked);
    daemon.ping().await.unwrap();
}
