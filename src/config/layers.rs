//! Where values come from: the defaults, a TOML file, the environment. Every value keeps its
//! origin. Only options of the table get through; what else is named becomes a problem (file) or a
//! warning (environment).

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fmt, fs, io,
    path::{Path, PathBuf},
};

use figment::{
    Metadata, Profile, Provider,
    value::{Dict, Map, Value},
};
use toml::de::{DeTable, DeValue};

use super::{
    key::{Fallback, PREFIX},
    lookup,
    options::OPTIONS,
    report::{Problem, nearest},
    values::of_toml,
};

/// Read when no other file is named and it exists.
const DEFAULT_FILE: &str = "/etc/unified-push/config.toml";
const FILE_VARIABLE: &str = "UNIFIED_PUSH_CONFIG";

/// The file that the configuration is read from.
pub struct File {
    pub path: PathBuf,
    /// The option or variable that names it; None: the default one, which need not exist.
    pub named_by: Option<&'static str>,
}

/// One layer: the options that it has, and what it should not have. A string of the environment
/// stays as it is: nothing is parsed before the option's type is known.
#[derive(Default)]
pub struct Layer {
    values: Dict,
    /// Where each option's value comes from.
    origins: BTreeMap<String, String>,
    pub problems: Vec<Problem>,
    pub warnings: Vec<String>,
}

impl Layer {
    pub fn put(&mut self, path: &str, value: Value, origin: impl Into<String>) {
        let (section, name) = path.split_once('.').unwrap_or(("", path));
        if section.is_empty() {
            self.values.insert(name.to_owned(), value);
        } else {
            let mut options = match self.values.remove(section) {
                Some(Value::Dict(_, options)) => options,
                Some(_) | None => Dict::new(),
            };
            options.insert(name.to_owned(), value);
            self.values.insert(section.to_owned(), options.into());
        }
        self.origins.insert(path.to_owned(), origin.into());
    }
}

#[cfg(test)]
impl Layer {
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

/// The layering itself is figment's; it asks the topmost layer for a value's origin.
impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        let origins = self.origins.clone();
        Metadata::default().interpolater(move |_, path| {
            let path = path.join(".");
            origins.get(&path).cloned().unwrap_or_default()
        })
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

/// The built-in defaults.
pub fn defaults() -> Layer {
    let mut layer = Layer::default();
    for option in OPTIONS {
        let about = option.about();
        if let Fallback::Fixed(literal) = about.default {
            let parsed = DeValue::parse(literal).expect("the defaults are TOML");
            layer.put(about.path, of_toml(parsed.get_ref()), "default");
        }
    }
    layer
}

impl File {
    pub fn choose(cli_path: Option<&Path>, variables: &[(OsString, OsString)]) -> Self {
        let variable = variables
            .iter()
            .find(|(name, value)| name == FILE_VARIABLE && !value.is_empty())
            .map(|(_, value)| PathBuf::from(value));
        let (path, named_by) = match (cli_path, variable) {
            (Some(path), _) => (path.to_owned(), Some("--config")),
            (None, Some(path)) => (path, Some(FILE_VARIABLE)),
            (None, None) => (PathBuf::from(DEFAULT_FILE), None),
        };
        Self { path, named_by }
    }

    /// The file's layer; empty when it is absent.
    pub fn layer(&self) -> Result<Layer, Problem> {
        if self.is_absent() {
            return Ok(Layer::default());
        }
        match fs::read_to_string(&self.path) {
            Ok(text) => parse(&self.path, &text),
            Err(error) => {
                let problem = Problem::new(
                    self.path.display().to_string(),
                    format!("cannot be read: {error}"),
                    "name a readable TOML file with --config or UNIFIED_PUSH_CONFIG",
                );
                Err(match self.named_by {
                    Some(named_by) => problem.at(named_by),
                    None => problem,
                })
            }
        }
    }

    /// No file is named, and the default one does not exist.
    fn is_absent(&self) -> bool {
        let missing = |error: io::Error| error.kind() == io::ErrorKind::NotFound;
        self.named_by.is_none() && fs::metadata(&self.path).is_err_and(missing)
    }
}

/// For a report's head.
impl fmt::Display for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match self.is_absent() {
            true => write!(f, "no file is named, and {path} does not exist"),
            false => path.fmt(f),
        }
    }
}

