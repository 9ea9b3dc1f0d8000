//! The documentation and the example name every option, with the defaults of the code.

use std::collections::BTreeMap;

use super::{
    super::keys::{Fallback, KEYS},
    *,
};

const DOCUMENT: &str = include_str!("../../../docs/configuration.md");
const EXAMPLE: &str = include_str!("../../../unified-push.example.toml");

#[test]
fn every_option_has_its_row_in_the_documentation() {
    let rows: Vec<&str> = DOCUMENT.lines().filter(|l| l.starts_with("| `")).collect();
    for (row, key) in rows.iter().zip(KEYS) {
        let default = match key.fallback {
            Fallback::Required => "required".to_owned(),
            Fallback::Unset => "none".to_owned(),
            Fallback::Fixed(literal) => format!("`{literal}`"),
            Fallback::Derived(words) => words.to_owned(),
        };
        let (path, variable, form) = (key.path, key.variable(), key.form);
        let start = format!("| `{path}` | `{variable}` | {form} | {default} | ");
        assert!(row.starts_with(&start), "{row}\nshould start with\n{start}");
        assert!(row.len() > start.len() + 10, "{path} needs a meaning");
    }
    assert_eq!(rows.len(), KEYS.len());
}

/// The example with every option switched on: path to literal.
fn example_options() -> BTreeMap<String, String> {
    let mut section = String::new();
    let mut options = BTreeMap::new();
    for line in EXAMPLE.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned() + ".";
        }
        let option = line.strip_prefix('#').and_then(|l| l.split_once(" = "));
        if let Some((name, literal)) = option.filter(|(name, _)| !name.contains(' ')) {
            let twice = options.insert(format!("{section}{name}"), literal.to_owned());
            assert_eq!(twice, None, "{line}");
        }
    }
    options
}

#[test]
fn the_example_has_every_option_with_its_default() {
    let mut options = example_options();
    for key in KEYS {
        let literal = options.remove(key.path);
        let literal = literal.unwrap_or_else(|| panic!("{} is missing", key.path));
        if let Fallback::Fixed(default) = key.fallback {
            assert_eq!(literal, default, "{}", key.path);
        }
    }
    assert_eq!(options, BTreeMap::new());
}

#[test]
fn the_example_changes_nothing_as_it_is() {
    let example = load_with(EXAMPLE, &[]).unwrap();
    let defaults = load_with("", &[]).unwrap();
    assert_eq!(example.warnings, Vec::<String>::new());
    assert_eq!(
        format!("{:?}", example.config),
        format!("{:?}", defaults.config)
    );
}

#[test]
fn the_example_loads_with_its_options_switched_on() {
    let files = Files::new();
    let path = files.write_private("secret", LONG);
    let switched_on: String = EXAMPLE
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(option) if option.starts_with("secret = ") => String::new(),
            Some(option) if option.starts_with("previous_secrets = ") => String::new(),
            Some(option) if option.starts_with("url_file = ") => String::new(),
            Some(option) if option.starts_with("secret_file = ") => {
                format!("secret_file = '{path}'\n")
            }
            Some(option) if !option.starts_with(' ') => format!("{option}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let loaded = files.load(&switched_on, &[]).unwrap();
    assert_eq!(loaded.warnings, Vec::<String>::new());
}
