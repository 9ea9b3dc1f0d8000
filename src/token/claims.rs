//! What PASETO and JWT tokens say, and how they say it under Prosody's names.

use std::borrow::Cow;

use jid::Jid;
use serde::Deserialize;
use serde_json::Number;

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

#[derive(Deserialize)]
pub(super) struct Subject<'a> {
    pub sub: Cow<'a, str>,
    pub application: Cow<'a, str>,
    pub instance: Cow<'a, str>,
}

impl<'a> Subject<'a> {
    pub(super) fn new(
        sub: impl Into<Cow<'a, str>>,
        application: impl Into<Cow<'a, str>>,
        instance: impl Into<Cow<'a, str>>,
    ) -> Self {
        Self {
            sub: sub.into(),
            application: application.into(),
            instance: instance.into(),
        }
    }

    pub(super) fn of(registration: &'a Registration) -> Self {
        Self::new(
            registration.owner.as_str(),
            registration.application.to_base64(),
            registration.instance.to_base64(),
        )
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

pub(super) fn seconds(number: &Number) -> Timestamp {
    match number.as_u64() {
        Some(seconds) => Timestamp::from_secs(seconds),
        // Others may write a fraction.
        None => timestamp(number.as_f64().unwrap_or(0.0)),
    }
}

pub(super) fn milliseconds(number: &Number) -> Timestamp {
    match number.as_u64() {
        Some(milliseconds) => Timestamp::from_millis(milliseconds),
        None => timestamp(number.as_f64().unwrap_or(0.0) / 1000.0),
    }
}

/// Saturates: before 1970 is 1970, and the far future is the last instant.
pub(super) fn timestamp(seconds: f64) -> Timestamp {
    Timestamp::from_millis((seconds * 1000.0).round() as u64)
}
