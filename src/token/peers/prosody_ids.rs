//! The endpoints of Prosody's back end `storage`: random names, each with a file that says what it
//! stands for. `unified-push import` takes these into the store.

use std::{
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::digest;

use super::lua::{self, LuaError, Table, Value};
use crate::{
    model::{
        registration::{Digest, Registration},
        secret::KeyId,
        time::Timestamp,
    },
    store::TokenHash,
    token::claims::{Subject, timestamp},
};

/// Stands in the store where the secret of a token stands otherwise. `cHJvc29keSE` as people see it.
pub const KEY: KeyId = KeyId::from_bytes(*b"prosody!");

/// What such a token has, in characters of base64url: 27 random bytes.
const LENGTH: usize = 36;

/// The directory of the module's data, below that of a host.
const STORE: &str = "unified_push";
/// The file of the module's own key.
const PRIVATE: &str = "%5fprivate.dat";

/// What a file stands for.
pub struct Stored {
    pub id: TokenHash,
    /// As its phone was told; without a date of issue.
    pub registration: Registration,
}

#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    #[error(
        "there is no directory `unified_push` in {} or below one of its hosts. Name Prosody's data \
         directory, such as /var/lib/prosody. What Prosody keeps in a database cannot be imported",
        .0.display()
    )]
    NoData(PathBuf),
    #[error("{} cannot be read: {source}. Run this as a user who may read Prosody's data", .path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{} is damaged: {source}. Nothing was imported; move the file away and try again", .path.display())]
    Damaged { path: PathBuf, source: LuaError },
    #[error(
        "{} is not a registration: `{field}` is missing or wrong. Nothing was imported; if it is no file \
         of mod_unified_push, move it away and try again",
        .path.display()
    )]
    Field { path: PathBuf, field: &'static str },
    #[error(
        "{} has a name that is no endpoint's. Nothing was imported; move the file away and try again",
        .0.display()
    )]
    Name(PathBuf),
}

/// What a token is found by. None unless it looks like one of these.
pub fn hash(token: &str) -> Option<TokenHash> {
    if token.len() != LENGTH {
        return None;
    }
    URL_SAFE_NO_PAD.decode(token).ok()?;
    let digest = digest::digest(&digest::SHA256, token.as_bytes());
    digest.as_ref().try_into().ok().map(TokenHash::from_bytes)
}

/// Every registration in a data directory of Prosody's, or in that of one host. Nothing is left out: a
/// file that cannot be read is an error. Prosody may be running, since it replaces whole files.
pub fn read(directory: &Path) -> Result<Vec<Stored>, DirectoryError> {
    let mut stores = vec![directory.join(STORE)];
    stores.extend(list(directory)?.into_iter().map(|host| host.join(STORE)));
    let (mut found, mut has_data) = (Vec::new(), false);
    for store in stores {
        if !is_directory(&store)? {
            continue;
        }
        has_data = true;
        for path in list(&store)? {
            let is_data = path.extension().is_some_and(|extension| extension == "dat");
            if is_data && !path.ends_with(PRIVATE) {
                found.extend(file(path)?);
            }
        }
    }
    match has_data {
        true => Ok(found),
        false => Err(DirectoryError::NoData(directory.to_owned())),
    }
}

/// An error if nobody knows, as when the host's directory is another user's.
fn is_directory(path: &Path) -> Result<bool, DirectoryError> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(metadata.is_dir()),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(false)
        }
        Err(source) => Err(unreadable(path, source)),
    }
}

fn unreadable(path: &Path, source: io::Error) -> DirectoryError {
    let path = path.to_owned();
    DirectoryError::Unreadable { path, source }
}

fn list(directory: &Path) -> Result<Vec<PathBuf>, DirectoryError> {
    let entries = fs::read_dir(directory).and_then(|entries| {
        let paths = entries.map(|entry| entry.map(|entry| entry.path()));
        paths.collect()
    });
    entries.map_err(|source| unreadable(directory, source))
}

/// None when it is gone: Prosody deletes what has expired.
fn file(path: PathBuf) -> Result<Option<Stored>, DirectoryError> {
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(unreadable(&path, source)),
    };
    let Some(id) = token(&path).as_deref().and_then(hash) else {
        return Err(DirectoryError::Name(path));
    };
    let table = match lua::read(&text) {
        Ok(table) => table,
        Err(source) => return Err(DirectoryError::Damaged { path, source }),
    };
    match registration(&table) {
        Ok(registration) => Ok(Some(Stored { id, registration })),
        Err(field) => Err(DirectoryError::Field { path, field }),
    }
}

/// The name of the file without its escapes: `%` and two hex digits for all but letters and digits.
fn token(path: &Path) -> Option<String> {
    let name = path.file_stem()?.to_str()?;
    let decoded = percent_encoding::percent_decode_str(name).decode_utf8();
    decoded.ok().map(Into::into)
}

/// The field that is missing or wrong, if one is.
fn registration(table: &Table) -> Result<Registration, &'static str> {
    let text = |field: &'static str| match table.get(field) {
        Some(Value::Text(text)) => String::from_utf8(text.clone()).map_err(|_| field),
        _ => Err(field),
    };
    let expires = match table.get("exp") {
        Some(Value::Number(seconds)) => timestamp(*seconds),
        _ => return Err("exp"),
    };
    let (application, instance) = (text("application")?, text("instance")?);
    Digest::parse(Some(&application)).map_err(|_| "application")?;
    Digest::parse(Some(&instance)).map_err(|_| "instance")?;
    let subject = Subject::new(text("sub")?, application, instance);
    // Any revocation is later.
    let issued = Timestamp::from_millis(0);
    subject.into_registration(issued, expires).ok_or("sub")
}
