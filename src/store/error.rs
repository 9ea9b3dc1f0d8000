//! What may go wrong, with its cause. No text quotes what a row holds.

use std::sync::Arc;

use super::{
    postgres::{PostgresOpenError, failure::PostgresFailure},
    sqlite::SqliteOpenError,
};

/// Why the store cannot be opened, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Sqlite(#[from] SqliteOpenError),
    #[error(transparent)]
    Postgres(#[from] PostgresOpenError),
}

pub type StoreResult<T> = Result<T, StoreError>;

/// Why the store did not do what it was asked for. Cheap to clone: one commit that fails is the
/// answer to many.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    #[error("too much waits for the store; try again later")]
    Busy,
    #[error("the store failed: {0}")]
    Failed(#[source] Failure),
    /// A thread of the store has ended, which only a defect can cause.
    #[error("the store has stopped working")]
    Stopped,
}

impl StoreError {
    /// One of many that shared a commit may be to blame for all.
    pub(super) fn may_be_of_one(&self) -> bool {
        match self {
            Self::Failed(Failure::Postgres(failure)) => failure.may_be_of_one(),
            Self::Failed(_) | Self::Busy | Self::Stopped => false,
        }
    }
}

/// What an engine says about it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Failure {
    #[error("{0}")]
    Sqlite(#[source] Arc<rusqlite::Error>),
    /// BEGIN failed, or another write that was to share the commit lost the transaction.
    #[error("the transaction is gone")]
    TransactionGone,
    #[error("{}", .0.with_remedy())]
    Postgres(#[source] Arc<PostgresFailure>),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(Failure::Sqlite(Arc::new(error)))
    }
}

impl From<PostgresFailure> for StoreError {
    fn from(failure: PostgresFailure) -> Self {
        match failure {
            PostgresFailure::Busy => Self::Busy,
            failure => Self::Failed(Failure::Postgres(Arc::new(failure))),
        }
    }
}
