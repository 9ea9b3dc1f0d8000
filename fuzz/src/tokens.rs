//! Tokens of each kind: what was issued opens to the same registration, and nothing else opens to
//! another one.

use std::{sync::Arc, time::Duration};

use jid::Jid;
use tempfile::TempDir;
use unified_push::{
    model::{random::SystemRandom, registration::Digest, secret::Secret},
    store::Store,
    token::{Backend, Import, Issued, Keyring, Peer, Policy, Tokens},
};

use crate::{Still, halves, wait};

const BACKENDS: [Backend; 3] = [Backend::Paseto, Backend::Jwt, Backend::Storage];

struct Rig {
    tokens: Tokens,
    _dir: TempDir,
}

impl Rig {
    fn new(backend: Backend) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::open(dir.path()).expect("a store");
        let hex = "0".repeat(64);
        let keys = [
            format!("secret-token:paseto.v3.local:{hex}"),
            "a secret of 32 bytes of Prosody's".to_owned(),
            format!("{}=", "A".repeat(43)),
            format!(r#"{{"kty":"oct","k":"{}"}}"#, "A".repeat(43)),
        ];
        let imports = Peer::WITH_KEY.iter().zip(keys);
        let imports = imports.map(|(peer, key)| Import::new(*peer, key.as_bytes()).expect("a key"));
        let keyring = Keyring::new(&Secret::new([7; 32]), &[]).with_imports(imports.collect());
        let policy = Policy {
            backend,
            ttl: Duration::from_secs(7 * 86400),
            grace: Duration::ZERO,
            registrations_per_jid: 1000,
        };
        let tokens = Tokens::load(
            keyring,
            policy,
            store,
            Arc::new(Still),
            Arc::new(SystemRandom),
        );
        Self {
            tokens: wait(tokens).expect("the store answers"),
            _dir: dir,
        }
    }

    fn issue(&self, owner: &Jid) -> Issued {
        let digest = Digest::from_bytes([1; 32]);
        wait(self.tokens.issue(owner, digest, digest, None)).expect("it is issued")
    }
}

thread_local!(static RIGS: [Rig; 3] = BACKENDS.map(Rig::new));

pub fn run(data: &[u8]) {
    let (resource, rest) = halves(data);
    let resource = String::from_utf8_lossy(resource);
    let owner = Jid::new(&format!("romeo@example.org/{resource}"));
    let owner = owner.unwrap_or_else(|_| Jid::new("romeo@example.org/x").expect("a JID"));
    RIGS.with(|rigs| {
        for rig in rigs {
            let issued = rig.issue(&owner);
            let opened = wait(rig.tokens.open(&issued.token)).expect("it was issued");
            let registration = opened.registration;
            assert_eq!(registration.key(), issued.registration.key());
            assert_eq!(registration.owner, owner);
            if let [at, with, ..] = rest {
                let mut token = issued.token.into_bytes();
                let at = usize::from(*at) % token.len();
                token[at] = *with;
                // Base64 may have bits that mean nothing: what opens is the same.
                if let Ok(token) = str::from_utf8(&token)
                    && let Ok(opened) = wait(rig.tokens.open(token))
                {
                    assert_eq!(opened.registration, registration);
                }
            }
        }
        if let Ok(text) = str::from_utf8(rest) {
            assert!(!rigs[0].tokens.is_authentic(text), "nobody has made it");
            assert!(
                wait(rigs[0].tokens.open(text)).is_err(),
                "nobody has made it"
            );
        }
    });
}
