//! Secrets: in place, in files, in the credentials directory.

use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

fn bytes(secret: &Secret) -> String {
    String::from_utf8(secret.as_bytes().to_vec()).unwrap()
}

/// All secrets of a configuration: current, previous, the component's.
fn secrets(config: &Config) -> (Option<String>, Vec<String>, String) {
    (
        config.secret.as_ref().map(bytes),
        config.previous_secrets.iter().map(bytes).collect(),
        bytes(&config.component.secret),
    )
}

#[test]
fn every_secret_comes_from_file_and_environment_in_place_and_by_file() {
    let files = Files::new();
    let (old, older) = ("1".repeat(32), "2".repeat(40));
    let expected = (
        Some(LONG.to_owned()),
        vec![old.clone(), older.clone()],
        "7".to_owned(),
    );

    let in_file = format!(
        "secret = '{LONG}'\nprevious_secrets = ['{old}', '{older}']\n[component]\nsecret = '7'"
    );
    let loaded = files.load(&in_file, &[DOMAIN]).unwrap();
    assert_eq!(secrets(&loaded.config), expected);

    let both = format!("{old}, {older}");
    let in_env = [
        DOMAIN,
        ("UNIFIED_PUSH_SECRET", LONG),
        ("UNIFIED_PUSH_PREVIOUS_SECRETS", &both),
        ("UNIFIED_PUSH_COMPONENT__SECRET", "7"),
    ];
    assert_eq!(secrets(&files.load("", &in_env).unwrap().config), expected);

    let secret = files.write_private("secret", format!("{LONG}\n"));
    let previous = files.write_private("previous", format!("{old}\r\n\n{older}\n"));
    let component = files.write_private("component", "7\n");
    let by_file = format!(
        "secret_file = '{secret}'\nprevious_secrets_file = '{previous}'\n\
         [component]\nsecret_file = '{component}'"
    );
    let loaded = files.load(&by_file, &[DOMAIN]).unwrap();
    assert_eq!(secrets(&loaded.config), expected);
    assert_eq!(loaded.warnings, Vec::<String>::new());

    let by_env = [
        DOMAIN,
        ("UNIFIED_PUSH_SECRET_FILE", &secret),
        ("UNIFIED_PUSH_PREVIOUS_SECRETS_FILE", &previous),
        ("UNIFIED_PUSH_COMPONENT__SECRET_FILE", &component),
    ];
    assert_eq!(secrets(&files.load("", &by_env).unwrap().config), expected);
}

#[test]
fn a_later_layer_wins_for_secrets_too() {
    let files = Files::new();
    let toml = "secret_file = '/nonexistent'\n[component]\nsecret = 'of the file'";
    let path = files.write_private("secret", LONG);
    let env = [DOMAIN, SECRET, ("UNIFIED_PUSH_SECRET_FILE", path.as_str())];
    let config = files.load(toml, &env).unwrap().config;
    assert_eq!(bytes(&config.secret.unwrap()), LONG);
    assert_eq!(bytes(&config.component.secret), SECRET.1);
}

#[test]
fn strings_of_the_environment_stay_as_they_are() {
    for odd in [
        "0012", "12345", "true", "\"q\"", " spaced ", "[a,b]", "{a=b}", "1e3", "a,b", "~",
    ] {
        let env = [DOMAIN, ("UNIFIED_PUSH_COMPONENT__SECRET", odd)];
        let config = Files::new().load("", &env).unwrap().config;
        assert_eq!(bytes(&config.component.secret), odd);
    }
}

#[test]
fn a_number_for_a_secret_is_refused_and_never_shown() {
    for number in [
        "12345",
        "1234567890123456789012345678901234567890123",
        "1.5",
        "true",
    ] {
        let text = Files::new().report(&format!("[component]\nsecret = {number}"), &[DOMAIN]);
        assert!(
            text.contains("component.secret (config.toml:2:10): is not a string; put it in quotes"),
            "{text}"
        );
        assert!(!text.contains(number), "{text}");
    }
    let config = Files::new()
        .load("[component]\nsecret = \"0012\"", &[DOMAIN])
        .unwrap()
        .config;
    assert_eq!(bytes(&config.component.secret), "0012");
}

