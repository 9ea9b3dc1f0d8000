//! The endpoints of the servers that people move from: those that the real ones have minted
//! (tests/peers.sh) open, and nothing else does.

use std::{env, os::unix::fs::symlink, path::Path};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;

use super::*;

/// What a server has given to a phone.
#[derive(Deserialize)]
struct Minted {
    kind: String,
    server: String,
    endpoint: String,
    /// As the server writes it; of `prosody-storage`, the file of this registration.
    key: String,
    /// Of that file.
    name: Option<String>,
    owner: String,
    application: String,
    instance: String,
    /// Seconds, as the phone was told.
    expires: u64,
}

fn all() -> Vec<Minted> {
    let text = match env::var_os("UNIFIED_PUSH_PEERS") {
        Some(path) => fs::read_to_string(path).unwrap(),
        None => include_str!("peers.json").to_owned(),
    };
    let minted: Vec<Minted> = serde_json::from_str(&text).unwrap();
    assert!(minted.len() >= 7);
    minted
}

/// Those that need no import.
fn with_keys() -> Vec<(Peer, Minted)> {
    let peer = |kind: &str| {
        let mut peers = Peer::WITH_KEY.into_iter();
        peers.find(|peer| peer.to_string() == kind)
    };
    let minted = all().into_iter();
    minted
        .filter_map(|minted| Some((peer(&minted.kind)?, minted)))
        .collect()
}

impl Minted {
    fn token(&self) -> &str {
        self.endpoint.rsplit('/').next().unwrap()
    }

    fn import(&self, peer: Peer) -> Import {
        Import::new(peer, self.key.as_bytes()).unwrap()
    }

    fn registration(&self) -> Registration {
        Registration {
            owner: Jid::new(&self.owner).unwrap(),
            application: Digest::parse(Some(&self.application)).unwrap(),
            instance: Digest::parse(Some(&self.instance)).unwrap(),
            issued: Timestamp::from_secs(0),
            expires: Timestamp::from_secs(self.expires),
        }
    }
}

fn importing(imports: Vec<Import>) -> Keyring {
    Keyring::new(&secret(), &[]).with_imports(imports)
}

/// What a token stands for, but for the date of issue, which some of them carry.
async fn opened_undated(tokens: &Tokens, token: &str) -> Registration {
    Registration {
        issued: Timestamp::from_secs(0),
        ..opened(tokens, token).await
    }
}

/// A data directory as Prosody leaves it.
fn data_of(minted: &Minted, directory: &Path) {
    let store = directory.join("up%2eexample%2eorg/unified_push");
    fs::create_dir_all(&store).unwrap();
    fs::write(store.join(minted.name.as_ref().unwrap()), &minted.key).unwrap();
    // Of the back end paseto, and what a crash of Prosody leaves.
    fs::write(store.join("%5fprivate.dat"), "return {\n}\n").unwrap();
    fs::write(store.join("half.dat~"), "return {").unwrap();
}

#[tokio::test]
async fn what_the_real_servers_have_minted_opens_with_their_keys() {
    let rig = Rig::new(Backend::Paseto).await;
    let minted = with_keys();
    let every = minted.iter().map(|(peer, minted)| minted.import(*peer));
    let tokens = rig
        .rotated(Backend::Storage, importing(every.collect()))
        .await;
    for (peer, minted) in &minted {
        let (server, token) = (&minted.server, minted.token());
        assert!(tokens.is_authentic(token), "{server}");
        let found = opened_undated(&tokens, token).await;
        assert_eq!(found, minted.registration(), "{server}");
        let inspection = tokens.inspect(token).await.unwrap();
        assert_eq!(inspection.format, Format::Imported(*peer), "{server}");
        assert_eq!(inspection.key, minted.import(*peer).id, "{server}");
        assert!(!rig.tokens.is_authentic(token), "{server}");
        assert_forged(rig.tokens.open(token).await);
    }
    let kinds = Peer::WITH_KEY.map(|kind| minted.iter().filter(|(peer, _)| *peer == kind).count());
    assert!(kinds.iter().all(|count| *count > 0), "{kinds:?}");
}

