//! Each command that the documents tell people to type is run by a test.

use std::{fs, path::PathBuf};

use super::{blocks, documents, root};

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
        "unified-push doctor",
        "tests/commands/doctor/right.rs",
        r#"run(&["doctor"])"#,
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
        "unified-push manual ~/.local/share",
        ".ci/run",
        "unified-push manual target/install/share",
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
        "unified-push send https://up.example.org/push/v4.local.AbC 'Hello'",
        "tests/commands/send.rs",
        r#"["send", &endpoint]"#,
    ),
    (
        "unified-push send --subscription subscription.json 'Hello'",
        "tests/commands/send.rs",
        r#"["send", "--subscription", file]"#,
    ),
    (
        "openssl ecparam -name prime256v1 -genkey -noout -out private.pem",
        "tests/commands/send.rs",
        "ecparam -name prime256v1 -genkey -noout -out",
    ),
    (
        r#"printf 'COMPONENT_SECRET=%s\nACL=example.net\n' "$(openssl rand -hex 32)" >.env"#,
        "tests/compose.sh",
        "docs/federating.md",
    ),
    (
        "podman-compose --file federated.yaml up --detach",
        "tests/compose.sh",
        "docs/federating.md",
    ),
    ("umask 077", "tests/debian/operate.sh", "told 'The secret'"),
    (
        "cat /var/lib/unified-push/secret >>/etc/unified-push/previous-secrets",
        "tests/debian/operate.sh",
        "told 'The secret'",
    ),
    (
        "unified-push gen-secret >/etc/unified-push/secret",
        "tests/debian/operate.sh",
        "told 'The secret'",
    ),
];

/// Documents whose commands a script takes from them and runs.
const RUN_WHOLE: &[(&str, &str)] = &[
    ("docs/install-debian.md", "tests/debian.sh"),
    ("docs/conversations.md", "tests/debian/operate.sh"),
    ("docs/monitoring.md", "tests/debian/operate.sh"),
    ("docs/moving.md", "tests/debian/operate.sh"),
    ("docs/store.md", "tests/debian/operate.sh"),
    ("docs/troubleshooting.md", "tests/debian/operate.sh"),
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
