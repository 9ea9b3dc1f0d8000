//! `[[import]]`: the push servers whose endpoints are accepted, with their keys.

use std::fs;

use super::{
    import_entry::{Entry, Written},
    options::IMPORT,
    secrets::{how_to_pass, place},
    settings::Settings,
    values::frame,
};
use crate::{
    model::{
        exposure::Exposed,
        secret::{MIN_BYTES, Secret},
    },
    token::{Import, KeyError, Peer},
};

/// None when one of them is wrong, and then the report says so.
pub fn imports(settings: &mut Settings) -> Option<Vec<Import>> {
    let entries = match settings.is_set(&IMPORT.about) {
        true => settings.get(&IMPORT)?,
        false => Vec::new(),
    };
    let mut imports = Some(Vec::new());
    for (entry, number) in entries.into_iter().zip(1..) {
        let import = import(settings, entry, number);
        imports = imports.zip(import).map(|(mut imports, import)| {
            imports.push(import);
            imports
        });
    }
    imports
}

fn import(settings: &mut Settings, entry: Entry, number: usize) -> Option<Import> {
    let about = &IMPORT.about;
    let Entry { peer, key } = entry;
    let entry = format!("entry number {number}, of kind \"{peer}\"");
    let (name, written) = match key {
        Written::InPlace(key) => {
            settings.warn_of_open_file(about, "key_file");
            (format!("{entry}: `key`"), key)
        }
        Written::InFile(path) => {
            let (path, is_credential) = place(settings, &path);
            let name = format!("{entry}: {}", path.display());
            match fs::read(&path) {
                Ok(content) => {
                    if !is_credential && let Some(exposed) = Exposed::file(&path) {
                        settings.warn(format!("{}, {entry}: {exposed}", about.path));
                    }
                    // Not a line of the file's is trimmed here: what is a key is up to its kind.
                    (name, Secret::new(content))
                }
                Err(error) => {
                    let what = format!("has a key that is missing: {name} cannot be read: {error}");
                    let remedy = match is_credential {
                        true => how_to_pass(&path),
                        false => {
                            "copy the former server's key to there, and let the user who runs \
                                  unified-push read it"
                                .to_owned()
                        }
                    };
                    settings.complain(about, what, remedy);
                    return None;
                }
            }
        }
    };
    let key = Secret::from_file_content(written.as_bytes());
    if peer == Peer::ProsodyJwt
        && let Some(frame) = frame(key.as_bytes())
    {
        settings.warn(format!(
            "{}, {name}: {frame}, which counts as a part of the key; remove it unless it is one",
            about.path
        ));
    }
    match Import::new(peer, written.as_bytes()) {
        Ok(import) => {
            if !import.is_strong() {
                settings.warn(format!(
                    "{}, {name}: the key is shorter than {MIN_BYTES} bytes, so that others may find it \
                     out and forge endpoints; remove the entry when the last of these endpoints has expired",
                    about.path
                ));
            }
            Some(import)
        }
        Err(error) => {
            let what = format!("has a wrong key: {name} {error}");
            settings.complain(about, what, remedy(&error));
            None
        }
    }
}

fn remedy(error: &KeyError) -> &'static str {
    match error {
        KeyError::OtherJwk(_) => "take the key that is in `mod_unified_push` under `jwk`",
        _ => "copy the key from the former server, as docs/moving.md shows",
    }
}
