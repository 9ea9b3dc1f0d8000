//! What the documents say is so: commands and links, what is quoted, and what is kept twice.

#![expect(clippy::unwrap_used, reason = "a failed test says what failed")]

mod commands;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

#[test]
fn every_link_leads_somewhere() {
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for tail in text.split("](").skip(1) {
            let target = tail.split(')').next().unwrap();
            let (path, section) = target.split_once('#').unwrap_or((target, ""));
            if path.starts_with("https:") {
                continue;
            }
            let linked = match path {
                "" => document.clone(),
                path => document.with_file_name("").join(path),
            };
            let has_section = |text: String| {
                let headings = text.lines().filter(|line| line.starts_with("##"));
                let mut headings = headings.map(|line| line.trim_start_matches('#').trim());
                headings.any(|heading| anchor(heading) == section)
            };
            let there = match section {
                // A picture is no text.
                "" => linked.is_file(),
                _ => fs::read_to_string(&linked).is_ok_and(has_section),
            };
            assert!(there, "{}: {target}", document.display());
        }
    }
}

/// What a heading is called in links.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase().replace(' ', "-");
    kept.replace(|c: char| !c.is_alphanumeric() && c != '-', "")
}

#[test]
fn every_subcommand_that_is_named_exists() {
    let mut named = 0;
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for tail in text.split("`unified-push ").skip(1) {
            let words = tail.split('`').next().unwrap().split(' ');
            let subcommands = words.take_while(|word| word.chars().all(is_of_subcommand));
            let subcommands: Vec<_> = subcommands.collect();
            let output = unified_push(&[&subcommands[..], &["--help"]].concat());
            assert!(output.status.success(), "{subcommands:?}: {output:?}");
            named += 1;
        }
    }
    assert!(named > 10, "{named}");
}

#[test]
fn the_configuration_of_the_readme_loads() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let blocks: Vec<_> = blocks(&readme, "toml").collect();
    let [block] = blocks[..] else {
        panic!("{blocks:?}")
    };
    let dir = tempfile::tempdir().unwrap();
    let [secret, config] = ["component-secret", "config.toml"].map(|name| dir.path().join(name));
    fs::write(&secret, "the component secret\n").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let written = "/etc/unified-push/component-secret";
    assert!(block.contains(written), "{block}");
    fs::write(&config, block.replace(written, secret.to_str().unwrap())).unwrap();

    let output = unified_push(&["check-config", "--config", config.to_str().unwrap()]);
    let verdict = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(!verdict.contains("warning"), "{verdict}");
}

/// The page shows some rows and columns of the tables that the bench writes with `--write`.
#[test]
fn the_figures_of_the_performance_page_are_those_of_the_full_tables() {
    let page = read("docs/performance.md");
    let mut compared = 0;
    for section in page.split("\n## ").skip(1) {
        let mut shown = rows(section);
        let Some(columns) = shown.next() else {
            continue;
        };
        let file = format!(
            "docs/performance/{}.md",
            anchor(section.lines().next().unwrap())
        );
        let full = read(&file);
        let mut full = rows(&full);
        let header = full.next().unwrap();
        let place = |column| {
            let place = header.iter().position(|name| name == column);
            place.unwrap_or_else(|| panic!("{file} has no column {column:?}"))
        };
        let places: Vec<usize> = columns.iter().map(place).collect();
        let full: Vec<Vec<&str>> = full
            .map(|row| places.iter().map(|place| row[*place]).collect())
            .collect();
        for row in shown {
            assert!(
                full.contains(&row),
                "docs/performance.md has a row that is not in {file}; copy it from there: {row:?}"
            );
            compared += 1;
        }
    }
    assert!(compared > 10, "{compared}");
}

/// The cells of a section's table, the names of the columns first.
fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let lines = text
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let rows = lines.map(|line| line.split(" | ").collect::<Vec<_>>());
    rows.filter(|cells| !cells[0].starts_with("---"))
}

/// tests/debian/operate.sh loads those of docs/xmpp-servers.md into real servers.
#[test]
fn the_tests_that_the_pages_on_subscriptions_and_security_name_exist() {
    let text = read("docs/subscriptions.md") + &read("docs/security.md");
    let is_test = |name: &&str| name.matches('_').count() > 3 && !name.contains(['/', '.']);
    let named = text.split('`').skip(1).step_by(2);
    let tests: Vec<&str> = named.filter(is_test).collect();
    assert!(tests.len() > 30, "{tests:?}");
    let search = |name: &str| {
        let mut grep = Command::new("grep");
        grep.args(["-rqw", &format!("fn {name}"), "src", "tests"]);
        grep.current_dir(root()).status().unwrap().success()
    };
    for test in tests {
        assert!(search(test), "{test}");
    }
}