#[tokio::test]
async fn only_the_key_of_its_own_kind_opens_a_token() {
    let rig = Rig::new(Backend::Paseto).await;
    let minted = with_keys();
    for (peer, minted) in &minted {
        // Wrong keys in the right form, and the right bytes as a key of another kind.
        let zeros = [0; 32];
        let wrong = [
            format!("secret-token:paseto.v3.local:{}", "00".repeat(32)),
            base64::engine::general_purpose::STANDARD.encode(zeros),
            format!(r#"{{"kty":"oct","k":"{}"}}"#, URL_SAFE_NO_PAD.encode(zeros)),
            "another secret of thirty-two bytes".to_owned(),
        ];
        let wrong = Peer::WITH_KEY.iter().flat_map(|peer| {
            let keys = wrong.iter();
            keys.filter_map(move |key| Import::new(*peer, key.as_bytes()).ok())
        });
        let jwk = |key: &str| format!(r#"{{"kty":"oct","k":"{}"}}"#, URL_SAFE_NO_PAD.encode(key));
        let crossed = match peer {
            Peer::ProsodyJwt => Import::new(Peer::Ejabberd, jwk(&minted.key).as_bytes()).ok(),
            Peer::Ejabberd => {
                let key: serde_json::Value = serde_json::from_str(&minted.key).unwrap();
                let key = URL_SAFE_NO_PAD.decode(key["k"].as_str().unwrap()).unwrap();
                Import::new(Peer::ProsodyJwt, &key).ok()
            }
            _ => None,
        };
        let keys: Vec<_> = wrong.chain(crossed).collect();
        assert!(keys.len() >= 4);
        let tokens = rig.rotated(Backend::Paseto, importing(keys)).await;
        assert!(!tokens.is_authentic(minted.token()), "{}", minted.server);
        assert_forged(tokens.open(minted.token()).await);
    }
}

#[tokio::test]
async fn no_bit_flip_of_an_imported_token_opens() {
    let rig = Rig::new(Backend::Paseto).await;
    for (peer, minted) in with_keys() {
        let keyring = importing(vec![minted.import(peer)]);
        let tokens = rig.rotated(Backend::Paseto, keyring).await;
        let token = minted.token();
        tokens.open(token).await.expect("itself opens");
        for position in 0..token.len() {
            let mut flipped = token.as_bytes().to_vec();
            flipped[position] ^= 1 << (position % 7);
            if let Ok(flipped) = String::from_utf8(flipped) {
                assert_forged(tokens.open(&flipped).await);
            }
            assert_forged(tokens.open(&token[..position]).await);
        }
    }
}

/// With a grace, as any other.
#[tokio::test]
async fn an_imported_token_lives_as_long_as_its_phone_was_told_and_a_grace() {
    const GRACE: Duration = Duration::from_secs(28 * 86400);
    for (peer, minted) in with_keys() {
        let rig = Rig::new(Backend::Paseto).await;
        let store = rig.tokens.0.store.clone();
        let policy = Policy {
            grace: GRACE,
            ..*rig.tokens.0.policy.read()
        };
        let clock = Arc::new(ManualClock::new(Timestamp::from_secs(minted.expires)));
        let keyring = importing(vec![minted.import(peer)]);
        let tokens = Tokens::load(
            keyring,
            policy,
            store,
            clock.clone(),
            Arc::new(SystemRandom),
        );
        let tokens = tokens.await.unwrap();
        clock.advance(GRACE - Duration::from_millis(1));
        tokens.open(minted.token()).await.unwrap();
        clock.advance(Duration::from_millis(1));
        assert_dead(tokens.open(minted.token()).await);
    }
}

#[tokio::test]
async fn an_imported_token_is_revoked_as_any_other() {
    for (peer, minted) in with_keys() {
        let rig = Rig::new(Backend::Paseto).await;
        let keyring = importing(vec![minted.import(peer)]);
        let tokens = rig.rotated(Backend::Paseto, keyring).await;
        let token = minted.token();
        let registration = opened(&tokens, token).await;
        // What its phone said that it knows no longer.
        let (at, until) = (registration.issued, registration.expires);
        let scope = Scope::Registration(registration.key());
        tokens.revoke(scope, at, until).await.unwrap();
        assert_dead(tokens.open(token).await);
        // The phone registers here.
        let fresh = tokens
            .issue(
                &registration.owner,
                registration.application,
                registration.instance,
                None,
            )
            .await
            .unwrap();
        tokens.open(&fresh.token).await.unwrap();
        assert_dead(tokens.open(token).await);
        // Another one of the same registration may live longer.
        let kept = tokens.0.store.revocations().await.unwrap();
        assert!(kept[0].until >= NOW.saturating_add(IMPORTED_LIFE));
    }
}

#[tokio::test]
async fn prosodys_storage_is_imported_once_and_again() {
    for minted in all() {
        if minted.kind != "prosody-storage" {
            continue;
        }
        let rig = Rig::new(Backend::Paseto).await;
        let data = tempfile::tempdir().unwrap();
        data_of(&minted, data.path());
        let token = minted.token();
        // The daemon runs meanwhile.
        let daemon = rig.rotated(Backend::Paseto, importing(Vec::new())).await;
        assert_forged(daemon.open(token).await);
        for (new, known) in [(1, 0), (0, 1)] {
            // Of the data directory, and of one host's.
            let host = data.path().join("up%2eexample%2eorg");
            let directory = if new > 0 { data.path() } else { &host };
            let cli = Store::open_existing(rig.dir.path()).unwrap();
            let cli = with(&cli, &rig.clock, Backend::Paseto, importing(Vec::new())).await;
            let found = read_prosody_storage(directory).unwrap();
            let imported = cli.import(found).await.unwrap();
            let expected = Imported {
                new,
                known,
                expired: 0,
            };
            assert_eq!(imported, expected);
        }
        // Not a second later: it answered 404 until then.
        assert_eq!(opened(&daemon, token).await, minted.registration());
        daemon.refresh().await.unwrap();
        assert_eq!(opened(&daemon, token).await, minted.registration());
        let inspection = daemon.inspect(token).await.unwrap();
        assert_eq!(inspection.format, Format::Imported(Peer::ProsodyStorage));
        let other = token.chars().rev().collect::<String>();
        assert_forged(daemon.open(&other).await);
        // The key that stands for them is no secret that a start could lack.
        let store = &rig.tokens.0.store;
        check_issuers(store, &importing(Vec::new()), NOW)
            .await
            .unwrap();

        let scope = Scope::Registration(minted.registration().key());
        let at = Timestamp::from_secs(0);
        daemon.revoke(scope, at, at).await.unwrap();
        assert_dead(daemon.open(token).await);
        let found = read_prosody_storage(data.path()).unwrap();
        daemon.import(found).await.unwrap();
        assert_dead(daemon.open(token).await);
        let restarted = rig.rotated(Backend::Jwt, importing(Vec::new())).await;
        assert_dead(restarted.open(token).await);

        rig.clock.advance(Duration::from_secs(400 * 86400));
        let found = read_prosody_storage(data.path()).unwrap();
        let expired = restarted.import(found).await.unwrap().expired;
        assert_eq!(expired, 1);
    }
}

#[tokio::test]
async fn a_damaged_data_directory_is_refused_before_anything_changes() {
    let minted = all();
    let minted = minted.iter().find(|minted| minted.name.is_some()).unwrap();
    let name = minted.name.as_ref().unwrap();
    let refused = |damage: &dyn Fn(&Path)| {
        let data = tempfile::tempdir().unwrap();
        data_of(minted, data.path());
        damage(&data.path().join("up%2eexample%2eorg/unified_push"));
        let refused = read_prosody_storage(data.path());
        refused.err().expect("it is refused").to_string()
    };
    let half = &minted.key[..minted.key.len() / 2];
    let text = refused(&|store| fs::write(store.join(name), half).unwrap());
    assert!(text.contains(name) && text.contains("is damaged"), "{text}");
    assert!(text.contains("Nothing was imported"), "{text}");
    let text = refused(&|store| {
        let without = minted.key.replace("\"sub\"", "\"bus\"");
        fs::write(store.join(name), without).unwrap();
    });
    assert!(text.contains(name) && text.contains("`sub`"), "{text}");
    let text = refused(&|store| fs::write(store.join("accounts.dat"), "return {\n}\n").unwrap());
    assert!(text.contains("accounts.dat has a name"), "{text}");
    let text = refused(&|store| fs::remove_dir_all(store).unwrap());
    assert!(text.contains("no directory `unified_push`"), "{text}");
    // Of another host nobody knows what it has: the link leads to itself.
    let text = refused(&|store| {
        let other = store.join("../../push%2eexample%2ecom");
        fs::create_dir(&other).unwrap();
        symlink("unified_push", other.join("unified_push")).unwrap();
    });
    assert!(
        text.contains("push%2eexample%2ecom/unified_push cannot be read"),
        "{text}"
    );
}

#[tokio::test]
async fn a_daemon_without_imports_looks_none_of_them_up() {
    let rig = Rig::new(Backend::Storage).await;
    let minted = all();
    let minted = minted.iter().find(|minted| minted.name.is_some()).unwrap();
    assert!(rig.tokens.row(minted.token()).await.unwrap().is_none());
}

#[test]
fn debug_shows_no_key() {
    for (peer, minted) in with_keys() {
        let shown = format!("{:?}", importing(vec![minted.import(peer)]));
        assert!(shown.contains(&peer.to_string()), "{shown}");
        assert!(
            !shown.contains(&minted.key) && !shown.contains("0123456789"),
            "{shown}"
        );
    }
}
