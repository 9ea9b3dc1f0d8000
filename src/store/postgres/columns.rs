//! What rows hold: our types from columns and into them. No text here quotes a value.

use bytes::BytesMut;
use jid::{BareJid, Jid};
use ring::digest::{SHA256, digest};
use tokio_postgres::{
    Row,
    types::{FromSql, IsNull, ToSql, Type, to_sql_checked},
};

use super::super::StoreError;
use crate::model::{
    payload::Payload,
    registration::{Digest, Registration, RegistrationKey},
    revocation::Scope,
    secret::KeyId,
    time::Timestamp,
};

type Fault = Box<dyn std::error::Error + Sync + Send>;

/// A timestamp as a column. Beyond bigint lies "never".
#[derive(Clone, Copy, Debug)]
pub struct Millis(pub Timestamp);

impl ToSql for Millis {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Fault> {
        let millis = i64::try_from(self.0.as_millis()).unwrap_or(i64::MAX);
        millis.to_sql(ty, out)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::INT8
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Millis {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Fault> {
        let millis = u64::try_from(i64::from_sql(ty, raw)?)?;
        Ok(Self(Timestamp::from_millis(millis)))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::INT8
    }
}

/// What [`registration`] reads, in this order.
pub const REGISTRATION: &str = "jid, application, instance, issued, expires";

pub fn registration(row: &Row) -> Result<Registration, StoreError> {
    Ok(Registration {
        owner: jid(row.try_get(0)?)?,
        application: Digest::from_bytes(array(row, 1)?),
        instance: Digest::from_bytes(array(row, 2)?),
        issued: row.try_get::<_, Millis>(3)?.0,
        expires: row.try_get::<_, Millis>(4)?.0,
    })
}

/// Owner, application and instance; the digests are empty for a whole account.
pub fn scope_columns(scope: &Scope) -> (&str, &[u8], &[u8]) {
    match scope {
        Scope::Registration(key) => key_columns(key),
        Scope::Owner(owner) => (owner.as_str(), &[], &[]),
    }
}

pub fn key_columns(key: &RegistrationKey) -> (&str, &[u8], &[u8]) {
    (
        key.owner.as_str(),
        key.application.as_bytes(),
        key.instance.as_bytes(),
    )
}

/// Names a full JID in an index, whose entries have 2704 bytes at most. Sorts as the JID's text;
/// only those that begin alike for longer than any that is meant seriously lie in no order.
pub fn owner_key(owner: &Jid) -> Vec<u8> {
    const LONGEST: usize = 2000;
    let text = owner.as_str().as_bytes();
    match text.get(..LONGEST) {
        Some(start) => [start, digest(&SHA256, text).as_ref()].concat(),
        None => text.to_vec(),
    }
}

/// From [`scope_columns`], the row's first three.
pub fn scope(row: &Row) -> Result<Scope, StoreError> {
    let owner = bare_jid(row, 0)?;
    let whole_account = row.try_get::<_, &[u8]>(1)?.is_empty();
    if whole_account {
        return Ok(Scope::Owner(owner));
    }
    Ok(Scope::Registration(RegistrationKey {
        owner,
        application: Digest::from_bytes(array(row, 1)?),
        instance: Digest::from_bytes(array(row, 2)?),
    }))
}

pub fn jid(text: &str) -> Result<Jid, StoreError> {
    Jid::new(text).map_err(|_| unreadable("JID"))
}

pub fn bare_jid(row: &Row, index: usize) -> Result<BareJid, StoreError> {
    BareJid::new(row.try_get(index)?).map_err(|_| unreadable("JID"))
}

pub fn key_id(row: &Row, index: usize) -> Result<KeyId, StoreError> {
    array(row, index).map(KeyId::from_bytes)
}

pub fn payload(row: &Row, index: usize) -> Result<Payload, StoreError> {
    let bytes: Vec<u8> = row.try_get(index)?;
    Payload::new(bytes.into()).map_err(|_| unreadable("payload"))
}

pub fn array<const N: usize>(row: &Row, index: usize) -> Result<[u8; N], StoreError> {
    let bytes: &[u8] = row.try_get(index)?;
    bytes.try_into().map_err(|_| unreadable("digest"))
}

/// Of a `count` or a `sum`, which are never negative.
pub fn count(row: &Row, index: usize) -> Result<u64, StoreError> {
    Ok(row.try_get::<_, i64>(index)?.unsigned_abs())
}

fn unreadable(what: &str) -> StoreError {
    StoreError::failed(format!("a row holds no {what} where there should be one"))
}
