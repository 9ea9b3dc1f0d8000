//! What rows hold: our types from columns and into them.

use std::error::Error;

use bytes::Bytes;
use jid::{BareJid, Jid};
use rusqlite::{
    Row,
    types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, Type, ValueRef},
};

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

/// In milliseconds. Beyond SQLite's integers lies "never".
impl ToSql for Timestamp {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let millis = i64::try_from(self.as_millis()).unwrap_or(i64::MAX);
        Ok(millis.into())
    }
}

impl FromSql for Timestamp {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let millis = u64::try_from(value.as_i64()?).map_err(FromSqlError::other)?;
        Ok(Self::from_millis(millis))
    }
}

impl FromSql for Payload {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let bytes = Bytes::copy_from_slice(value.as_blob()?);
        Self::restored(bytes).map_err(FromSqlError::other)
    }
}

macro_rules! bytes_as_columns {
    ($($kind:ty),*) => {$(
        impl ToSql for $kind {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                self.as_bytes().to_sql()
            }
        }

        impl FromSql for $kind {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                FromSql::column_result(value).map(Self::from_bytes)
            }
        }
    )*};
}

bytes_as_columns!(
    Digest, Generation, KeyHash, KeyId, MessageId, MessageKey, TokenHash
);

/// From the columns that `rules` names, the row's first five.
pub fn registration(row: &Row<'_>) -> rusqlite::Result<Registration> {
    Ok(Registration {
        owner: full_jid(row, 0)?,
        application: row.get(1)?,
        instance: row.get(2)?,
        issued: row.get(3)?,
        expires: row.get(4)?,
    })
}

/// From the columns of [`scope_columns`](crate::store::rules::scope_columns), the row's first three.
pub fn scope(row: &Row<'_>) -> rusqlite::Result<Scope> {
    let owner = bare_jid(row, 0)?;
    let whole_account = row.get_ref(1)?.as_blob()?.is_empty();
    if whole_account {
        return Ok(Scope::Owner(owner));
    }
    Ok(Scope::Registration(RegistrationKey {
        owner,
        application: row.get(1)?,
        instance: row.get(2)?,
    }))
}

pub fn bare_jid(row: &Row<'_>, index: usize) -> rusqlite::Result<BareJid> {
    let text = row.get_ref(index)?.as_str()?;
    BareJid::new(text).map_err(|e| unreadable(index, e))
}

/// As somebody registered, in general with a resource.
pub fn full_jid(row: &Row<'_>, index: usize) -> rusqlite::Result<Jid> {
    let text = row.get_ref(index)?.as_str()?;
    Jid::new(text).map_err(|e| unreadable(index, e))
}

pub fn unreadable(index: usize, error: impl Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(index, Type::Text, Box::new(error))
}

/// Of a `count`, a `sum` or a `length`, which are never negative.
pub fn count(row: &Row<'_>, index: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(index)?.unsigned_abs())
}