/// The environment's layer. Names of Kubernetes' service variables are passed over: a Service that
/// is called `unified-push` puts them into every pod of its namespace.
pub fn environment(variables: &[(OsString, OsString)]) -> Layer {
    let mut layer = Layer::default();
    let known: Vec<_> = OPTIONS.iter().map(|option| option.about()).collect();
    let known: Vec<_> = known
        .iter()
        .map(|about| (about.variable(), about.path))
        .collect();
    for (name, value) in variables {
        let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else {
            continue;
        };
        if let Some((_, path)) = known.iter().find(|(variable, _)| variable == name) {
            match value.to_str() {
                Some(text) => layer.put(path, Value::from(text), name),
                None => layer
                    .problems
                    .push(Problem::new(*path, "is not UTF-8", "write it as UTF-8").at(name)),
            }
        } else if name != FILE_VARIABLE && !is_service_variable(name, value) {
            // Behind the prefix, which all have in common.
            let own = |variable: &'_ str| variable[PREFIX.len()..].to_owned();
            let candidates: Vec<_> = known.iter().map(|(variable, _)| own(variable)).collect();
            let hint = match nearest(&own(name), candidates.iter().map(|it| &**it)) {
                Some(right) => format!("; did you mean {PREFIX}{right}?"),
                None => String::new(),
            };
            layer
                .warnings
                .push(format!("{name} is not an option and is ignored{hint}"));
        }
    }
    layer
}

/// As Kubernetes and `docker run --link` make them: `..._SERVICE_HOST`, `..._SERVICE_PORT[_NAME]`,
/// `..._PORT` with a URL, `..._PORT_8080_TCP[_ADDR]`.
fn is_service_variable(name: &str, value: &OsStr) -> bool {
    let is_url = value.to_str().is_some_and(|text| text.contains("://"));
    let protocols = ["_TCP", "_UDP", "_SCTP"];
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || (name.ends_with("_PORT") && is_url)
        || (name.contains("_PORT_") && protocols.iter().any(|p| name.contains(p)))
}

fn parse(path: &Path, text: &str) -> Result<Layer, Problem> {
    let source = Source { path, text };
    let table = DeTable::parse(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        // Only the parser's message: its long form quotes the line, which may hold a secret.
        Problem::new(
            source.locate(offset),
            format!("is not TOML: {}", error.message()),
            "correct the syntax; the options are checked after that",
        )
    })?;
    let mut layer = Layer::default();
    source.walk("", table.get_ref(), &mut layer);
    Ok(layer)
}

struct Source<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Source<'_> {
    /// Takes the options out of a table, or complains of what is none.
    fn walk(&self, section: &str, table: &DeTable<'_>, layer: &mut Layer) {
        // By position: the table itself is sorted by name.
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        for (name, item) in entries {
            let path = match section {
                "" => name.get_ref().to_string(),
                section => format!("{section}.{}", name.get_ref()),
            };
            let at = self.locate(name.span().start);
            if lookup::is_option(&path) {
                let origin = self.locate(item.span().start);
                layer.put(&path, of_toml(item.get_ref()), origin);
            } else if let Some(inner) = item.get_ref().as_table() {
                if section.is_empty() && lookup::is_section(&path) {
                    self.walk(&path, inner, layer);
                } else {
                    let near = lookup::nearest_section(&path).map(|near| format!("[{near}]"));
                    layer.problems.push(unknown(path, "section", near, at));
                }
            } else if lookup::is_section(&path) {
                let remedy = format!("write [{path}], and its options on the lines below");
                layer
                    .problems
                    .push(Problem::new(path, "is a section and not an option", remedy).at(at));
            } else {
                let near = lookup::nearest_path(&path).map(str::to_owned);
                layer.problems.push(unknown(path, "option", near, at));
            }
        }
    }

    /// `file:line:column`, counted from 1, the column in characters.
    fn locate(&self, offset: usize) -> String {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        format!("{}:{line}:{column}", self.path.display())
    }
}

fn unknown(path: String, kind: &str, near: Option<String>, at: String) -> Problem {
    let remedy = match near {
        Some(near) => format!("did you mean {near}?"),
        None => "remove it; docs/configuration.md lists all options".to_owned(),
    };
    Problem::new(path, format!("is not a known {kind}"), remedy).at(at)
}
