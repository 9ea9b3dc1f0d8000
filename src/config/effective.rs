//! `check-config --print`: the values of all layers together, as a file that could be loaded, or as
//! JSON for a program.

use serde_json::{Map, Value, json};

use super::{
    forms,
    key::{About, Fallback},
    options::OPTIONS,
    settings::Settings,
};

/// Every value has its origin beside it. Of secrets it only says that they are set.
#[derive(Debug)]
pub struct Effective {
    /// Secrets stand there as comments without a value.
    pub toml: String,
    /// By the option's path: `value`, unless it is a secret, and `origin`.
    pub json: Value,
}

impl Effective {
    pub fn of(settings: &Settings) -> Self {
        let mut toml = String::new();
        let mut json = Map::new();
        let mut section = "";
        for about in OPTIONS.iter().map(|option| option.about()) {
            if let Some(entry) = entry(settings, about) {
                json.insert(about.path.to_owned(), entry);
            }
            let Some(line) = line(settings, about) else {
                continue;
            };
            if section != about.section() {
                section = about.section();
                toml.push_str(&format!("\n[{section}]\n"));
            }
            toml.push_str(&line);
        }
        Self {
            toml,
            json: json.into(),
        }
    }
}

fn entry(settings: &Settings, about: &About) -> Option<Value> {
    let setting = settings.find(about)?;
    Some(match about.is_secret {
        true => json!({ "origin": setting.origin }),
        false => json!({ "value": setting.value, "origin": setting.origin }),
    })
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
