//! What is made from the table of options (src/config/options.rs): the example file, the tables of
//! docs/configuration.md, the `config` of the chart's values and of their schema, and the settings of
//! the NixOS module. A file that differs fails; `UNIFIED_PUSH_WRITE=1 cargo test --test options`
//! writes it. After that, `tests/helm/readme.py` writes the chart's table of values.

#![expect(clippy::unwrap_used, reason = "a failed test says what failed")]

mod chart;
mod documents;
mod nix;

use std::{env, fs, path::Path};

use unified_push::config::{About, Described, OPTIONS};

#[test]
fn the_example_is_made_from_the_options() {
    made("unified-push.example.toml", |_| documents::example());
}

#[test]
fn the_tables_of_the_documentation_are_made_from_the_options() {
    made("docs/configuration.md", documents::tables);
}

#[test]
fn the_values_of_the_chart_are_made_from_the_options() {
    made("helm/values.yaml", |text| {
        between(text, "  ", &chart::values())
    });
}

#[test]
fn the_schema_of_the_chart_is_made_from_the_options() {
    made("helm/values.schema.json", chart::schema);
}

#[test]
fn the_settings_of_the_module_are_made_from_the_options() {
    made("nix/settings.nix", |text| {
        between(text, "    ", &nix::settings())
    });
}

#[test]
fn every_option_says_what_it_means() {
    for about in abouts() {
        assert!(
            about.meaning.len() > 15,
            "{}: {:?}",
            about.path,
            about.meaning
        );
        assert!(about.meaning.ends_with('.'), "{}", about.path);
        let literal = literal(about);
        assert!(
            format!("value = {literal}").parse::<toml::Table>().is_ok(),
            "{}: {literal}",
            about.path
        );
    }
}

#[test]
fn program_chart_and_image_have_one_version() {
    let version = env!("CARGO_PKG_VERSION");
    for (file, line) in [
        ("helm/Chart.yaml", format!("\nappVersion: {version}\n")),
        ("Containerfile", format!("\nARG VERSION={version}\n")),
    ] {
        assert!(read(file).contains(&line), "{file} lacks {line:?}");
    }
}

/// Compares a file with what is to be made of it, or writes that.
fn made(path: &str, make: impl Fn(&str) -> String) {
    let found = read(path);
    let made = make(&found);
    if env::var_os("UNIFIED_PUSH_WRITE").is_some() {
        return fs::write(root().join(path), made).unwrap();
    }
    let differs = found
        .lines()
        .zip(made.lines())
        .find(|(found, made)| found != made);
    assert!(
        found == made,
        "{path} is not what src/config/options.rs says: `UNIFIED_PUSH_WRITE=1 cargo test --test \
         options` writes it. First difference: {differs:#?}"
    );
}

/// The text with other lines between its two markers, which have this indentation.
fn between(text: &str, indent: &str, lines: &str) -> String {
    let start = format!("{indent}# Made from src/config/options.rs by tests/options.\n");
    let end = format!("{indent}# End of what is made.\n");
    let (head, rest) = text.split_once(&start).expect("a marker");
    let (_, tail) = rest.split_once(&end).expect("a second marker");
    [head, &start, lines, &end, tail].concat()
}

fn abouts() -> impl Iterator<Item = &'static About> {
    OPTIONS.iter().map(|option| option.about())
}

/// The options by section, in order.
fn sections() -> Vec<(&'static str, Vec<&'static dyn Described>)> {
    let mut sections: Vec<(&str, Vec<&dyn Described>)> = Vec::new();
    for option in OPTIONS {
        let section = option.about().section();
        match sections.last_mut() {
            Some((last, options)) if *last == section => options.push(*option),
            _ => sections.push((section, vec![*option])),
        }
    }
    sections
}

/// The default as TOML, or an example of a value where it is none.
fn literal(about: &About) -> &'static str {
    match about.default {
        unified_push::config::Fallback::Fixed(literal) => literal,
        _ => about.example,
    }
}

/// Text in lines of comment, none longer than 100 characters.
fn comment(start: &str, text: &str) -> String {
    let mut lines = String::new();
    let mut line = start.to_owned();
    for word in text.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > 100 {
            lines += &format!("{line}\n");
            line = start.to_owned();
        }
        line += &format!(" {word}");
    }
    lines + &line + "\n"
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
