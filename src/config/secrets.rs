//! Secrets: each is written in place or read from the file that its `_file` twin names. The two
//! exclude each other, whichever layers they come from.

use std::{fs, io, os::unix::fs::PermissionsExt, path::Path};

use super::{
    Store,
    keys::Fallback,
    layers::Setting,
    settings::{Settings, expected, key},
    values,
};
use crate::{
    model::secret::{MIN_BYTES, Secret},
    store::PostgresUrlError,
};

/// Any secret that is not empty. None when it is not set or wrong; if that is a fault, the report
/// says so.
pub fn secret(
    settings: &mut Settings,
    path: &'static str,
    file_path: &'static str,
) -> Option<Secret> {
    match written(settings, path, file_path)? {
        Written::InPlace(setting) => match values::text(&setting.value) {
            Ok(text) => Some(Secret::new(text)),
            Err(what) => {
                settings.complain(&setting, what, expected(key(path)));
                None
            }
        },
        Written::InFile(setting) => {
            let secret = Secret::from_file_content(read(settings, &setting)?);
            if secret.as_bytes().is_empty() {
                let remedy = "put the secret into the file".to_owned();
                settings.complain(&setting, "names an empty file".to_owned(), remedy);
                return None;
            }
            Some(secret)
        }
    }
}

/// The secret that tokens rest on, which has to be long.
pub fn token_secret(settings: &mut Settings) -> Option<Secret> {
    let secret = secret(settings, "secret", "secret_file")?;
    if !secret.is_strong() {
        let found = settings
            .find("secret")
            .or_else(|| settings.find("secret_file"));
        settings.complain(&found?, too_short("is"), GENERATE.to_owned());
        return None;
    }
    Some(secret)
}

/// A URL, which in general holds a password.
pub fn store(settings: &mut Settings) -> Option<Store> {
    let found = written(settings, "store.url", "store.url_file");
    let (setting, url) = match found {
        // Set twice is a problem that the report has already.
        None if settings.is_set("store.url") => return None,
        None => return Some(Store::Sqlite),
        Some(Written::InPlace(setting)) => match values::text(&setting.value) {
            Ok(url) => (setting, url),
            Err(what) => {
                settings.complain(&setting, what, expected(key("store.url")));
                return None;
            }
        },
        Some(Written::InFile(setting)) => {
            let content = Secret::from_file_content(read(settings, &setting)?);
            // What is not UTF-8 is no URL either.
            let url = String::from_utf8_lossy(content.as_bytes()).into_owned();
            (setting, url)
        }
    };
    if url == "sqlite" {
        return Some(Store::Sqlite);
    }
    match url.parse() {
        Ok(url) => Some(Store::Postgres(url)),
        Err(error) => {
            let error: PostgresUrlError = error;
            let error = match setting.path {
                "store.url" => error.to_string(),
                _ => format!("names a file whose content {error}"),
            };
            settings.complain(&setting, error, expected(key("store.url")));
            None
        }
    }
}

/// The secrets before the current one; in a file one per line.
pub fn previous_secrets(settings: &mut Settings) -> Option<Vec<Secret>> {
    let found = written(settings, "previous_secrets", "previous_secrets_file");
    let (setting, secrets) = match found {
        None => return Some(Vec::new()),
        Some(Written::InPlace(setting)) => match values::list(&setting.value) {
            Ok(secrets) => (setting, secrets.into_iter().map(Secret::new).collect()),
            Err(what) => {
                settings.complain(&setting, what, expected(key("previous_secrets")));
                return None;
            }
        },
        Some(Written::InFile(setting)) if setting.value.as_str() == Some("") => {
            return Some(Vec::new());
        }
        Some(Written::InFile(setting)) => {
            let content = read(settings, &setting)?;
            let lines = content.split(|byte| *byte == b'\n');
            let secrets = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
            let secrets = secrets.filter(|line| !line.is_empty()).map(Secret::new);
            (setting, secrets.collect::<Vec<_>>())
        }
    };
    if let Some(index) = secrets.iter().position(|secret| !secret.is_strong()) {
        let what = too_short(&format!("has as number {} a secret that is", index + 1));
        settings.complain(&setting, what, GENERATE.to_owned());
        return None;
    }
    Some(secrets)
}

const GENERATE: &str = "make one with `unified-push gen-secret`";

fn too_short(what: &str) -> String {
    format!("{what} shorter than {MIN_BYTES} bytes")
}

enum Written {
    InPlace(Setting),
    InFile(Setting),
}

fn written(
    settings: &mut Settings,
    path: &'static str,
    file_path: &'static str,
) -> Option<Written> {
    match (settings.find(path), settings.find(file_path)) {
        (Some(setting), None) => Some(Written::InPlace(setting)),
        (None, Some(setting)) => Some(Written::InFile(setting)),
        (Some(in_place), Some(in_file)) => {
            let what = format!("is set, and so is {file_path} ({})", in_file.origin);
            settings.complain(&in_place, what, "keep one of the two".to_owned());
            None
        }
        (None, None) => {
            if matches!(key(path).fallback, Fallback::Required) {
                settings.missing(key(path), key(file_path).name());
            }
            None
        }
    }
}

/// The content of the file that a `_file` option names.
fn read(settings: &mut Settings, setting: &Setting) -> Option<Vec<u8>> {
    let path = match values::path(&setting.value) {
        Ok(path) => path,
        Err(what) => {
            settings.complain(setting, what, expected(key(setting.path)));
            return None;
        }
    };
    let (path, is_credential) = match &settings.credentials {
        Some(directory) => {
            let path = directory.join(path);
            let is_credential = path.starts_with(directory);
            (path, is_credential)
        }
        None => (settings.directory.join(path), false),
    };
    match fs::read(&path) {
        Ok(content) => {
            if !is_credential && is_exposed(&path) {
                settings.warn(exposed(setting, &path));
            }
            Some(content)
        }
        Err(error) => {
            let what = format!("cannot be read: {error}");
            let remedy = match error.kind() {
                io::ErrorKind::NotFound => how_to_make(setting, &path),
                _ => format!("let the daemon's user read {}", path.display()),
            };
            settings.complain(setting, what, remedy);
            None
        }
    }
}

/// The remedy for a secret's file that does not exist.
fn how_to_make(setting: &Setting, path: &Path) -> String {
    let path = path.display();
    match setting.path {
        "component.secret_file" => {
            format!("put into {path} the component's secret, as the XMPP server has it")
        }
        "previous_secrets_file" => {
            format!("put into {path} the secrets before the current one, or set it to \"\"")
        }
        "store.url_file" => format!("put into {path} the database's URL"),
        _ => format!("make {path}; `unified-push gen-secret` prints a secret to put into it"),
    }
}

/// Whether others than the owner may read a file. Kubernetes mounts symbolic links, whose targets
/// only the container sees.
fn is_exposed(path: &Path) -> bool {
    fs::symlink_metadata(path)
        .is_ok_and(|file| !file.is_symlink() && file.permissions().mode() & 0o044 != 0)
}

fn exposed(setting: &Setting, path: &Path) -> String {
    format!(
        "{} ({}): {} can be read by its group or by everybody; `chmod 600` it",
        setting.path,
        setting.origin,
        path.display()
    )
}
