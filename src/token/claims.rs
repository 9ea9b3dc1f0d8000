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
    pub(super) fn new(sub: String, application: String, instance: String) -> Self {
        Self {
            sub,
            application,
            instance,
        }
    }

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

/// An instant. Whole when we write it; others may write a fraction.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Number {
    Whole(u64),
    Other(f64),
}

impl Number {
    pub(super) fn seconds(self) -> Timestamp {
        match self {
            Self::Whole(seconds) => Timestamp::from_secs(seconds),
            Self::Other(seconds) => timestamp(seconds),
        }
    }

    pub(super) fn milliseconds(self) -> Timestamp {
        match self {
            Self::Whole(milliseconds) => Timestamp::from_millis(milliseconds),
            Self::Other(milliseconds) => timestamp(milliseconds / 1000.0),
        }
    }
}

/// Saturates: before 1970 is 1970, and the far future is the last instant.
pub(super) fn timestamp(seconds: f64) -> Timestamp {
    Timestamp::from_millis((seconds * 1000.0).round() as u64)
}
