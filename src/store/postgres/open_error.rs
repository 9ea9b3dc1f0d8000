//! Why the database cannot be used, and what to do.

use tokio_postgres::error::SqlState;

use super::{failure::PostgresFailure, remedy, url::PostgresUrl};

/// Never with the password.
#[derive(Debug, thiserror::Error)]
pub enum PostgresOpenError {
    #[error("no connection to {url}: {source}. Start PostgreSQL there, or correct `store.url`")]
    Connect {
        url: PostgresUrl,
        source: PostgresFailure,
    },
    #[error("no encrypted connection to {url}: {source}. {remedy}")]
    Tls {
        url: PostgresUrl,
        source: PostgresFailure,
        remedy: String,
    },
    #[error(
        "{url} does not let unified-push in: {source}. Correct user and password (with certificates, \
         sslcert and sslkey) in `store.url`, or the server's pg_hba.conf"
    )]
    Authentication {
        url: PostgresUrl,
        source: PostgresFailure,
    },
    #[error(
        "there is no database {url}: {source}. Make it, as with `createdb --owner=USER DATABASE`, or \
         correct `store.url`"
    )]
    NoDatabase {
        url: PostgresUrl,
        source: PostgresFailure,
    },
    #[error(
        "{url} allows too little: {source}. Let the user own the database, or grant it CREATE on the \
         schema and all on the tables there"
    )]
    Denied {
        url: PostgresUrl,
        source: PostgresFailure,
    },
    #[error(
        "{url} takes no writes. Name the primary in `store.url`, not a standby, and see that \
         default_transaction_read_only is off there"
    )]
    ReadOnly { url: PostgresUrl },
    #[error(
        "{url} is no use: {source}. Have the pooler lend connections for a session (PgBouncer: \
         pool_mode = session for this database), or let `store.url` name PostgreSQL itself"
    )]
    Pooled {
        url: PostgresUrl,
        source: PostgresFailure,
    },
    #[error(
        "{url} cannot hold every address: {source}. Make another database with \
         `createdb --encoding=UTF8 --template=template0`; `unified-push store copy` carries over what is \
         here"
    )]
    Encoding {
        url: PostgresUrl,
        source: PostgresFailure,
    },
    #[error(
        "{url} may lose what was accepted: {source}, and `store.require_synchronous` is set. Name \
         standbys there, or remove the option"
    )]
    NotSynchronous {
        url: PostgresUrl,
        source: PostgresFailure,
    },
    #[error(
        "{url} was written by a newer version of unified-push (schema {found}; this version knows \
         {known}). Run that version, or restore a backup made by this one"
    )]
    Newer {
        url: PostgresUrl,
        found: u32,
        known: u32,
    },
    #[error(
        "{url} holds no store of unified-push. Name the database that the daemons use, with the \
         `options` of their URL"
    )]
    Missing { url: PostgresUrl },
    #[error("{url} is being copied: {source}. Wait until that is done")]
    Copying {
        url: PostgresUrl,
        source: PostgresFailure,
    },
    #[error("{url} is in use. Stop all daemons and commands that use it, and try again")]
    InUse { url: PostgresUrl },
    #[error(
        "{url} holds part of a copy of {copied_from}. Repeat `unified-push store copy`, which goes on \
         where it ended, or make a new database"
    )]
    Unfinished {
        url: PostgresUrl,
        copied_from: String,
    },
    #[error("{url} cannot be used as the store: {source}. PostgreSQL's log may say more")]
    Failed {
        url: PostgresUrl,
        source: PostgresFailure,
    },
}

/// With the remedy, as far as the server's answer tells.
pub fn failed(source: PostgresFailure, url: &PostgresUrl) -> PostgresOpenError {
    let url = url.clone();
    if let Some(remedy) = remedy::remedy(&source) {
        return PostgresOpenError::Tls {
            url,
            source,
            remedy,
        };
    }
    match source.code() {
        None => match source {
            PostgresFailure::TooSlow | PostgresFailure::SchemaLate => {
                PostgresOpenError::Failed { url, source }
            }
            PostgresFailure::Encoding(_) => PostgresOpenError::Encoding { url, source },
            PostgresFailure::Pooled(_) => PostgresOpenError::Pooled { url, source },
            PostgresFailure::Copying => PostgresOpenError::Copying { url, source },
            PostgresFailure::NotSynchronous => PostgresOpenError::NotSynchronous { url, source },
            source => PostgresOpenError::Connect { url, source },
        },
        Some(&SqlState::INVALID_PASSWORD | &SqlState::INVALID_AUTHORIZATION_SPECIFICATION) => {
            PostgresOpenError::Authentication { url, source }
        }
        Some(&SqlState::INVALID_CATALOG_NAME) => PostgresOpenError::NoDatabase { url, source },
        Some(&SqlState::INSUFFICIENT_PRIVILEGE) => PostgresOpenError::Denied { url, source },
        Some(&SqlState::READ_ONLY_SQL_TRANSACTION) => PostgresOpenError::ReadOnly { url },
        Some(_) => PostgresOpenError::Failed { url, source },
    }
}
