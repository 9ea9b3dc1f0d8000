//! What rows hold: our types from columns and into them.

use std::error::Error;

use bytes::Bytes;
use jid::{BareJid, Jid};
use rusqlite::{
    Row,
    types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, Type, ValueRef},
};

use crate::model::{
    message::MessageKey,
    payload::Payload,
    registration::{Digest, Registration, RegistrationKey},
    revocation::Scope,
    secret::KeyId,
    time::Timestamp,
};

/// A timestamp as a column. Beyond SQLite's integers lies "never".
pub struct Millis(pub Timestamp);

impl ToSql for Millis {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let millis = i64::try_from(self.0.as_millis()).unwrap_or(i64::MAX);
        Ok(millis.into())
    }
}

impl FromSql for Millis {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let millis = u64::try_from(value.as_i64()?).map_err(FromSqlError::other)?;
        Ok(Self(Timestamp::from_millis(millis)))
    }
}

impl ToSql for KeyId {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.as_bytes().to_sql()
    }
}

impl ToSql for MessageKey {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.as_bytes().to_sql()
    }
}

impl FromSql for MessageKey {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        FromSql::column_result(value).map(Self::from_bytes)
    }
}

impl FromSql for KeyId {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        FromSql::column_result(value).map(Self::from_bytes)
    }
}

/// What [`registration`] reads, in this order.
pub const REGISTRATION: &str = "jid, application, instance, issued, expires";

pub fn registration(row: &Row<'_>) -> rusqlite::Result<Registration> {
    Ok(Registration {
        owner: full_jid(row, 0)?,
        application: Digest::from_bytes(row.get(1)?),
        instance: Digest::from_bytes(row.get(2)?),
        issued: row.get::<_, Millis>(3)?.0,
        expires: row.get::<_, Millis>(4)?.0,
    })
}

/// Owner, application and instance; the digests are empty for a whole account.
pub fn scope_columns(scope: &Scope) -> (&str, &[u8], &[u8]) {
    match scope {
        Scope::Registration(key) => (
            key.owner.as_str(),
            key.application.as_bytes(),
            key.instance.as_bytes(),
        ),
        Scope::Owner(owner) => (owner.as_str(), &[], &[]),
    }
}

/// From [`scope_columns`], the row's first three.
pub fn scope(row: &Row<'_>) -> rusqlite::Result<Scope> {
    let owner = bare_jid(row, 0)?;
    let whole_account = row.get_ref(1)?.as_blob()?.is_empty();
    if whole_account {
        return Ok(Scope::Owner(owner));
    }
    Ok(Scope::Registration(RegistrationKey {
        owner,
        application: Digest::from_bytes(row.get(1)?),
        instance: Digest::from_bytes(row.get(2)?),
    }))
}

pub fn bare_jid(row: &Row<'_>, index: usize) -> rusqlite::Result<BareJid> {
    let text: String = row.get(index)?;
    BareJid::new(&text).map_err(|e| unreadable(index, Type::Text, e))
}

/// As somebody registered, in general with a resource.
pub fn full_jid(row: &Row<'_>, index: usize) -> rusqlite::Result<Jid> {
    let text: String = row.get(index)?;
    Jid::new(&text).map_err(|e| unreadable(index, Type::Text, e))
}

pub fn payload(row: &Row<'_>, index: usize) -> rusqlite::Result<Payload> {
    let bytes: Vec<u8> = row.get(index)?;
    Payload::new(Bytes::from(bytes)).map_err(|e| unreadable(index, Type::Blob, e))
}

fn unreadable(
    index: usize,
    kind: Type,
    error: impl Error + Send + Sync + 'static,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(index, kind, Box::new(error))
}