#[test]
fn in_place_and_by_file_exclude_each_other_across_layers() {
    for (path, file_path) in [
        ("secret", "secret_file"),
        ("previous_secrets", "previous_secrets_file"),
        ("component.secret", "component.secret_file"),
    ] {
        let mut abouts = OPTIONS.iter().map(|option| option.about());
        let variable = abouts
            .find(|about| about.path == file_path)
            .unwrap()
            .variable();
        let base = if path == "component.secret" {
            vec![DOMAIN]
        } else {
            vec![DOMAIN, SECRET]
        };
        let env = [&base[..], &[(variable.as_str(), "/nonexistent")]].concat();
        let text = Files::new().report(&format!("{path} = '{LONG}'"), &env);
        assert!(
            text.contains(&format!("is set, but so is {file_path} ({variable})")),
            "{text}"
        );
        assert!(text.contains("has 1 problem\n"), "{text}");
        assert!(!text.contains(LONG), "{text}");
    }
}

#[test]
fn weak_empty_and_unreadable_secrets_are_refused_without_showing_them() {
    let files = Files::new();
    let short = files.write_private("short", "hunter2hunter2");
    let empty = files.write_private("empty", "\n");
    let previous = files.write_private("previous", format!("{LONG}\nhunter2hunter2\n"));
    for (variable, value, what) in [
        (
            "UNIFIED_PUSH_SECRET",
            "hunter2hunter2",
            "is shorter than 32 bytes",
        ),
        ("UNIFIED_PUSH_SECRET", "", "is empty"),
        (
            "UNIFIED_PUSH_SECRET_FILE",
            &short,
            "is shorter than 32 bytes",
        ),
        ("UNIFIED_PUSH_SECRET_FILE", &empty, "names an empty file"),
        ("UNIFIED_PUSH_SECRET_FILE", "", "is empty"),
        ("UNIFIED_PUSH_SECRET_FILE", "/nonexistent", "cannot be read"),
        ("UNIFIED_PUSH_SECRET_FILE", "relative", "cannot be read"),
        (
            "UNIFIED_PUSH_PREVIOUS_SECRETS",
            "hunter2hunter2",
            "a secret, number 1, that is shorter",
        ),
        (
            "UNIFIED_PUSH_PREVIOUS_SECRETS_FILE",
            &previous,
            "a secret, number 2, that is shorter",
        ),
    ] {
        let text = files.report("", &[DOMAIN, SECRET, (variable, value)]);
        assert!(text.contains("has 1 problem\n"), "{variable}: {text}");
        assert!(text.contains(what), "{variable}: {text}");
        assert!(!text.contains("hunter2"), "{text}");
        assert!(
            !what.contains("shorter") || text.contains("unified-push gen-secret"),
            "{text}"
        );
    }
}

#[test]
fn a_secret_file_that_is_missing_is_to_be_made() {
    let files = Files::new();
    let remedy = |variable: &str, path: &str| {
        let env = match variable {
            "UNIFIED_PUSH_COMPONENT__SECRET_FILE" => vec![DOMAIN, (variable, path)],
            _ => vec![DOMAIN, SECRET, (variable, path)],
        };
        let text = files.report("", &env);
        text.lines().last().unwrap().trim().to_owned()
    };
    assert_eq!(
        remedy("UNIFIED_PUSH_SECRET_FILE", "/nonexistent"),
        "create /nonexistent; `unified-push gen-secret` prints a secret to put into it"
    );
    assert_eq!(
        remedy("UNIFIED_PUSH_PREVIOUS_SECRETS_FILE", "/nonexistent"),
        "write the earlier secrets into /nonexistent, or set the option to \"\""
    );
    let component = "UNIFIED_PUSH_COMPONENT__SECRET_FILE";
    assert_eq!(
        remedy(component, "/nonexistent"),
        "write the component's secret into /nonexistent, as in the XMPP server's configuration"
    );
    // A directory is there, but no file to read.
    assert_eq!(
        remedy(component, "/"),
        "let the user who runs unified-push read /"
    );
}

