//! All layers together, while they are read: every option is asked for once, and what is wrong is
//! collected instead of ending the reading.

use std::path::PathBuf;

use figment::{Figment, value::Value};

use super::{
    keys::{self, Fallback, Key},
    layers::{Layer, Setting},
    report::Problem,
    values::{self, Parsed},
};

#[derive(Default)]
pub struct Settings {
    layers: Figment,
    /// `$CREDENTIALS_DIRECTORY`: where relative paths of secrets start.
    pub credentials: Option<PathBuf>,
    /// Where they start without it: beside the configuration's file.
    pub directory: PathBuf,
    pub problems: Vec<Problem>,
    pub warnings: Vec<String>,
}

impl Settings {
    /// Lays a layer over those before it.
    pub fn merge(&mut self, layer: Layer) {
        for setting in layer.settings {
            self.layers = std::mem::take(&mut self.layers).merge(setting);
        }
        self.problems.extend(layer.problems);
        self.warnings.extend(layer.warnings);
    }

    /// Gives an option the default that follows from others.
    pub fn derive(&mut self, path: &'static str, value: Value) {
        let setting = Setting {
            path,
            value,
            origin: "default".to_owned(),
        };
        self.layers = std::mem::take(&mut self.layers).join(setting);
    }

    /// What the topmost layer that has the option says.
    pub fn find(&self, path: &'static str) -> Option<Setting> {
        let value = self.layers.find_value(path).ok()?;
        let origin = self.layers.get_metadata(value.tag())?.name.to_string();
        Some(Setting {
            path,
            value,
            origin,
        })
    }

    pub fn is_set(&self, path: &str) -> bool {
        self.layers.contains(path)
    }

    /// The option's value. None when it has none; if that is wrong, the report says so.
    pub fn get<T>(&mut self, path: &'static str, parse: impl Fn(&Value) -> Parsed<T>) -> Option<T> {
        let key = key(path);
        let Some(setting) = self.find(path) else {
            if matches!(key.fallback, Fallback::Required) {
                self.missing(key, key.name());
            }
            return None;
        };
        match parse(&setting.value) {
            Ok(value) => Some(value),
            Err(what) => {
                self.complain(&setting, what, expected(key));
                None
            }
        }
    }

    pub fn complain(&mut self, setting: &Setting, what: String, remedy: String) {
        let value = (!key(setting.path).secret).then(|| values::literal(&setting.value));
        self.problems.push(Problem {
            value,
            ..Problem::new(setting.path, what, remedy).at(&setting.origin)
        });
    }

    /// Reports an option that is right by itself, but not together with others.
    pub fn reject(&mut self, path: &'static str, what: &str, remedy: &str) {
        if let Some(setting) = self.find(path) {
            self.complain(&setting, what.to_owned(), remedy.to_owned());
        }
    }

    /// Reports that a required option is not set. `name` is the one to set: the option's own, or
    /// its `_file` twin's.
    pub fn missing(&mut self, key: &Key, name: &str) {
        let place = match key.section() {
            "" => String::new(),
            section => format!(" under [{section}]"),
        };
        let variable = key.variable();
        let suffix = name.strip_prefix(key.name()).unwrap_or("").to_uppercase();
        self.problems.push(Problem::new(
            key.path,
            "is missing",
            format!("set it in the file as `{name} = \"...\"`{place}, or in {variable}{suffix}"),
        ));
    }

    pub fn warn(&mut self, warning: impl Into<String>) {
        self.warnings.push(warning.into());
    }
}

pub fn key(path: &str) -> &'static Key {
    keys::find(path).expect("only options of the table are read")
}

pub fn expected(key: &Key) -> String {
    format!("expected: {}", key.form.replace('`', ""))
}
