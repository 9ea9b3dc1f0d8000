mod clock;
mod forgery;
mod grace;
mod peers;
mod storage;

use std::fs;

use jid::Jid;
use tempfile::TempDir;

use super::{issue::NOTE_AHEAD, *};
use crate::{
    model::{random::SystemRandom, registration::Digest, secret::Secret, time::ManualClock},
    store::{Issuer, Sizes},
};

const NOW: Timestamp = Timestamp::from_millis(1_763_900_000_123);
const WEEK: Duration = Duration::from_secs(7 * 86400);
const BACKENDS: [Backend; 3] = [Backend::Paseto, Backend::Jwt, Backend::Storage];

/// What the vectors below rest on.
fn secret() -> Secret {
    Secret::new("0123456789abcdef0123456789abcdef")
}

struct Rig {
    dir: TempDir,
    clock: Arc<ManualClock>,
    tokens: Tokens,
}

impl Rig {
    async fn new(backend: Backend) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let clock = Arc::new(ManualClock::new(NOW));
        let tokens = with(&store, &clock, backend, Keyring::new(&secret(), &[])).await;
        Self { dir, clock, tokens }
    }

    /// The same store and clock with other secrets.
    async fn rotated(&self, backend: Backend, keyring: Keyring) -> Tokens {
        with(&self.tokens.0.store, &self.clock, backend, keyring).await
    }

    async fn issue(&self) -> String {
        issue(&self.tokens, "romeo@example.org/orchard", 1).await
    }

    async fn issuers(&self) -> Vec<Issuer> {
        self.tokens.0.store.issuers().await.unwrap()
    }
}

async fn with(store: &Store, clock: &Arc<ManualClock>, backend: Backend, keys: Keyring) -> Tokens {
    limited(store, clock, backend, keys, 100_000).await
}

async fn limited(
    store: &Store,
    clock: &Arc<ManualClock>,
    backend: Backend,
    keys: Keyring,
    registrations_per_jid: u32,
) -> Tokens {
    let policy = Policy {
        backend,
        ttl: WEEK,
        grace: Duration::ZERO,
        registrations_per_jid,
    };
    let random = Arc::new(SystemRandom);
    Tokens::load(keys, policy, store.clone(), clock.clone(), random)
        .await
        .unwrap()
}

async fn issue(tokens: &Tokens, jid: &str, app: u8) -> String {
    let jid = Jid::new(jid).unwrap();
    let (application, instance) = (Digest::from_bytes([app; 32]), Digest::from_bytes([2; 32]));
    let issued = tokens
        .issue(&jid, application, instance, None)
        .await
        .unwrap();
    issued.token
}

/// What a token that lives was issued for.
async fn opened(tokens: &Tokens, token: &str) -> Registration {
    let endpoint = tokens.open(token).await.unwrap();
    Registration::clone(&endpoint.registration)
}

#[track_caller]
fn assert_forged(opened: Result<Endpoint, OpenError>) {
    assert!(matches!(opened, Err(OpenError::Forged)), "{opened:?}");
}

#[track_caller]
fn assert_dead(opened: Result<Endpoint, OpenError>) {
    assert!(matches!(opened, Err(OpenError::Dead)), "{opened:?}");
}

fn scope() -> Scope {
    Scope::Registration(RegistrationKey {
        owner: jid::BareJid::new("romeo@example.org").unwrap(),
        application: Digest::from_bytes([1; 32]),
        instance: Digest::from_bytes([2; 32]),
    })
}

#[tokio::test]
async fn a_token_says_what_was_registered_whatever_the_backend_is_now() {
    for backend in BACKENDS {
        let rig = Rig::new(backend).await;
        // With a resource as Bind 2 (XEP-0386) names it.
        let jid = Jid::new("romeo@example.org/Conversations~Nq/+Bk7zW0Tc").unwrap();
        let (application, instance) = (Digest::from_bytes([1; 32]), Digest::from_bytes([2; 32]));
        let issued = rig
            .tokens
            .issue(&jid, application, instance, None)
            .await
            .unwrap();
        let registration = Registration {
            owner: jid,
            application,
            instance,
            issued: NOW,
            // The fraction is gone: it is what the phone is told.
            expires: Timestamp::from_secs(1_763_900_000 + 7 * 86400),
        };
        assert_eq!(issued.registration, registration);
        for now in BACKENDS {
            let tokens = rig.rotated(now, Keyring::new(&secret(), &[])).await;
            assert_eq!(opened(&tokens, &issued.token).await, registration);
        }
    }
}

#[tokio::test]
async fn tokens_fit_an_endpoint_and_need_no_escaping() {
    for (backend, longest) in [
        (Backend::Paseto, 244),
        (Backend::Jwt, 480),
        (Backend::Storage, 43),
    ] {
        let token = Rig::new(backend).await.issue().await;
        assert!(token.len() <= longest, "{backend}: {}", token.len());
        let jid = "romeo@example.org/orchard".len();
        let foretold = length(backend, jid, &SystemRandom);
        assert!(foretold.abs_diff(token.len()) <= 2, "{backend}: {foretold}");
        let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        assert!(token.chars().all(plain), "{backend}");
    }
}