#[test]
fn no_previous_secrets_may_be_said_with_an_empty_value() {
    for variable in [
        "UNIFIED_PUSH_PREVIOUS_SECRETS",
        "UNIFIED_PUSH_PREVIOUS_SECRETS_FILE",
    ] {
        let config = load_with("", &[(variable, "")]).unwrap().config;
        assert!(config.previous_secrets.is_empty());
    }
}

#[test]
fn the_current_secret_is_no_previous_one() {
    let old = "1".repeat(32);
    let both = format!("{LONG},{old}");
    let loaded = load_with(
        "",
        &[
            ("UNIFIED_PUSH_SECRET", LONG),
            ("UNIFIED_PUSH_PREVIOUS_SECRETS", &both),
        ],
    )
    .unwrap();
    assert_eq!(secrets(&loaded.config).1, [old]);
    assert!(loaded.warnings[0].contains("also contains the current secret"));
}

#[test]
fn relative_paths_start_in_the_credentials_directory() {
    let files = Files::new();
    // As readable as systemd may make it: no warning in there.
    files.write("secret", LONG);
    let outside = Files::new();
    let absolute = outside.write_private("previous", LONG);
    let directory = files.0.path().to_str().unwrap();
    let env = [
        DOMAIN,
        SECRET,
        ("CREDENTIALS_DIRECTORY", directory),
        ("UNIFIED_PUSH_SECRET_FILE", "secret"),
        ("UNIFIED_PUSH_PREVIOUS_SECRETS_FILE", &absolute),
    ];
    let loaded = files.load("", &env).unwrap();
    assert_eq!(bytes(&loaded.config.secret.unwrap()), LONG);
    assert!(
        !loaded.warnings.iter().any(|w| w.contains("chmod")),
        "{:?}",
        loaded.warnings
    );

    // Not named, not used.
    let loaded = files.load("", &env[..3]).unwrap();
    assert_eq!(loaded.config.secret, None);
}

#[test]
fn a_credential_that_is_missing_is_for_systemd_to_pass() {
    let files = Files::new();
    let directory = files.0.path().to_str().unwrap();
    let env = [DOMAIN, SECRET, ("CREDENTIALS_DIRECTORY", directory)];
    let toml = "secret_file = 'lost'\nimport = [{ kind = 'up', key_file = 'former' }]\n";
    let report = files.report(toml, &env);
    for name in ["lost", "former"] {
        let pass = format!("`LoadCredential={name}:FILE`");
        assert!(report.contains(&pass), "{report}");
    }
    assert!(
        !report.contains("create ") && !report.contains("to there"),
        "{report}"
    );
}

#[test]
fn without_credentials_relative_paths_start_beside_the_file() {
    let files = Files::new();
    files.write_private("component-secret", "7\n");
    let toml = "[component]\nsecret_file = 'component-secret'";
    let loaded = files.load(toml, &[DOMAIN]).unwrap();
    assert_eq!(bytes(&loaded.config.component.secret), "7");
    assert_eq!(loaded.warnings, Vec::<String>::new());
}

/// Who counts as another one is [`crate::model::exposure`]'s to say.
#[test]
fn a_file_that_others_may_read_is_warned_of_by_whatever_link() {
    let files = Files::new();
    let path = files.write("secret", LONG);
    let link = files.0.path().join("link");
    symlink(&path, &link).unwrap();
    let warned = |path: &Path| {
        let env = [("UNIFIED_PUSH_SECRET_FILE", path.to_str().unwrap())];
        warnings("", &env)
    };
    for (mode, expected) in [(0o600, false), (0o604, true), (0o644, true), (0o400, false)] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        for name in [&path, &link] {
            let text = format!("{} is open to everybody; run", name.display());
            assert_eq!(warned(name).contains(&text), expected, "{mode:o}");
        }
    }
}

