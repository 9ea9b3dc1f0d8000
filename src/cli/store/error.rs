//! Why a text names no store.

use std::{io, path::PathBuf};

use crate::store::PostgresUrlError;

/// Never with the text, which may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    #[error(
        "{option} names no store. Write sqlite:DIRECTORY, postgres://USER:PASSWORD@HOST/DATABASE, or \
         file:FILE for a file that holds such a URL"
    )]
    Scheme { option: &'static str },
    #[error("{option} {source}")]
    Url {
        option: &'static str,
        source: PostgresUrlError,
    },
    #[error("{option}: {} cannot be read: {source}", .file.display())]
    File {
        option: &'static str,
        file: PathBuf,
        source: io::Error,
    },
    #[error("{option}: what {} holds {source}", .file.display())]
    InFile {
        option: &'static str,
        file: PathBuf,
        source: PostgresUrlError,
    },
}
