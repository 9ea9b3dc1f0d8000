//! Who may import whom (ARCHITECTURE.md). Tests inside modules may use what they like.

#![expect(clippy::unwrap_used, reason = "a failed test says what failed")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// Types and shared state that know nothing of ours but each other.
const LEAVES: &[&str] = &["link", "metrics", "model"];

/// What each module may import beside the leaves.
const ALLOWED: &[(&str, &[&str])] = &[
    ("config", &["store", "token"]),
    ("store", &[]),
    ("token", &["store"]),
    ("registrar", &["token", "store"]),
    ("delivery", &["token", "store"]),
    ("xmpp", &[]),
    ("http", &["config", "delivery", "runtime"]),
    ("demo", &["xmpp"]),
    ("runtime", &["config"]),
    (
        "app",
        &[
            "config",
            "delivery",
            "http",
            "registrar",
            "runtime",
            "store",
            "token",
            "xmpp",
        ],
    ),
    (
        "cli",
        &["app", "config", "demo", "http", "runtime", "store", "token"],
    ),
];

/// Crates that a module must not name: the use cases know neither HTTP nor XML.
const FOREIGN: &[(&str, &[&str])] = &[
    (
        "delivery",
        &["axum", "hyper", "tokio_xmpp", "xmpp_parsers", "quick_xml"],
    ),
    (
        "registrar",
        &["axum", "hyper", "tokio_xmpp", "xmpp_parsers", "quick_xml"],
    ),
    (
        "http",
        &["tokio_xmpp", "xmpp_parsers", "quick_xml", "rusqlite"],
    ),
    (
        "xmpp",
        &["axum", "hyper", "rusqlite", "jsonwebtoken", "pasetors"],
    ),
];

#[test]
fn modules_import_only_what_they_may() {
    let sources = sources();
    let allowed: BTreeMap<_, _> = ALLOWED.iter().copied().collect();
    for (module, text) in &sources {
        let module = module.as_str();
        let allowed = match allowed.get(module) {
            Some(allowed) => *allowed,
            None => {
                assert!(
                    LEAVES.contains(&module),
                    "{module} has no place in this table"
                );
                &[]
            }
        };
        for import in imports(text) {
            let known = LEAVES.contains(&import.as_str()) || allowed.contains(&import.as_str());
            assert!(
                known || import == module,
                "{module} must not import {import}"
            );
        }
    }
}

#[test]
fn use_cases_know_neither_http_nor_xml() {
    let sources = sources();
    for (module, foreign) in FOREIGN {
        let text = &sources[*module];
        for name in *foreign {
            assert!(
                !text.contains(&format!("{name}::")),
                "{module} must not use {name}"
            );
        }
    }
}

/// The code of each top-level module, its children's with it, without tests.
fn sources() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = BTreeMap::new();
    collect(&root, None, &mut sources);
    sources
}

fn collect(dir: &Path, module: Option<&str>, sources: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let module = module.unwrap_or(&name);
        if name == "tests" || name.ends_with("_tests") {
            continue;
        }
        if path.is_dir() {
            collect(&path, Some(module), sources);
        } else if path.extension().is_some_and(|e| e == "rs") && !matches!(module, "lib" | "main") {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            sources.entry(module.to_owned()).or_default().push_str(code);
        }
    }
}

/// The first path segment of everything after `crate::`.
fn imports(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let code: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect();
    for tail in code.split("crate::").skip(1) {
        match tail.strip_prefix('{') {
            Some(group) => found.extend(top_level_names(group)),
            None => found.extend(first_name(tail)),
        }
    }
    found
}

fn top_level_names(group: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut depth = 0;
    let mut start = true;
    for (index, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => start = true,
            c if start && depth == 0 && !c.is_whitespace() => {
                names.extend(first_name(&group[index..]));
                start = false;
            }
            _ => {}
        }
    }
    names
}

fn first_name(text: &str) -> Option<String> {
    let name: String = text
        .chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect();
    (!name.is_empty()).then_some(name)
}