#[test]
fn a_secret_in_a_configuration_that_others_may_read_is_warned_of() {
    const URL: &str = "postgres://push:password@localhost/push";
    let key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let toml = format!(
        "secret = '{LONG}'\nprevious_secrets = ['{}']\n[component]\nsecret = '7'\n\
         [store]\nurl = '{URL}'\n[[import]]\nkind = 'up'\nkey = '{key}'\n",
        "1".repeat(32)
    );
    let by_file = [
        ("secret (", "`secret_file`"),
        ("previous_secrets (", "`previous_secrets_file`"),
        ("component.secret (", "`secret_file`"),
        ("store.url (", "`url_file`"),
        ("import (", "`key_file`"),
    ];
    let files = Files::new();
    let path = files.write("open.toml", &toml);
    let warned = |env: &[_]| {
        let loaded = load(Some(&path), variables(&[&[DOMAIN], env].concat())).unwrap();
        let about = |w: &String| w.contains("stands in a file that is open to everybody");
        let warnings = loaded.warnings.into_iter().filter(about);
        warnings.collect::<Vec<_>>()
    };
    let mode = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    mode(0o644);
    let warnings = warned(&[]);
    assert_eq!(warnings.len(), by_file.len(), "{warnings:?}");
    for (start, remedy) in by_file {
        let mut of = warnings.iter().filter(|w| w.starts_with(start));
        assert!(of.any(|w| w.contains(remedy)), "{start}: {warnings:?}");
    }
    let text = warnings.join(" ");
    for secret in [LONG, "password", key] {
        assert!(!text.contains(secret), "{text}");
    }

    // Nothing secret is in the file.
    let elsewhere = [
        ("UNIFIED_PUSH_SECRET", LONG),
        ("UNIFIED_PUSH_PREVIOUS_SECRETS", ""),
        ("UNIFIED_PUSH_IMPORT", ""),
        ("UNIFIED_PUSH_STORE__URL", URL),
        SECRET,
    ];
    assert_eq!(warned(&elsewhere), Vec::<String>::new());
    files.write("open.toml", toml.replace(":password@", "@"));
    assert!(!warned(&[]).iter().any(|w| w.starts_with("store.url")));
    mode(0o600);
    assert_eq!(warned(&[]), Vec::<String>::new());
}

#[test]
fn what_surrounds_a_secret_is_named_and_counts() {
    let files = Files::new();
    for (content, what) in [
        (format!("\"{LONG}\""), "is in quotation marks"),
        (format!("'{LONG}'"), "is in quotation marks"),
        (format!(" {LONG}"), "begins with a blank"),
        (format!("{LONG} "), "ends with a blank"),
        (format!("{LONG}\n\n"), "ends with an empty line"),
        (format!("\u{feff}{LONG}"), "begins with a byte order mark"),
    ] {
        let path = files.write_private("secret", &content);
        let component = [DOMAIN, ("UNIFIED_PUSH_COMPONENT__SECRET_FILE", &path)];
        let loaded = files.load("", &component).unwrap();
        let [warning] = &loaded.warnings[..] else {
            panic!("{:?}", loaded.warnings)
        };
        let start = "component.secret_file (UNIFIED_PUSH_COMPONENT__SECRET_FILE): ";
        assert!(warning.starts_with(&format!("{start}{what}")), "{warning}");
        assert!(!warning.contains(LONG), "{warning}");
        let counted = content.strip_suffix('\n').unwrap_or(&content);
        assert_eq!(bytes(&loaded.config.component.secret), counted);

        let text = warnings("", &[("UNIFIED_PUSH_SECRET", &content)]);
        assert!(text.starts_with("secret (UNIFIED_PUSH_SECRET): "), "{text}");
    }
    let path = files.write_private("previous", format!("{LONG}\n\"{LONG}\"\n"));
    let text = warnings("", &[("UNIFIED_PUSH_PREVIOUS_SECRETS_FILE", &path)]);
    assert!(text.contains("number 2 is in quotation marks"), "{text}");
}
