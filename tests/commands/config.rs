//! `check-config`, and starts with a bad configuration.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use testbed::{
    Bed,
    bed::{Ended, secret_of},
    program,
};

/// A file that only the daemon's user may read.
fn secret_file(bed: &Bed, name: &str, secret: &str) -> String {
    let path = bed.path(name);
    fs::write(&path, secret).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_good_configuration_is_printed_as_one_that_loads() {
    let mut bed = Bed::new().await;
    let component = secret_file(&bed, "component-secret", "told to nobody");
    bed.config.unset("component.secret");
    bed.text("component.secret_file", &component);
    bed.text("acl", "example.org, romeo@example.net");
    let verdict = bed.run(&["check-config"]).await;
    assert!(verdict.stdout.contains("is valid"), "{verdict:?}");
    let endpoints = "Endpoints (backend = \"paseto\") have ";
    assert!(verdict.stdout.contains(endpoints), "{verdict:?}");
    assert_eq!((verdict.code, verdict.stderr.as_str()), (Some(0), ""));

    let Ended {
        code,
        stdout: first,
        stderr,
    } = bed.run(&["check-config", "--print"]).await;
    assert_eq!(code, Some(0), "{stderr}");
    assert!(
        !first.contains("told to nobody") && !first.contains(&secret_of('a')),
        "{first}"
    );
    fs::write(bed.path("printed.toml"), &first).unwrap();
    let mut printed = Command::new(program());
    printed.env_clear().args(["check-config", "--print"]);
    printed.env("UNIFIED_PUSH_CONFIG", bed.path("printed.toml"));
    printed.env("UNIFIED_PUSH_SECRET", secret_of('a'));
    let Ended {
        code,
        stdout: second,
        stderr,
    } = bed.run_with(printed, b"").await;
    assert_eq!(code, Some(0), "{stderr}");
    let values = |text: &str| -> toml::Table { text.parse().unwrap() };
    assert_eq!(values(&first), values(&second));

    // The same for a program.
    let json = bed.run(&["check-config", "--print=json"]).await;
    assert!(!json.stdout.contains("told to nobody"), "{json:?}");
    assert!(!json.stdout.contains(&secret_of('a')), "{json:?}");
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["acl"]["value"], "example.org, romeo@example.net");
    let origin = json["component.secret_file"]["origin"].as_str().unwrap();
    assert!(origin.contains("config.toml:"), "{origin}");
    assert_eq!(json["log.level"]["origin"], "default");
    assert!(json["secret"]["origin"].is_string() && json["secret"]["value"].is_null());
}

#[tokio::test]
async fn a_bad_configuration_is_reported_whole_and_starts_nothing() {
    let mut bed = Bed::new().await;
    bed.text("backend", "pasteo");
    bed.text("registration_ttl", "soon");
    bed.text("secret", "told to nobody");
    bed.value("component.port", 0);
    bed.value("speed", 11);
    for command in ["check-config", "serve", "healthcheck", "inspect"] {
        let arguments = [command, "token"];
        let arguments = &arguments[..if command == "inspect" { 2 } else { 1 }];
        let Ended {
            code,
            stdout,
            stderr,
        } = bed.run(arguments).await;
        assert_eq!((code, stdout.as_str()), (Some(78), ""), "{stderr}");
        assert!(stderr.contains("has 5 problems"), "{stderr}");
        for problem in [
            "backend = \"pasteo\"",
            "registration_ttl",
            "secret",
            "component.port",
            "speed",
        ] {
            assert!(
                stderr.contains(&format!("  {problem}")),
                "{problem} in {stderr}"
            );
        }
        assert!(!stderr.contains("told to nobody"), "{stderr}");
    }
    assert!(!bed.state_dir().exists());
}

#[tokio::test]
async fn a_missing_file_is_a_bad_configuration() {
    let bed = Bed::new().await;
    let mut command = bed.command(&["check-config"]);
    fs::remove_file(bed.config.file()).unwrap();
    command.env("UNIFIED_PUSH_COMPONENT__DOMAIN", "up.example.org");
    let said = bed.run_with(command, b"").await.with(78);
    assert!(said.contains("config.toml"), "{said}");
}
