//! The secret that is kept in `state_dir` when none is configured: generated on the first start.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};

use super::issuers::{KeyIds, living};
use crate::{
    model::{
        random::{Random, random_array},
        secret::{MIN_BYTES, Secret},
        time::Timestamp,
    },
    store::{Store, StoreError},
};

const FILE: &str = "secret";

pub struct StateSecret {
    pub secret: Secret,
    pub path: PathBuf,
    /// It was not there before; the administrator is to be told.
    pub made: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum StateSecretError {
    #[error(
        "{path} cannot be read: {source}. Make sure that the user who runs unified-push can read it"
    )]
    Unreadable { path: PathBuf, source: io::Error },
    #[error(
        "{path} holds fewer than {MIN_BYTES} bytes. Restore it from a backup, or remove it so that a \
         new one is generated"
    )]
    TooShort { path: PathBuf },
    #[error(
        "{path} cannot be created: {source}. Make sure that the user who runs unified-push can write to \
         the state directory, or set `secret_file`"
    )]
    Unwritable { path: PathBuf, source: io::Error },
    /// Another secret would turn these endpoints into 404s for good.
    #[error(
        "no secret is configured and {path} is missing, but endpoints that depend on it are still in use \
         (key id {keys}). Restore that file, set `secret_file`, or give those endpoints up: {}",
        keys.forget_command()
    )]
    Lost { path: PathBuf, keys: KeyIds },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A fresh secret as `openssl rand -base64 32` prints it, without the newline. The text itself is
/// the secret, never what it decodes to.
pub fn gen_secret(random: &dyn Random) -> String {
    STANDARD.encode(random_array::<32>(random))
}

impl StateSecret {
    /// None when there is no such file.
    pub fn load(state_dir: &Path) -> Result<Option<Self>, StateSecretError> {
        let path = state_dir.join(FILE);
        let secret = match fs::read(&path) {
            Ok(content) => Secret::from_file_content(content),
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(StateSecretError::Unreadable { path, source }),
        };
        if !secret.is_strong() {
            return Err(StateSecretError::TooShort { path });
        }
        Ok(Some(Self {
            secret,
            path,
            made: false,
        }))
    }

    /// Makes it only while no endpoint rests on another secret.
    pub async fn load_or_make(
        state_dir: &Path,
        store: &Store,
        now: Timestamp,
        random: &dyn Random,
    ) -> Result<Self, StateSecretError> {
        if let Some(loaded) = Self::load(state_dir)? {
            return Ok(loaded);
        }
        let path = state_dir.join(FILE);
        if let Some(keys) = KeyIds::new(living(store, now).await?) {
            return Err(StateSecretError::Lost { path, keys });
        }
        let text = gen_secret(random);
        match write(state_dir, &path, &text) {
            Ok(()) => Ok(Self {
                secret: Secret::new(text),
                path,
                made: true,
            }),
            Err(source) => Err(StateSecretError::Unwritable { path, source }),
        }
    }
}

/// On the disk, with its name, before any token rests on it. It gets its name when it is whole: a
/// crash on the way leaves no half of a secret.
fn write(directory: &Path, path: &Path, text: &str) -> io::Result<()> {
    let draft = path.with_extension("draft");
    // One that a crash has left, or a link that somebody has put there: it would not be followed.
    match fs::remove_file(&draft) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
        Ok(()) | Err(_) => (),
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)?;
    file.write_all(format!("{text}\n").as_bytes())?;
    file.sync_all()?;
    fs::rename(draft, path)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::model::{random::SystemRandom, secret::KeyId};

    const NOW: Timestamp = Timestamp::from_secs(1_764_000_000);

    async fn load_or_make(
        state_dir: &Path,
        store: &Store,
    ) -> Result<StateSecret, StateSecretError> {
        StateSecret::load_or_make(state_dir, store, NOW, &SystemRandom).await
    }

    #[tokio::test]
    async fn it_is_made_once_for_the_daemon_alone() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let made = load_or_make(dir.path(), &store).await.unwrap();
        assert!(made.made && made.secret.is_strong());
        let mode = fs::metadata(&made.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let text = fs::read_to_string(&made.path).unwrap();
        assert_eq!(text.len(), 45);
        assert_eq!(text.trim_end().as_bytes(), made.secret.as_bytes());

        let kept = load_or_make(dir.path(), &store).await.unwrap();
        assert!(!kept.made && kept.secret == made.secret);
    }

    #[tokio::test]
    async fn a_draft_that_is_there_is_replaced_and_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let other = dir.path().join("other");
        fs::write(&other, "precious").unwrap();
        symlink(&other, dir.path().join("secret.draft")).unwrap();
        let made = load_or_make(dir.path(), &store).await.unwrap();
        assert!(made.made && fs::symlink_metadata(&made.path).unwrap().is_file());
        assert_eq!(fs::read(&other).unwrap(), b"precious");
    }

    #[tokio::test]
    async fn a_lost_one_is_not_replaced_while_endpoints_live() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let key = KeyId::from_bytes([1; 8]);
        let later = Timestamp::from_secs(1_764_000_001);
        store.note_issuer(key, later).await.unwrap();
        let Err(error) = load_or_make(dir.path(), &store).await else {
            panic!("made")
        };
        let text = error.to_string();
        assert!(
            text.contains(&format!("registrations forget-key {key}`")),
            "{text}"
        );
        assert!(!dir.path().join(FILE).exists());

        store.forget_key(key).await.unwrap();
        assert!(load_or_make(dir.path(), &store).await.unwrap().made);
    }

    #[tokio::test]
    async fn a_short_or_unreadable_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let file = dir.path().join(FILE);
        fs::write(&file, "short\n").unwrap();
        let error = load_or_make(dir.path(), &store).await.err();
        assert!(matches!(error, Some(StateSecretError::TooShort { .. })));
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        let error = load_or_make(dir.path(), &store).await.err();
        assert!(matches!(error, Some(StateSecretError::Unreadable { .. })));
    }
}
