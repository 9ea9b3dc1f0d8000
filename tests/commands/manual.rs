//! The manual pages and the shells' completions.

use std::{fs, path::Path, process::Command};

use testbed::program;

fn manual(directory: &Path) -> std::process::Output {
    let mut command = Command::new(program());
    command.env_clear().arg("manual").arg(directory);
    command.output().unwrap()
}

#[test]
fn pages_and_completions_are_written_below_a_directory() {
    let share = testbed::directory("manual");
    let output = manual(share.path());
    assert!(output.status.success(), "{output:?}");
    let read = |path: &str| fs::read_to_string(share.path().join(path)).expect(path);
    for (page, words) in [
        ("man/man1/unified-push.1", "check\\-config"),
        ("man/man1/unified-push-send.1", "\\-\\-ttl"),
        ("man/man5/unified-push-config.5", "registration_ttl"),
        ("fish/vendor_completions.d/unified-push.fish", "gen-secret"),
        ("zsh/site-functions/_unified-push", "#compdef unified-push"),
    ] {
        assert!(read(page).contains(words), "{page}");
    }
    // The real bash completes a subcommand by it.
    let bash = r#"
        . "$1/bash-completion/completions/unified-push"
        COMP_WORDS=(unified-push check) COMP_CWORD=1
        _unified__push unified-push check unified-push
        echo "${COMPREPLY[*]}""#;
    let mut command = Command::new("bash");
    command.args(["-c", bash, "bash"]).arg(share.path());
    let output = command.output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        "check-config",
        "{output:?}"
    );
}

#[test]
fn a_directory_that_cannot_be_written_to_is_named() {
    let bed = testbed::directory("manual");
    let file = bed.path().join("file");
    fs::write(&file, "").unwrap();
    let output = manual(&file);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains(file.to_str().unwrap()), "{error}");
    assert!(error.contains("name a directory"), "{error}");
}
