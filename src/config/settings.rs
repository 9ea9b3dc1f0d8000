//! All layers together, while they are read. What is wrong is collected instead of ending the
//! reading.

use std::path::PathBuf;

use figment::{Figment, Profile, value::Value};

use super::{
    forms::{self, Form},
    key::{About, Described, Key},
    layers::Layer,
    options::OPTIONS,
    report::Problem,
};
use crate::model::exposure::Exposed;

#[derive(Default)]
pub struct Settings {
    layers: Figment,
    /// `$CREDENTIALS_DIRECTORY`: where relative paths of secrets start.
    pub credentials: Option<PathBuf>,
    /// The configuration's own file; without credentials, relative paths of secrets start beside it.
    pub file: PathBuf,
    /// Set when others can open that file.
    pub open_file: Option<Exposed>,
    /// What is mounted, as the kernel tells it.
    pub mounts: String,
    pub problems: Vec<Problem>,
    pub warnings: Vec<String>,
}

/// What the topmost layer that has an option says.
pub struct Setting {
    pub value: Value,
    /// The file with line and column, the environment variable, or `default`.
    pub origin: String,
}

impl Settings {
    /// Lays a layer over those before it.
    pub fn merge(&mut self, mut layer: Layer) {
        self.problems.append(&mut layer.problems);
        self.warnings.append(&mut layer.warnings);
        self.layers = std::mem::take(&mut self.layers).merge(layer);
    }

    /// Lays the defaults that follow from other options below the other layers.
    pub fn derive(&mut self, layer: Layer) {
        self.layers = std::mem::take(&mut self.layers).join(layer);
    }

    pub fn find(&self, about: &About) -> Option<Setting> {
        let value = self.layers.find_value(about.path).ok()?;
        let layer = self.layers.get_metadata(value.tag())?;
        let origin = layer.interpolate(&Profile::Default, &[about.path]);
        Some(Setting { value, origin })
    }

    pub fn is_set(&self, about: &About) -> bool {
        self.layers.contains(about.path)
    }

    /// The option's value. None when it has none, or a wrong one, which
    /// [`check_each`](Self::check_each) reports.
    pub fn get<F: Form>(&self, key: &Key<F>) -> Option<F::Value> {
        let setting = self.find(&key.about)?;
        key.form.parse(&setting.value).ok()
    }

    /// Reports every value that is wrong by itself, and every option that lacks one.
    pub fn check_each(&mut self) {
        for option in OPTIONS {
            let about = option.about();
            match self.find(about).map(|found| option.check(&found.value)) {
                Some(Err(what)) => self.complain(about, what, expected(*option)),
                // A secret may be in its file instead; `secrets` looks there.
                None if about.is_required() && !about.is_secret => {
                    self.missing(about, about.name())
                }
                Some(Ok(())) | None => {}
            }
        }
    }

    /// Reports what is wrong with an option that is set.
    pub fn complain(&mut self, about: &About, what: impl Into<String>, remedy: impl Into<String>) {
        let Some(setting) = self.find(about) else {
            return;
        };
        let value = (!about.is_secret).then(|| forms::literal(&setting.value));
        self.problems.push(Problem {
            value,
            ..Problem::new(about.path, what, remedy).at(setting.origin)
        });
    }

    /// Reports that a required option is not set. `name` is the one to set: the option's own, or
    /// its `_file` twin's.
    pub fn missing(&mut self, about: &About, name: &str) {
        let place = match about.section() {
            "" => String::new(),
            section => format!(" under [{section}]"),
        };
        let variable = about.variable();
        let suffix = name.strip_prefix(about.name()).unwrap_or("").to_uppercase();
        self.problems.push(Problem::new(
            about.path,
            "is missing",
            format!("set it in the file as `{name} = \"...\"`{place}, or in {variable}{suffix}"),
        ));
    }

    pub fn warn(&mut self, warning: impl Into<String>) {
        self.warnings.push(warning.into());
    }

    /// Warns of a secret that stands in the configuration's file while others can open that. `by_file`
    /// is the option that names a file in place of the secret.
    pub fn warn_of_open_file(&mut self, about: &About, by_file: &str) {
        let (Some(open), Some(setting)) = (&self.open_file, self.find(about)) else {
            return;
        };
        if setting
            .origin
            .starts_with(&format!("{}:", self.file.display()))
        {
            let (path, origin, what) = (about.path, setting.origin, open.what());
            self.warn(format!(
                "{path} ({origin}): this secret stands in a file that {what}; keep it in a file of its \
                 own (`{by_file}`) that only the daemon's user or root can read"
            ));
        }
    }

    /// In the order of the documentation, what is no option first.
    pub fn sort_problems(&mut self) {
        self.problems.sort_by_key(|problem| {
            OPTIONS
                .iter()
                .position(|option| option.about().path == problem.subject)
        });
    }
}

pub fn expected(option: &dyn Described) -> String {
    format!("expected: {}", option.kind().to_string().replace('`', ""))
}
