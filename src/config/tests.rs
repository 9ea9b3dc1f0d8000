//! The configuration as a whole, from files and variables to [`Config`] or report.

mod example;
mod imports;
mod layering;
mod problems;
mod secret_files;
mod shown;
mod store;

use std::{ffi::OsString, fs, path::PathBuf};

use tempfile::TempDir;

use super::*;

const LONG: &str = "0123456789abcdef0123456789abcdef";
const DOMAIN: (&str, &str) = ("UNIFIED_PUSH_COMPONENT__DOMAIN", "up.example.org");
const SECRET: (&str, &str) = ("UNIFIED_PUSH_COMPONENT__SECRET", "of the component");

/// A directory with what a test writes into it.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// As [`fs::write`], but only the owner may read it.
    fn write_private(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        use std::os::unix::fs::PermissionsExt;
        let path = self.write(name, content);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn load(&self, toml: &str, env: &[(&str, &str)]) -> Result<Loaded, Report> {
        let path = self.write_private("config.toml", toml);
        load(Some(path.as_ref()), variables(env))
    }

    /// The report's text, with `config.toml` for the file's path.
    fn report(&self, toml: &str, env: &[(&str, &str)]) -> String {
        let report = self.load(toml, env).unwrap_err().to_string();
        report.replace(&format!("{}/", self.0.path().display()), "")
    }
}

fn variables(env: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    env.iter().map(|(k, v)| (k.into(), v.into())).collect()
}

/// Loads with the required options set.
fn load_with(toml: &str, env: &[(&str, &str)]) -> Result<Loaded, Report> {
    Files::new().load(toml, &[&[DOMAIN, SECRET], env].concat())
}

fn warnings(toml: &str, env: &[(&str, &str)]) -> String {
    load_with(toml, env).unwrap().warnings.join("\n")
}

fn report(toml: &str, env: &[(&str, &str)]) -> String {
    Files::new().report(toml, &[&[DOMAIN, SECRET], env].concat())
}
