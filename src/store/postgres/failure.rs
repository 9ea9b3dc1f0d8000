//! What may go wrong with PostgreSQL.

use std::{error::Error, fmt};

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
    #[error("its schema was not ready within 60 s")]
    SchemaLate,
    #[error(transparent)]
    Authorities(AuthoritiesError),
    #[error("store.url {0}")]
    TlsFiles(#[source] Box<TlsSetupError>),
    #[error("a row holds no JID where there should be one")]
    NoJid,
    #[error("a notice to the other replicas cannot be written: {0}")]
    Notice(#[from] serde_json::Error),
}

impl PostgresFailure {
    /// The server's, if it has answered.
    pub fn code(&self) -> Option<&SqlState> {
        match self {
            Self::Database(error) => error.0.code(),
            _ => None,
        }
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
            // Only the first two can happen: the pool has a runtime and is never closed.
            PoolError::Timeout(TimeoutType::Create | TimeoutType::Recycle)
            | PoolError::PostCreateHook(HookError::Message(_))
            | PoolError::Closed
            | PoolError::NoRuntimeSpecified => Self::NoConnection,
        }
    }
}
