//! `check-config --print`: the values of all layers together, as a file that could be loaded.

use std::fmt;

use super::{
    forms,
    key::{About, Fallback},
    options::OPTIONS,
    settings::Settings,
};

/// TOML. Every value has its origin beside it; secrets stand there as comments without a value.
#[derive(Debug)]
pub struct Effective(String);

impl Effective {
    pub fn of(settings: &Settings) -> Self {
        let mut text = String::new();
        let mut section = "";
        for about in OPTIONS.iter().map(|option| option.about()) {
            let Some(line) = line(settings, about) else {
                continue;
            };
            if section != about.section() {
                section = about.section();
                text.push_str(&format!("\n[{section}]\n"));
            }
            text.push_str(&line);
        }
        Self(text)
    }
}

/// What to print of an option; nothing when it has no value.
fn line(settings: &Settings, about: &About) -> Option<String> {
    let name = about.name();
    match (settings.find(about), &about.default) {
        (Some(setting), _) if about.is_secret => Some(format!(
            "# {name} is set; the value is not shown  # {}\n",
            setting.origin
        )),
        (Some(setting), _) => {
            let value = forms::literal(&setting.value);
            Some(format!("{name} = {value}  # {}\n", setting.origin))
        }
        (None, Fallback::Derived(text)) if !has_file(settings, about) => {
            Some(format!("# {name}: {}  # default\n", text.replace('`', "")))
        }
        (None, _) => None,
    }
}

/// Whether the option's `_file` twin is set.
fn has_file(settings: &Settings, about: &About) -> bool {
    let path = format!("{}_file", about.path);
    let mut abouts = OPTIONS.iter().map(|option| option.about());
    abouts.any(|twin| twin.path == path && settings.is_set(twin))
}

impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
