//! What PASETO and JWT tokens say, and how they say it under Prosody's names.

use jid::Jid;
use serde::{Deserialize, Serialize};

use crate::model::{
    registration::{Digest, Registration},
    secret::KeyId,
    time::Timestamp,
    vapid::KeyHash,
};

/// What an authentic token says that needs no store.
pub(super) struct Said {
    /// The secret that made it.
    pub key: KeyId,
    /// Its expiry is the one that the phone was told.
    pub registration: Registration,
    pub signer: Option<KeyHash>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Subject {
    sub: String,
    application: String,
    instance: String,
}

impl Subject {
    pub(super) fn of(registration: &Registration) -> Self {
        Self {
            sub: registration.owner.to_string(),
            application: registration.application.to_base64(),
            instance: registration.instance.to_base64(),
        }
    }

    /// None when the claims make no registration, whoever signed them.
    pub(super) fn into_registration(
        self,
        issued: Timestamp,
        expires: Timestamp,
    ) -> Option<Registration> {
        Some(Registration {
            owner: Jid::new(&self.sub).ok()?,
            application: Digest::parse(Some(&self.application)).ok()?,
            instance: Digest::parse(Some(&self.instance)).ok()?,
            issued,
            expires,
        })
    }
}