#[test]
fn each_dependency_has_its_line() {
    let manifest = read("Cargo.toml");
    let page = read("docs/dependencies.md");
    let (program, tests) = page.split_once("\n## The tests\n").unwrap();
    for (section, listed) in [("dependencies", program), ("dev-dependencies", tests)] {
        let (_, declared) = manifest.split_once(&format!("\n[{section}]\n")).unwrap();
        let declared = declared.split("\n[").next().unwrap().lines();
        let declared = declared.filter(|line| !line.starts_with('#'));
        let declared = declared.filter_map(|line| Some(line.split_once(" = ")?.0));
        let listed = listed.lines().filter_map(|line| line.strip_prefix("| `"));
        let listed = listed.map(|line| line.split('`').next().unwrap());
        assert_eq!(
            listed.collect::<Vec<_>>(),
            declared.collect::<Vec<_>>(),
            "{section}"
        );
    }
}

#[test]
fn the_files_that_the_map_names_exist() {
    let text = read("ARCHITECTURE.md");
    let named = text.split('`').skip(1).step_by(2);
    let is_path = |name: &&str| name.contains('/') && !name.contains([' ', ':']);
    let paths: Vec<&str> = named.filter(is_path).collect();
    assert!(paths.len() > 40, "{paths:?}");
    for path in paths {
        // Within a paragraph about a room, paths begin there.
        let known = ["", "src/"]
            .iter()
            .any(|dir| root().join(dir).join(path).exists());
        assert!(known, "{path}");
    }
}

#[test]
fn the_component_lines_of_the_readme_are_those_that_are_tried() {
    let [readme, tried] = ["README.md", "docs/xmpp-servers.md"].map(read);
    for language in ["lua", "yaml"] {
        let mut written = blocks(&readme, language);
        let (block, None) = (written.next().unwrap(), written.next()) else {
            panic!("more than one in {language}")
        };
        assert!(blocks(&tried, language).any(|other| other == block));
    }
}

/// tests/servers starts it, and so does the compose file.
#[test]
fn the_prosody_without_accounts_is_the_one_that_is_tried() {
    let page = read("docs/federating.md");
    let tried = read("contrib/compose/federated.cfg.lua");
    let mut written = blocks(&page, "lua");
    assert_eq!(written.next().unwrap().trim(), tried.trim());
    // The chart's has its names from the environment, and its certificate elsewhere.
    let chart = read("helm/files/prosody.cfg.lua");
    let missing: Vec<_> = tried
        .lines()
        .filter(|line| !chart.contains(line.trim()))
        .collect();
    assert_eq!(missing.len(), 3, "{missing:#?}");
    assert!(
        missing[..2]
            .iter()
            .all(|line| line.starts_with("component_"))
    );
    assert!(missing[2].starts_with("Component "));
}

/// tests/debian/operate.sh sees the others said.
#[test]
fn what_the_daemon_is_quoted_with_is_in_its_code() {
    let troubleshooting = read("docs/troubleshooting.md");
    for (text, file) in [
        (
            "the endpoint for this address would exceed 1000 bytes",
            "src/link.rs",
        ),
        (
            "this account already has as many registrations as this server allows",
            "src/link.rs",
        ),
        ("this account registers too often", "src/link.rs"),
        ("too many phones are registering at once", "src/link.rs"),
        ("the registration could not be stored", "src/link.rs"),
        (
            "the store fails; check the disk or the database",
            "src/app/upkeep.rs",
        ),
    ] {
        assert!(troubleshooting.replace('\n', " ").contains(text), "{text}");
        assert!(read(file).contains(text), "{text} is not in {file}");
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

fn is_of_subcommand(c: char) -> bool {
    c.is_ascii_lowercase() || c == '-'
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn documents() -> Vec<PathBuf> {
    let docs = fs::read_dir(root().join("docs")).unwrap();
    let docs = docs.map(|entry| entry.unwrap().path());
    let markdown = docs.filter(|path| path.extension().is_some_and(|e| e == "md"));
    markdown.chain([root().join("README.md")]).collect()
}

/// The fenced blocks of a language.
fn blocks<'a>(text: &'a str, language: &str) -> impl Iterator<Item = &'a str> {
    let start = format!("```{language}\n");
    let mut rest = text;
    std::iter::from_fn(move || {
        let (_, tail) = rest.split_once(&start)?;
        let (block, tail) = tail.split_once("```").expect("the block ends");
        rest = tail;
        Some(block)
    })
}

fn unified_push(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_unified-push"));
    command.env_clear().args(arguments).output().unwrap()
}
