//! `check-config --print`: the values of all layers together, as a file that could be loaded.

use std::fmt;

use super::{keys::KEYS, settings::Settings, values};

/// TOML. Every value has its origin beside it; secrets stand there as comments without a value.
#[derive(Debug)]
pub struct Effective(String);

impl Effective {
    pub fn of(settings: &Settings) -> Self {
        let mut text = String::new();
        let mut section = "";
        for key in KEYS {
            let Some(setting) = settings.find(key.path) else {
                continue;
            };
            if section != key.section() {
                section = key.section();
                text.push_str(&format!("\n[{section}]\n"));
            }
            let name = key.name();
            let line = match key.secret {
                true => format!("# {name} is set, not shown  # {}\n", setting.origin),
                false => {
                    let value = values::literal(&setting.value);
                    format!("{name} = {value}  # {}\n", setting.origin)
                }
            };
            text.push_str(&line);
        }
        Self(text)
    }
}

impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
