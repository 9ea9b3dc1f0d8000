//! Which secrets have issued tokens that live, and whether the configuration still has them: a
//! wrong secret, or a lost one, must not turn every endpoint into a 404 by accident.

use std::fmt;

use super::Keyring;
use crate::{
    model::{secret::KeyId, time::Timestamp},
    store::{Store, StoreError},
};

#[derive(Debug, thiserror::Error)]
pub enum IssuersError {
    #[error(
        "the configuration lacks the secret of endpoints that are still in use (key id {keys}). Add \
         that secret to `previous_secrets`, or give those endpoints up: {}",
        keys.forget_command()
    )]
    Missing { keys: KeyIds },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// At least one; shown with commas.
#[derive(Debug, PartialEq, Eq)]
pub struct KeyIds(Vec<KeyId>);

/// Refuses a keyring that cannot open what the store knows to be alive.
pub async fn check_issuers(
    store: &Store,
    keyring: &Keyring,
    now: Timestamp,
) -> Result<(), IssuersError> {
    let missing = living(store, now).await?;
    let missing = missing.into_iter().filter(|key| !keyring.contains(*key));
    match KeyIds::new(missing) {
        None => Ok(()),
        Some(keys) => Err(IssuersError::Missing { keys }),
    }
}

/// The secrets with tokens that live.
pub(super) async fn living(store: &Store, now: Timestamp) -> Result<Vec<KeyId>, StoreError> {
    let issuers = store.issuers().await?;
    let living = issuers.iter().filter(|issuer| issuer.live_until > now);
    Ok(living.map(|issuer| issuer.key).collect())
}

impl KeyIds {
    pub(super) fn new(keys: impl IntoIterator<Item = KeyId>) -> Option<Self> {
        let keys: Vec<_> = keys.into_iter().collect();
        (!keys.is_empty()).then_some(Self(keys))
    }

    /// What to type to give their endpoints up.
    pub(super) fn forget_command(&self) -> String {
        let commands = self.0.iter();
        let commands = commands.map(|key| format!("`unified-push registrations forget-key {key}`"));
        commands.collect::<Vec<_>>().join(" and ")
    }
}

impl fmt::Display for KeyIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, key) in self.0.iter().enumerate() {
            let separator = if index > 0 { ", " } else { "" };
            write!(f, "{separator}{key}")?;
        }
        Ok(())
    }
}
