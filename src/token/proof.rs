//! What tells a daemon from another one: an answer that takes the secret of its tokens. Whoever has the
//! configuration can ask through a proxy whether the daemon behind it is the one that is meant.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::hmac;

use super::Tokens;
use crate::model::secret::Secret;

/// The proof for a challenge: an HMAC under a key of its own, from which nothing else can be learnt.
pub fn proof(secret: &Secret, challenge: &str) -> String {
    prove(&key(secret), challenge)
}

pub(super) fn key(secret: &Secret) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, &*secret.derive("proof/v1"))
}

fn prove(key: &hmac::Key, challenge: &str) -> String {
    URL_SAFE_NO_PAD.encode(hmac::sign(key, challenge.as_bytes()))
}

impl Tokens {
    /// The [`proof`] by the secret that tokens are issued under at the moment.
    pub fn prove(&self, challenge: &str) -> String {
        prove(&self.keyring().current().proof, challenge)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_of_one_secret_and_one_challenge() {
        let (one, other) = (Secret::new([1; 32]), Secret::new([2; 32]));
        assert_eq!(proof(&one, "a"), proof(&one, "a"));
        assert_ne!(proof(&one, "a"), proof(&other, "a"));
        assert_ne!(proof(&one, "a"), proof(&one, "b"));
        assert_eq!(proof(&one, "a").len(), 43);
    }
}
