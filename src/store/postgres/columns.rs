//! What rows hold: our types from columns and into them. No text here quotes a value.

use bytes::{Bytes, BytesMut};
use jid::{BareJid, Jid};
use ring::digest::{SHA256, digest};
use tokio_postgres::{
    Row,
    types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked},
};

use super::failure::{PostgresFailure, Result};
use crate::{
    model::{
        message::{MessageId, MessageKey},
        payload::Payload,
        registration::{Digest, Registration, RegistrationKey},
        revocation::Scope,
        secret::KeyId,
        time::Timestamp,
        vapid::KeyHash,
    },
    store::registrations::{Generation, TokenHash},
};

type Fault = Box<dyn std::error::Error + Sync + Send>;

/// In milliseconds. Beyond bigint lies "never".
impl ToSql for Timestamp {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> std::result::Result<IsNull, Fault> {
        let millis = i64::try_from(self.as_millis()).unwrap_or(i64::MAX);
        millis.to_sql(ty, out)
    }

    accepts!(INT8);
    to_sql_checked!();
}

impl<'a> FromSql<'a> for Timestamp {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> std::result::Result<Self, Fault> {
        let millis = u64::try_from(i64::from_sql(ty, raw)?)?;
        Ok(Self::from_millis(millis))
    }

    accepts!(INT8);
}

impl<'a> FromSql<'a> for Payload {
    fn from_sql(_: &Type, raw: &'a [u8]) -> std::result::Result<Self, Fault> {
        Ok(Self::restored(Bytes::copy_from_slice(raw))?)
    }

    accepts!(BYTEA);
}

macro_rules! bytes_as_columns {
    ($($kind:ty),*) => {$(
        impl ToSql for $kind {
            fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> std::result::Result<IsNull, Fault> {
                self.as_bytes().as_slice().to_sql(ty, out)
            }

            accepts!(BYTEA);
            to_sql_checked!();
        }

        impl<'a> FromSql<'a> for $kind {
            fn from_sql(_: &Type, raw: &'a [u8]) -> std::result::Result<Self, Fault> {
                Ok(Self::from_bytes(raw.try_into()?))
            }

            accepts!(BYTEA);
        }
    )*};
}

bytes_as_columns!(
    Digest, Generation, KeyHash, KeyId, MessageId, MessageKey, TokenHash
);

/// From the columns that `rules` names, the row's first five.
pub fn registration(row: &Row) -> Result<Registration> {
    Ok(Registration {
        owner: full_jid(row, 0)?,
        application: row.try_get(1)?,
        instance: row.try_get(2)?,
        issued: row.try_get(3)?,
        expires: row.try_get(4)?,
    })
}

/// From the columns of [`scope_columns`](crate::store::rules::scope_columns), the row's first three.
pub fn scope(row: &Row) -> Result<Scope> {
    let owner = bare_jid(row, 0)?;
    let whole_account = row.try_get::<_, &[u8]>(1)?.is_empty();
    if whole_account {
        return Ok(Scope::Owner(owner));
    }
    Ok(Scope::Registration(RegistrationKey {
        owner,
        application: row.try_get(1)?,
        instance: row.try_get(2)?,
    }))
}

/// Names a full JID in an index, whose entries have 2704 bytes at most. Sorts as the JID's text;
/// only those that begin alike for longer than any that is meant seriously lie in no order.
pub fn owner_key(owner: &str) -> Vec<u8> {
    const LONGEST: usize = 2000;
    let text = owner.as_bytes();
    match text.get(..LONGEST) {
        Some(start) => [start, digest(&SHA256, text).as_ref()].concat(),
        None => text.to_vec(),
    }
}

pub fn bare_jid(row: &Row, index: usize) -> Result<BareJid> {
    BareJid::new(row.try_get(index)?).map_err(|_| PostgresFailure::NoJid)
}

/// As somebody registered, in general with a resource.
pub fn full_jid(row: &Row, index: usize) -> Result<Jid> {
    Jid::new(row.try_get(index)?).map_err(|_| PostgresFailure::NoJid)
}

/// Of a `count` or a `sum`, which are never negative.
pub fn count(row: &Row, index: usize) -> Result<u64> {
    Ok(row.try_get::<_, i64>(index)?.unsigned_abs())
}

/// For what lies far below the limit.
pub fn as_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
