//! How long tokens are, before there are any: what is configured decides whether endpoints fit.

use jid::Jid;

use super::{Backend, jwt, keyring::Keyring, paseto, stored};
use crate::{
    model::{
        random::{Random, random_array},
        registration::{Digest, Registration},
        secret::Secret,
        time::Timestamp,
    },
    store::Generation,
};

/// How many bytes the tokens of full JIDs of so many bytes will have, but for the hash of a key.
pub fn length(backend: Backend, jid: usize, random: &dyn Random) -> usize {
    let keyring = Keyring::new(&Secret::new([0; 32]), &[]);
    let key = keyring.current();
    let account = "a@b.example/";
    let resource = "x".repeat(jid.saturating_sub(account.len()).max(1));
    let registration = Registration {
        owner: Jid::new(&[account, &resource].concat()).expect("it is a JID"),
        application: Digest::from_bytes([0; 32]),
        instance: Digest::from_bytes([0; 32]),
        issued: Timestamp::from_millis(1_800_000_000_001),
        expires: Timestamp::from_secs(1_900_000_000),
    };
    let token = match backend {
        Backend::Paseto => paseto::seal(key, &registration, None),
        Backend::Jwt => jwt::sign(key, &registration, None, random),
        Backend::Storage => stored::TokenId::new(
            key,
            &registration.key(),
            &Generation::from_bytes(random_array(random)),
        )
        .token(key),
    };
    token.len()
}
