//! What the documents tell people to type works: each command has a test that runs it, and the
//! configuration loads.

#![expect(clippy::unwrap_used, reason = "a failed test says what failed")]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// Each command, the file that runs it, and what in that file does so.
const COMMANDS: &[(&str, &str, &str)] = &[
    (
        "cargo run -- demo",
        "tests/commands/demo.rs",
        r#".arg("demo")"#,
    ),
    ("./test.sh", ".ci/run", "step ./test.sh"),
    (
        "install --directory --mode=700 /var/lib/secrets",
        "nix/check.sh",
        "install --directory --mode=700 /var/lib/secrets",
    ),
    (
        "(umask 077; head -c 32 /dev/urandom | base64 >/var/lib/secrets/unified-push-component)",
        "nix/check.sh",
        "(umask 077; head -c 32 /dev/urandom | base64 >/var/lib/secrets/unified-push-component)",
    ),
    (
        "(umask 077; unified-push gen-secret >/var/lib/secrets/unified-push)",
        "nix/check.sh",
        "(umask 077; unified-push gen-secret >/var/lib/secrets/unified-push)",
    ),
    (
        "unified-push check-config",
        "nix/tests/guest.sh",
        "$unified_push check-config",
    ),
    (
        "unified-push healthcheck",
        "nix/tests/guest.sh",
        "$unified_push healthcheck",
    ),
    (
        "cargo install --locked --path .",
        ".ci/run",
        "cargo install --locked --path .",
    ),
    (
        "unified-push registrations forget-key ID",
        "tests/commands/secret.rs",
        r#"["registrations", "forget-key", &"#,
    ),
    (
        "unified-push registrations list",
        "tests/commands/registrations.rs",
        r#"["registrations", "list"]"#,
    ),
    (
        "unified-push registrations revoke juliet@example.org",
        "tests/commands/registrations.rs",
        r#"["registrations", "revoke", OWNER]"#,
    ),
    (
        "unified-push queue list",
        "tests/commands/queue.rs",
        r#"["queue", "list"]"#,
    ),
    (
        "unified-push queue drop juliet@example.org",
        "tests/commands/queue.rs",
        r#"["queue", "drop", OWNER]"#,
    ),
    (
        "unified-push inspect -",
        "tests/commands/inspect.rs",
        r#"["inspect", "-"]"#,
    ),
    (
        r#"sqlite3 /var/lib/unified-push/unified-push.db ".backup unified-push-backup.db""#,
        "tests/servers/backup.rs",
        ".backup ",
    ),
];

/// Documents whose commands a script takes from them and runs.
const RUN_WHOLE: &[(&str, &str)] = &[
    ("docs/install-podman.md", "tests/image.sh"),
    ("docs/install-kubernetes.md", "tests/cluster.sh"),
];

#[test]
fn every_command_is_run_by_a_test() {
    for (document, script) in RUN_WHOLE {
        let text = fs::read_to_string(root().join(script)).unwrap();
        assert!(text.contains(document), "{script} does not run {document}");
    }
    let run_whole = |path: &PathBuf| RUN_WHOLE.iter().any(|(name, _)| path.ends_with(name));
    let (run, told): (Vec<_>, Vec<_>) = documents().into_iter().partition(run_whole);
    let [run, told] = [run, told].map(|documents| commands(&documents));
    for command in &told {
        let known = COMMANDS.iter().any(|(known, ..)| known == command);
        // The short form of such a document.
        let known = known || run.contains(command);
        assert!(known, "who runs `{command}`? Say it in this file's table");
    }
    for (command, file, how) in COMMANDS {
        assert!(
            told.iter().any(|told| told == command),
            "`{command}` is gone"
        );
        let text = fs::read_to_string(root().join(file)).unwrap();
        assert!(text.contains(how), "{file} does not run `{command}`");
    }
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

/// The lines of the documents' shell blocks.
fn commands(documents: &[PathBuf]) -> Vec<String> {
    let mut lines = Vec::new();
    for document in documents {
        let text = fs::read_to_string(document).unwrap();
        for block in blocks(&text, "sh") {
            lines.extend(block.lines().map(str::to_owned));
        }
    }
    lines
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
