//! `check-config --print`: the values of all layers together, as a file that could be loaded.

use std::fmt;

use super::{
    keys::{Fallback, KEYS, Key},
    settings::Settings,
    values,
};

/// TOML. Every value has its origin beside it; secrets stand there as comments without a value.
#[derive(Debug)]
pub struct Effective(String);

impl Effective {
    pub fn of(settings: &Settings) -> Self {
        let mut text = String::new();
        let mut section = "";
        for key in KEYS {
            let Some(line) = line(settings, key) else {
                continue;
            };
            if section != key.section() {
                section = key.section();
                text.push_str(&format!("\n[{section}]\n"));
            }
            text.push_str(&line);
        }
        Self(text)
    }
}

/// What to print of an option; nothing when it has no value.
fn line(settings: &Settings, key: &Key) -> Option<String> {
    let name = key.name();
    match (settings.find(key.path), &key.fallback) {
        (Some(setting), _) if key.secret => Some(format!(
            "# {name} is set, not shown  # {}\n",
            setting.origin
        )),
        (Some(setting), _) => {
            let value = values::literal(&setting.value);
            Some(format!("{name} = {value}  # {}\n", setting.origin))
        }
        (None, Fallback::Derived(text)) if !settings.is_set(&format!("{}_file", key.path)) => {
            Some(format!("# {name}: {}  # default\n", text.replace('`', "")))
        }
        (None, _) => None,
    }
}

impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
