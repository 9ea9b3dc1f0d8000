//! Secrets: each is written in place or read from the file that its `_file` twin names. The two
//! exclude each other, whichever layers they come from.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    Store,
    forms::{As, Form},
    key::{About, Described, Key},
    options::{PREVIOUS_SECRETS, PREVIOUS_SECRETS_FILE, SECRET, SECRET_FILE, component, store},
    settings::{Settings, expected},
    values::frame,
};
use crate::{
    model::{
        exposure::Exposed,
        secret::{MIN_BYTES, Secret},
    },
    store::PostgresUrl,
};

const GENERATE: &str = "generate one with `unified-push gen-secret`";

/// None when it is not set or wrong, and so are the others; if that is a fault, the report says so.
pub fn component_secret(settings: &mut Settings) -> Option<Secret> {
    let (about, secret) = secret(settings, &component::SECRET, &component::SECRET_FILE)?;
    warn_of_frame(settings, about, "", secret.as_bytes());
    Some(secret)
}

/// The secret that tokens rest on, which has to be long.
pub fn token_secret(settings: &mut Settings) -> Option<Secret> {
    let (about, secret) = secret(settings, &SECRET, &SECRET_FILE)?;
    if !secret.is_strong() {
        settings.complain(about, too_short("is"), GENERATE);
        return None;
    }
    warn_of_frame(settings, about, "", secret.as_bytes());
    Some(secret)
}

/// The secrets before the current one; in a file one per line.
pub fn previous_secrets(settings: &mut Settings) -> Option<Vec<Secret>> {
    let found = written(settings, &PREVIOUS_SECRETS, &PREVIOUS_SECRETS_FILE);
    let (about, secrets): (_, Vec<_>) = match found {
        None => return Some(Vec::new()),
        Some(Written::InPlace(secrets)) => {
            settings.warn_of_open_file(&PREVIOUS_SECRETS.about, PREVIOUS_SECRETS_FILE.about.name());
            let secrets = secrets.into_iter().map(Secret::new);
            (&PREVIOUS_SECRETS.about, secrets.collect())
        }
        Some(Written::InFile(content)) => {
            let lines = content.split(|byte| *byte == b'\n');
            let secrets = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
            let secrets = secrets.filter(|line| !line.is_empty()).map(Secret::new);
            (&PREVIOUS_SECRETS_FILE.about, secrets.collect())
        }
    };
    if let Some(index) = secrets.iter().position(|secret| !secret.is_strong()) {
        let what = too_short(&format!("has a secret, number {}, that is", index + 1));
        settings.complain(about, what, GENERATE);
        return None;
    }
    for (index, secret) in secrets.iter().enumerate() {
        let number = format!("number {} ", index + 1);
        warn_of_frame(settings, about, &number, secret.as_bytes());
    }
    Some(secrets)
}

/// A URL, which usually holds a password.
pub fn store(settings: &mut Settings) -> Option<Store> {
    let (about, url, of_file) = match written(settings, &store::URL, &store::URL_FILE) {
        // Set twice, or wrong, is a problem that the report has already.
        None if settings.is_set(&store::URL.about) || settings.is_set(&store::URL_FILE.about) => {
            return None;
        }
        None => return Some(Store::Sqlite),
        Some(Written::InPlace(url)) => (&store::URL.about, url, ""),
        Some(Written::InFile(content)) => {
            let content = Secret::from_file_content(content);
            // What is not UTF-8 is no URL either.
            let url = String::from_utf8_lossy(content.as_bytes()).into_owned();
            (&store::URL_FILE.about, url, "names a file whose content ")
        }
    };
    if url == "sqlite" {
        return Some(Store::Sqlite);
    }
    let parsed: Result<PostgresUrl, _> = url.parse();
    match parsed {
        Ok(url) => {
            if let Err(error) = url.check_files() {
                let remedy = "correct the path, or the file that the daemon's user has to read";
                settings.complain(about, format!("{of_file}{error}"), remedy);
                return None;
            }
            if url.has_password() {
                settings.warn_of_open_file(&store::URL.about, store::URL_FILE.about.name());
            }
            let file = settings.find(&store::URL_FILE.about);
            let file = file.and_then(|setting| setting.value.as_str().map(PathBuf::from));
            Some(Store::Postgres(match file {
                Some(file) => url.kept_in(&place(settings, &file).0),
                None => url,
            }))
        }
        Err(error) => {
            let what = match frame(url.as_bytes()) {
                Some(frame) => frame.to_owned(),
                None => error.to_string(),
            };
            settings.complain(about, format!("{of_file}{what}"), expected(&store::URL));
            None
        }
    }
}