#[tokio::test]
async fn a_previous_secret_opens_but_never_issues() {
    let new = || Secret::new([8; 32]);
    for backend in BACKENDS {
        let rig = Rig::new(backend).await;
        let old = rig.issue().await;
        let rotated = rig
            .rotated(backend, Keyring::new(&new(), &[secret()]))
            .await;
        rotated.open(&old).await.unwrap();
        let fresh = issue(&rotated, "romeo@example.org/orchard", 1).await;
        assert_ne!(fresh, old);
        rotated.open(&old).await.unwrap();

        let only_new = rig.rotated(backend, Keyring::new(&new(), &[])).await;
        assert_eq!(only_new.inspect(&fresh).await.unwrap().key, new().id());
        assert_forged(only_new.open(&old).await);
        assert_forged(rig.tokens.open(&fresh).await);
    }
}

/// Made by `util.jwt.sign` of Prosody 0.12.3 with [`secret`].
const PROSODY_JWT: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpbnN0YW5jZSI6IkFnSUNBZ0lDQWdJQ0\
    FnSUNBZ0lDQWdJQ0FnSUNBZ0lDQWdJQ0FnSUNBZ0k9IiwiZXhwIjoxNzY0MDAwMDAwLCJzdWIiOiJyb21lb0BleGFtcGxlL\
    m9yZy9vcmNoYXJkIiwiYXBwbGljYXRpb24iOiJBUUVCQVFFQkFRRUJBUUVCQVFFQkFRRUJBUUVCQVFFQkFRRUJBUUVCQVFF\
    PSJ9.0SzTyG7UOgCx4H5kWsBbdP5NRn-VsLK3T3-OkeH82Zw";

#[tokio::test]
async fn a_token_of_prosodys_opens_with_its_secret() {
    let rig = Rig::new(Backend::Paseto).await;
    let previous = Keyring::new(&Secret::new([8; 32]), &[secret()]);
    let moved = rig.rotated(Backend::Storage, previous).await;
    for tokens in [&rig.tokens, &moved] {
        let opened = opened(tokens, PROSODY_JWT).await;
        let expected = Registration {
            owner: Jid::new("romeo@example.org/orchard").unwrap(),
            application: Digest::from_bytes([1; 32]),
            instance: Digest::from_bytes([2; 32]),
            issued: Timestamp::from_secs(0),
            expires: Timestamp::from_secs(1_764_000_000),
        };
        assert_eq!(opened, expected);
    }
    rig.tokens.revoke(scope(), NOW, NOW).await.unwrap();
    assert_dead(rig.tokens.open(PROSODY_JWT).await);
    rig.clock.advance(Duration::from_secs(100_000));
    assert_dead(moved.open(PROSODY_JWT).await);
}

/// Of the time when they were JSON, made at [`NOW`] with [`secret`].
const LONG_PASETO: &str = "v4.local.nDxVCGFVweb8_cmncMNPXtw4sxDzFEoczU8pv1-eHS2zjKtLrtO3CqDrRw3KATFg-WhiVXhoBn-r3pMt9JX\
    H9fd-IxLObA5suJqtXwIauR9n9SNxCkpueKb1cZ2IF7Gklkz6N0f6mI8iD2mje3OHuLMCihtAE6T8CieHWOqGhJPAmfT\
    lA3Z4WPPxDQK26SZHm9uLEHREXhmVfsXHWguXvN6MjvLn0F9Kndo05Uf2w2nkIpsMih6o1hprBW6w2Q9OtkTp2izRE6V\
    fIxmIvzdTl0WFVePM7-JO-9xNAsvwYrffFoBMvj5OtBpkDAYugfq4cfnjjljrewrM_CYM41EzzsgboLZRkyfGXcGXCEz\
    XY3nHiOX9PBbzQuZFkqc.eyJraWQiOiJXVEJfYkxDOFdVZyJ9";

#[tokio::test]
async fn an_older_paseto_opens() {
    let rig = Rig::new(Backend::Paseto).await;
    let expected = Registration {
        owner: Jid::new("romeo@example.org/orchard").unwrap(),
        application: Digest::from_bytes([1; 32]),
        instance: Digest::from_bytes([2; 32]),
        issued: NOW,
        expires: Timestamp::from_secs(1_763_900_000 + 7 * 86400),
    };
    let previous = Keyring::new(&Secret::new([8; 32]), &[secret()]);
    let rotated = rig.rotated(Backend::Storage, previous).await;
    for tokens in [&rig.tokens, &rotated] {
        assert_eq!(opened(tokens, LONG_PASETO).await, expected);
    }
    rig.tokens.revoke(scope(), NOW, NOW).await.unwrap();
    assert_dead(rig.tokens.open(LONG_PASETO).await);
}

