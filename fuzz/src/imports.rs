//! What other servers leave behind: keys, and the files of Prosody's back end `storage`. A file says one
//! thing or is refused as a whole.

use std::{fs, path::PathBuf};

use tempfile::TempDir;
use unified_push::token::{Import, Peer, read_prosody_storage};

struct Directory {
    dir: TempDir,
    file: PathBuf,
}

thread_local!(static DIRECTORY: Directory = {
    let dir = tempfile::tempdir().expect("a directory");
    let store = dir.path().join("up%2eexample%2eorg/unified_push");
    fs::create_dir_all(&store).expect("it is made");
    let file = store.join("UlFpCoWhC3UvKAjNi3JaVxFdhXXgxpu4bw7y.dat");
    Directory { dir, file }
});

pub fn run(data: &[u8]) {
    for peer in Peer::WITH_KEY {
        if let Ok(import) = Import::new(peer, data) {
            assert_eq!(import.peer(), peer);
        }
    }
    let read = |text: &[u8]| {
        DIRECTORY.with(|directory| {
            fs::write(&directory.file, text).expect("it is written");
            read_prosody_storage(directory.dir.path())
        })
    };
    let Ok(stored) = read(data) else {
        return;
    };
    let [stored] = &stored[..] else {
        panic!("one file is one registration");
    };
    // Written as Prosody writes it, it says the same.
    let registration = &stored.registration;
    let quoted = registration
        .owner
        .as_str()
        .replace('\\', "\\\\")
        .replace('"', "\\\"");
    let again = format!(
        "return {{\n\t[\"sub\"] = \"{quoted}\";\n\t[\"exp\"] = {};\n\t[\"application\"] = \"{}\";\n\
         \t[\"instance\"] = \"{}\";\n}};\n",
        registration.expires.as_secs(),
        registration.application.to_base64(),
        registration.instance.to_base64()
    );
    let again = read(again.as_bytes()).expect("it was read before");
    assert_eq!(again[0].registration.key(), registration.key());
    assert_eq!(again[0].registration.owner, registration.owner);
    assert_eq!(
        again[0].registration.expires.as_secs(),
        registration.expires.as_secs()
    );
}