/// Any secret that is not empty, and the option that has it.
fn secret(
    settings: &mut Settings,
    key: &'static Key<As<String>>,
    file: &'static dyn Described,
) -> Option<(&'static About, Secret)> {
    match written(settings, key, file)? {
        Written::InPlace(text) => {
            settings.warn_of_open_file(&key.about, file.about().name());
            Some((&key.about, Secret::new(text)))
        }
        Written::InFile(content) => {
            let secret = Secret::from_file_content(content);
            if secret.as_bytes().is_empty() {
                let remedy = "put the secret into the file";
                settings.complain(file.about(), "names an empty file", remedy);
                return None;
            }
            Some((file.about(), secret))
        }
    }
}

fn too_short(what: &str) -> String {
    format!("{what} shorter than {MIN_BYTES} bytes")
}

/// Every byte counts, so a secret that was pasted with quotation marks is another secret.
fn warn_of_frame(settings: &mut Settings, about: &About, which: &str, secret: &[u8]) {
    if let Some(frame) = frame(secret)
        && let Some(setting) = settings.find(about)
    {
        settings.warn(format!(
            "{} ({}): {which}{frame}, which counts as a part of the secret; remove it unless it is one",
            about.path, setting.origin
        ));
    }
}

enum Written<T> {
    InPlace(T),
    InFile(Vec<u8>),
}

fn written<F: Form>(
    settings: &mut Settings,
    key: &'static Key<F>,
    file: &'static dyn Described,
) -> Option<Written<F::Value>> {
    let about = &key.about;
    match (settings.find(about), settings.find(file.about())) {
        (Some(_), None) => settings.get(key).map(Written::InPlace),
        (None, Some(setting)) => {
            file.check(&setting.value).ok()?;
            match setting.value.as_str()? {
                "" => Some(Written::InFile(Vec::new())),
                path => read(settings, file.about(), path.as_ref()).map(Written::InFile),
            }
        }
        (Some(_), Some(in_file)) => {
            let file = file.about().path;
            let what = format!("is set, but so is {file} ({})", in_file.origin);
            settings.complain(about, what, "keep only one of the two");
            None
        }
        (None, None) => {
            if about.is_required() {
                settings.missing(about, file.about().name());
            }
            None
        }
    }
}

/// The content of the file that a `_file` option names.
fn read(settings: &mut Settings, about: &About, path: &Path) -> Option<Vec<u8>> {
    let (path, is_credential) = place(settings, path);
    match fs::read(&path) {
        Ok(content) => {
            if !is_credential
                && let Some(exposed) = Exposed::file(&path)
                && let Some(setting) = settings.find(about)
            {
                settings.warn(format!("{} ({}): {exposed}", about.path, setting.origin));
            }
            Some(content)
        }
        Err(error) => {
            let remedy = match error.kind() {
                io::ErrorKind::NotFound if is_credential => how_to_pass(&path),
                io::ErrorKind::NotFound => how_to_make(about, &path),
                _ => format!("let the user who runs unified-push read {}", path.display()),
            };
            settings.complain(about, format!("cannot be read: {error}"), remedy);
            None
        }
    }
}

/// Where a `_file` option's path leads, and whether it is one of systemd's credentials.
pub fn place(settings: &Settings, path: &Path) -> (PathBuf, bool) {
    match &settings.credentials {
        Some(directory) => {
            let path = directory.join(path);
            let is_credential = path.starts_with(directory);
            (path, is_credential)
        }
        None => (settings.file.with_file_name(path), false),
    }
}

/// The remedy for a credential that does not exist: nobody but systemd can put it there.
pub fn how_to_pass(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().display();
    format!(
        "have systemd pass it: write `LoadCredential={name}:FILE` under [Service] in the unit, with the file \
         that holds it, and restart unified-push"
    )
}

/// The remedy for a secret's file that does not exist.
fn how_to_make(about: &About, path: &Path) -> String {
    let path = path.display();
    match about.path {
        "component.secret_file" => {
            format!(
                "write the component's secret into {path}, as in the XMPP server's configuration"
            )
        }
        "previous_secrets_file" => {
            format!("write the earlier secrets into {path}, or set the option to \"\"")
        }
        "store.url_file" => format!("write the database's URL into {path}"),
        _ => format!("create {path}; `unified-push gen-secret` prints a secret to put into it"),
    }
}