#[tokio::test]
async fn a_revoked_token_is_dead_and_the_next_one_lives() {
    for backend in BACKENDS {
        let rig = Rig::new(backend).await;
        let token = rig.issue().await;
        rig.tokens.open(&token).await.unwrap();
        rig.tokens.revoke(scope(), NOW, NOW).await.unwrap();
        assert_dead(rig.tokens.open(&token).await);
        assert!(rig.tokens.inspect(&token).await.unwrap().revoked);
        // Within the same millisecond.
        let next = rig.issue().await;
        assert_ne!(next, token);
        rig.tokens.open(&next).await.unwrap();

        // A restart, and other registrations of the account, change nothing.
        let restarted = rig.rotated(backend, Keyring::new(&secret(), &[])).await;
        assert_dead(restarted.open(&token).await);
        restarted.open(&next).await.unwrap();
        let other = issue(&restarted, "romeo@example.org/orchard", 7).await;
        restarted.open(&other).await.unwrap();
    }
}

#[tokio::test]
async fn a_revocation_by_another_process_is_taken_over() {
    for backend in BACKENDS {
        let rig = Rig::new(backend).await;
        let token = rig.issue().await;
        rig.tokens.open(&token).await.unwrap();
        let cli = Store::open_existing(rig.dir.path()).unwrap();
        cli.revoke(scope(), NOW, NOW).await.unwrap();
        rig.tokens.refresh().await.unwrap();
        assert_dead(rig.tokens.open(&token).await);
        assert_eq!(rig.tokens.revocations(), 1);
    }
}

#[tokio::test]
async fn what_another_process_forgets_is_looked_up_again() {
    let rig = Rig::new(Backend::Storage).await;
    let token = rig.issue().await;
    rig.tokens.open(&token).await.unwrap();
    let cli = Store::open_existing(rig.dir.path()).unwrap();
    cli.forget_key(secret().id()).await.unwrap();
    rig.tokens.refresh().await.unwrap();
    assert_dead(rig.tokens.open(&token).await);
}

#[tokio::test]
async fn stateless_tokens_of_the_same_instant_differ() {
    for backend in [Backend::Paseto, Backend::Jwt] {
        let rig = Rig::new(backend).await;
        assert_ne!(rig.issue().await, rig.issue().await);
    }
}

#[tokio::test]
async fn issuing_is_recorded_before_and_once_a_day() {
    for backend in BACKENDS {
        let rig = Rig::new(backend).await;
        assert_eq!(rig.issuers().await, []);
        rig.issue().await;
        let first = rig.issuers().await;
        let expires = Timestamp::from_secs(1_763_900_000 + 7 * 86400);
        assert!(first[0].key == secret().id() && first[0].live_until >= expires);
        if backend == Backend::Storage {
            continue; // It writes anyway.
        }
        rig.clock.advance(Duration::from_secs(86_000));
        rig.issue().await;
        assert_eq!(rig.issuers().await, first);
        rig.clock.advance(Duration::from_secs(1000));
        rig.issue().await;
        assert!(rig.issuers().await[0].live_until > first[0].live_until);
    }
}

#[tokio::test]
async fn a_start_without_the_secret_of_living_endpoints_is_refused() {
    let rig = Rig::new(Backend::Paseto).await;
    rig.issue().await;
    let store = &rig.tokens.0.store;
    let (old, new) = (secret(), Secret::new([8; 32]));
    let rotated = Keyring::new(&new, std::slice::from_ref(&old));
    check_issuers(store, &rotated, NOW).await.unwrap();
    let without = Keyring::new(&new, &[]);
    let error = check_issuers(store, &without, NOW).await.unwrap_err();
    let text = error.to_string();
    for part in ["`previous_secrets`", &format!("forget-key {}`", old.id())] {
        assert!(text.contains(part), "{text}");
    }
    let later = NOW.saturating_add(WEEK + NOTE_AHEAD);
    check_issuers(store, &without, later).await.unwrap();
    store.forget_key(old.id()).await.unwrap();
    check_issuers(store, &without, NOW).await.unwrap();
}

#[tokio::test]
async fn no_bearer_lies_in_the_database() {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let rig = Rig::new(Backend::Storage).await;
    let token = rig.issue().await;
    let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
    let (name, tag) = bytes.split_at(20);
    let mut files = 0;
    for file in fs::read_dir(rig.dir.path()).unwrap() {
        let content = fs::read(file.unwrap().path()).unwrap();
        files += usize::from(content.windows(17).any(|w| w == b"romeo@example.org"));
        for part in [token.as_bytes(), name, tag, secret().as_bytes()] {
            assert!(!content.windows(part.len()).any(|window| window == part));
        }
    }
    assert!(files > 0, "looked at the wrong files");
}

#[tokio::test]
async fn debug_shows_no_bearer_and_no_secret() {
    let rig = Rig::new(Backend::Jwt).await;
    let jid = Jid::new("romeo@example.org/orchard").unwrap();
    let digest = Digest::from_bytes([1; 32]);
    let issued = rig.tokens.issue(&jid, digest, digest, None).await.unwrap();
    let shown = format!("{issued:?} {:?} {:?}", rig.tokens, rig.tokens.0.keyring);
    assert!(!shown.contains(&issued.token) && !shown.contains("0123456789"));
    let opened = opened(&rig.tokens, &issued.token).await;
    let digest = digest.to_base64();
    assert!(!format!("{opened:?}").contains(&digest));
}
