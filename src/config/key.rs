//! An option: its name, how its values are written, its default, and what is said of it. All that
//! knows the options is made from these.

use figment::value::Value;

use super::forms::{Form, Kind, Parsed};

/// What every environment variable of ours begins with.
pub const PREFIX: &str = "UNIFIED_PUSH_";

/// An option, with the type of its values.
pub struct Key<F: 'static> {
    pub about: About,
    pub form: F,
}

/// What is known of an option whatever its type.
#[derive(Debug)]
pub struct About {
    /// As in the file, the section before a dot.
    pub path: &'static str,
    pub default: Fallback,
    /// What it does, in a sentence or two of Markdown.
    pub meaning: &'static str,
    /// What `docs/configuration.md` adds to that.
    pub details: &'static str,
    /// A value as TOML to begin with, where the default is none.
    pub example: &'static str,
    /// The value is never shown.
    pub is_secret: bool,
    /// A new value takes effect only with a restart.
    pub needs_restart: bool,
}

/// What holds when no layer sets the option.
#[derive(Debug)]
pub enum Fallback {
    /// The start is refused.
    Required,
    /// Nothing.
    Unset,
    /// This value, as TOML.
    Fixed(&'static str),
    /// Something that depends on other options, in words.
    Derived(&'static str),
}

/// A key of whatever type.
pub trait Described: Sync {
    fn about(&self) -> &About;

    fn kind(&self) -> Kind;

    /// What is wrong with a value by itself.
    fn check(&self, value: &Value) -> Parsed<()>;
}

impl<F: Form + Sync> Described for Key<F> {
    fn about(&self) -> &About {
        &self.about
    }

    fn kind(&self) -> Kind {
        self.form.kind()
    }

    fn check(&self, value: &Value) -> Parsed<()> {
        self.form.parse(value).map(|_| ())
    }
}

impl<F: Form> Key<F> {
    pub const fn new(path: &'static str, form: F, default: Fallback) -> Self {
        let about = About {
            path,
            default,
            meaning: "",
            details: "",
            example: "",
            is_secret: false,
            needs_restart: false,
        };
        Self { about, form }
    }

    pub const fn means(mut self, meaning: &'static str) -> Self {
        self.about.meaning = meaning;
        self
    }

    pub const fn details(mut self, details: &'static str) -> Self {
        self.about.details = details;
        self
    }

    pub const fn such_as(mut self, example: &'static str) -> Self {
        self.about.example = example;
        self
    }

    pub const fn secret(mut self) -> Self {
        self.about.is_secret = true;
        self
    }

    pub const fn restart(mut self) -> Self {
        self.about.needs_restart = true;
        self
    }
}

impl About {
    /// The environment variable that sets it.
    pub fn variable(&self) -> String {
        format!("{PREFIX}{}", self.path.replace('.', "__").to_uppercase())
    }

    /// The table it stands in; empty for the top level.
    pub fn section(&self) -> &'static str {
        self.path
            .rsplit_once('.')
            .map_or("", |(section, _)| section)
    }

    /// Its name within its section.
    pub fn name(&self) -> &'static str {
        self.path.rsplit('.').next().unwrap_or(self.path)
    }

    pub fn is_required(&self) -> bool {
        matches!(self.default, Fallback::Required)
    }
}
