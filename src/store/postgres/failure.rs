//! What may go wrong with PostgreSQL.

use std::{error::Error, fmt, io};

use deadpool_postgres::{HookError, PoolError, TimeoutType};
use tokio_postgres::error::SqlState;

use super::tls::TlsSetupError;
use crate::tls::AuthoritiesError;

/// Of work with one connection.
pub type Result<T> = std::result::Result<T, PostgresFailure>;

#[derive(Debug, thiserror::Error)]
pub enum PostgresFailure {
    #[error(transparent)]
    Database(DatabaseError),
    #[error("PostgreSQL does not answer in time")]
    TooSlow,
    #[error("PostgreSQL lets nobody in within 2 s")]
    NoConnection,
    #[error("no connection to PostgreSQL is free")]
    Busy,
    #[error("a connection pooler lends its connections for each {0} only")]
    Pooled(&'static str),
    #[error("its encoding is {0}")]
    Encoding(String),
    #[error("`synchronous_standby_names` is empty there")]
    NotSynchronous,
    #[error("its schema was not ready within an hour")]
    SchemaLate,
    #[error(transparent)]
    Authorities(AuthoritiesError),
    #[error("store.url {0}")]
    TlsFiles(#[source] Box<TlsSetupError>),
    #[error("a row holds no JID where there should be one")]
    NoJid,
    #[error("`unified-push store copy` is at work on it")]
    Copying,
    #[error("the row of its clock is damaged: {0}")]
    Clock(#[source] serde_json::Error),
    #[error("a notice to the other replicas cannot be written: {0}")]
    Notice(#[from] serde_json::Error),
}

impl PostgresFailure {
    /// The server's, if it has answered. A connection refused because the server takes no writes
    /// has the code that a write would have got there.
    pub fn code(&self) -> Option<&SqlState> {
        match self {
            Self::Database(error) if takes_no_writes(&error.0) => {
                Some(&SqlState::READ_ONLY_SQL_TRANSACTION)
            }
            Self::Database(error) => error.0.code(),
            _ => None,
        }
    }

    /// With what a person can do about it while the daemon runs.
    pub fn with_remedy(&self) -> String {
        match self.code().and_then(|code| remedy(code.code())) {
            Some(remedy) => format!("{self}. {remedy}"),
            None => self.to_string(),
        }
    }

    /// Other connections to this server are of no more use: it is gone, or takes no writes.
    pub fn is_of_server(&self) -> bool {
        let read_only = Some(&SqlState::READ_ONLY_SQL_TRANSACTION);
        let lost = matches!(self, Self::Database(_) | Self::TooSlow) && self.code().is_none();
        lost || self.code() == read_only
    }

    /// The server has given up: it, or a lock, took too long.
    pub fn is_timeout(&self) -> bool {
        self.code() == Some(&SqlState::QUERY_CANCELED)
    }

    /// What a row holds is to blame, or two who waited for each other: each alone may do better.
    pub fn may_be_of_one(&self) -> bool {
        let class = self.code().map(SqlState::code);
        class.is_some_and(|code| ["22", "23", "40"].contains(&&code[..2]))
    }
}

/// What tokio-postgres reports. Of the server's answer only the first line is shown: the details
/// quote what a row holds.
pub struct DatabaseError(tokio_postgres::Error);

impl fmt::Display for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(answer) = self.0.as_db_error() {
            let code = answer.code().code();
            return write!(f, "PostgreSQL: {} ({code})", answer.message());
        }
        // The causes, too, which tokio-postgres leaves out.
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// What a code asks for, where a person can do something.
fn remedy(code: &str) -> Option<&'static str> {
    Some(match code {
        "25006" => "This server takes no writes: name the primary in `store.url`",
        "28P01" => "Correct the password",
        "42501" => "Grant the user all on the tables, or let it own the database",
        "53100" => "Its disk is full: make room there",
        "53300" => "Raise `max_connections` there, or lower `store.connections`",
        "55P03" | "57014" => {
            "Something else holds a lock, or the server is overloaded: look at pg_stat_activity"
        }
        "XX001" | "XX002" => "Its data is damaged: restore a backup",
        _ => return None,
    })
}

impl fmt::Debug for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseError({self})")
    }
}

impl Error for DatabaseError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self.0.as_db_error() {
            Some(_) => None,
            None => self.0.source(),
        }
    }
}

impl From<tokio_postgres::Error> for PostgresFailure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(DatabaseError(error))
    }
}

impl From<TlsSetupError> for PostgresFailure {
    fn from(error: TlsSetupError) -> Self {
        match error {
            TlsSetupError::System(error) => Self::Authorities(error),
            error => Self::TlsFiles(Box::new(error)),
        }
    }
}

impl From<PoolError> for PostgresFailure {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Timeout(TimeoutType::Wait) => Self::Busy,
            PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => {
                error.into()
            }
            PoolError::PostCreateHook(HookError::Message(_)) => Self::Copying,
            // Only the first two can happen: the pool has a runtime and is never closed.
            PoolError::Timeout(TimeoutType::Create | TimeoutType::Recycle)
            | PoolError::Closed
            | PoolError::NoRuntimeSpecified => Self::NoConnection,
        }
    }
}

/// Says tokio-postgres of the last host that it asked, if it was asked for one that takes writes.
pub fn takes_no_writes(error: &tokio_postgres::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref());
    cause.is_some_and(|cause: &io::Error| cause.kind() == io::ErrorKind::PermissionDenied)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_is_advised_only_where_it_helps() {
        let advised = |code: &str| remedy(code).is_some_and(|text| text.contains("backup"));
        assert!(advised("XX001"));
        for code in ["25006", "42501", "53100", "53300", "57014", "42703"] {
            assert!(!advised(code), "{code}");
        }
    }
}
