//! `--help`: every subcommand shows examples, and each of them works as it is printed.

use std::{fs, os::unix::fs::symlink, process::Command};

use rustix::process::Signal;
use testbed::{Bed, PATIENCE, Process, bed::secret_of, eventually, program, webpush::App};

/// What the examples have in place of an endpoint, and of the id of a key.
const ENDPOINT: &str = "https://up.example.org/push/v4.local.AbC...";
const KEY: &str = "Rm8xcUw3b0Y";

/// The private key of RFC 8291, appendix A.
const PRIVATE: &str = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw";

fn help(words: &[String]) -> String {
    let output = Command::new(program())
        .env_clear()
        .args(words)
        .arg("--help")
        .output()
        .unwrap();
    assert!(output.status.success(), "{words:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Every subcommand with its own below it, the program itself first.
fn commands(words: Vec<String>) -> Vec<Vec<String>> {
    let text = help(&words);
    let below = text
        .split_once("\nCommands:\n")
        .map_or("", |(_, rest)| rest);
    let below = below.lines().take_while(|line| !line.is_empty());
    let names = below.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let names = names.filter(|name| !name.is_empty() && *name != "help");
    let mut all = vec![words.clone()];
    for name in names {
        all.extend(commands([&words[..], &[name.to_owned()]].concat()));
    }
    all
}

fn examples(words: &[String]) -> Vec<String> {
    let text = help(words);
    let (_, text) = text.split_once("\nExamples:\n").unwrap_or_else(|| {
        panic!("`unified-push {} --help` has no examples", words.join(" "));
    });
    let lines = text.lines().take_while(|line| !line.is_empty());
    let examples: Vec<_> = lines.map(|line| line.trim().to_owned()).collect();
    let own = ["unified-push"]
        .into_iter()
        .chain(words.iter().map(|word| &**word));
    let own = own.collect::<Vec<_>>().join(" ");
    assert!(!examples.is_empty(), "{words:?}");
    for example in &examples {
        assert!(example.starts_with(&own), "{example} is none of {own}");
    }
    examples
}

#[test]
fn every_subcommand_has_examples_of_its_own() {
    let all = commands(Vec::new());
    assert!(all.len() > 15, "{all:?}");
    for words in &all {
        examples(words);
    }
}

/// A shell in a directory that has what the examples name.
struct Desk {
    bed: Bed,
}

impl Desk {
    fn shell(&self, example: &str) -> Command {
        let root = self.bed.path("root");
        let example = example.replace("/etc/unified-push/", &format!("{}/", root.display()));
        let mut command = Command::new("/bin/sh");
        command.env_clear().args(["-euc", &example]);
        command.current_dir(&root).env("HOME", &root);
        command.env("PATH", format!("{}:/usr/bin:/bin", root.display()));
        command.env("UNIFIED_PUSH_CONFIG", self.bed.config.file());
        command
    }
}

#[tokio::test]
async fn every_example_works_as_it_is_printed() {
    let bed = Bed::new().await;
    let root = bed.path("root");
    fs::create_dir(&root).unwrap();
    symlink(program(), root.join("unified-push")).unwrap();
    // Where the daemon's own configuration is said to be.
    fs::copy(bed.config.file(), root.join("config.toml")).unwrap();
    let daemon = bed.start().await;
    let endpoint = bed.register("app").await;
    let subscription = App::new().subscription(&endpoint);
    for (name, text) in [
        ("endpoint.txt", &*endpoint),
        ("subscription.json", &subscription),
        ("private.pem", PRIVATE),
        ("message", "a message"),
    ] {
        fs::write(root.join(name), text).unwrap();
    }
    let inspected = bed.run(&["inspect", &endpoint]).await.with(0);
    let key = inspected
        .lines()
        .find_map(|line| line.strip_prefix("key id:"));
    let key = key.unwrap().trim().to_owned();

    let mut all: Vec<_> = commands(Vec::new())
        .iter()
        .flat_map(|it| examples(it))
        .collect();
    all.sort();
    all.dedup();
    let takes = |example: &String, word: &str| example.contains(word);
    // These end what the others need.
    let (last, first): (Vec<_>, Vec<_>) = all
        .into_iter()
        .partition(|it| takes(it, " serve") || takes(it, "forget-key") || takes(it, "revoke"));
    let (revoking, last): (Vec<_>, Vec<_>) = last.into_iter().partition(|it| takes(it, "revoke"));
    let mut desk = Desk { bed };
    for example in first.iter().chain(&revoking) {
        let command = desk.shell(&example.replace(ENDPOINT, &endpoint));
        if takes(example, " demo") {
            let log = desk.bed.path("demo.log");
            let mut demo = Process::start(
                desk.shell(&format!("exec {example}")).env("TMPDIR", &root),
                &log,
            )
            .unwrap();
            eventually("the demo shows a push", PATIENCE, async || {
                demo.log().contains("push arrived").then_some(())
            })
            .await;
            demo.signal(Signal::INT);
            assert_eq!(demo.exit(PATIENCE).await.code(), Some(0));
            continue;
        }
        let ended = desk.bed.run_with(command, b"").await;
        assert_eq!(ended.code, Some(0), "{example}: {ended:?}");
    }
    daemon.stop().await;

    desk.bed.text("secret", &secret_of('b'));
    for example in last {
        let example = example.replace(KEY, &key);
        if !takes(&example, " serve") {
            let ended = desk.bed.run_with(desk.shell(&example), b"").await;
            ended.with(0);
            continue;
        }
        fs::copy(desk.bed.config.file(), root.join("config.toml")).unwrap();
        let daemon = desk.bed.spawn(desk.shell(&format!("exec {example}")));
        daemon.logged("ready").await;
        daemon.stop().await;
    }
}
