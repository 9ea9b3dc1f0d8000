//! A configuration is refused with a report, or what it says can be printed and loaded again as the same.

use std::{ffi::OsString, fs, path::PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use unified_push::config::{self, Loaded, Report};

const SECRET: (&str, &str) = ("UNIFIED_PUSH_COMPONENT__SECRET", "hunter2");

struct Files {
    _dir: TempDir,
    file: PathBuf,
}

thread_local!(static FILES: Files = {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("config.toml");
    Files { _dir: dir, file }
});

/// The file; after a line `---`, variables and their values on a line each.
pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    // Files that options name are read whole, and some of the system's have no end.
    if text.contains("_file") || text.contains("_FILE") || text.contains("ssl") {
        return;
    }
    let (file, variables) = text.split_once("\n---\n").unwrap_or((&text, ""));
    let variables = variables.lines().filter_map(|line| line.split_once('='));
    let variables: Vec<_> = variables.map(|(name, value)| (name, value)).collect();
    let Ok(loaded) = load(file, &variables) else {
        return;
    };
    assert!(
        !loaded.effective.toml.contains(SECRET.1),
        "the secret is printed"
    );
    // Keys of other servers are secrets: nothing of them is printed.
    let again = load(&loaded.effective.toml, &[]).unwrap_or_else(|report| panic!("{report}"));
    assert_eq!(values(&again), values(&loaded));
}

fn load(text: &str, variables: &[(&str, &str)]) -> Result<Loaded, Report> {
    FILES.with(|files| {
        fs::write(&files.file, text).expect("it is written");
        let variables = variables.iter().chain([&SECRET]);
        let variables =
            variables.map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let loaded = config::load(Some(&files.file), variables);
        if let Err(report) = &loaded {
            assert!(
                !report.to_string().contains(SECRET.1),
                "the secret is shown"
            );
        }
        loaded
    })
}

/// What is effective, wherever it comes from, as text: a number may be written as one or as a string.
fn values(loaded: &Loaded) -> Vec<(String, String)> {
    let options = loaded.effective.json.as_object().expect("by option");
    let values = options.iter().filter_map(|(path, option)| {
        let value = option.get("value")?;
        Some((
            path.clone(),
            match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            },
        ))
    });
    values.collect()
}
