//! The secret that endpoints rest on: made when none is there, rotated, lost, forgotten.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use base64::{Engine, engine::general_purpose::STANDARD};
use testbed::{
    Bed,
    bed::{BACKENDS, names_in, push, secret_of},
    program,
};

#[tokio::test]
async fn a_fresh_secret_is_another_each_time_and_can_be_configured() {
    let mut bed = Bed::new().await;
    let [first, second] = [(); 2].map(|()| {
        let mut command = Command::new(program());
        let output = command.env_clear().arg("gen-secret").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    });
    assert_ne!(first, second);
    assert_eq!(STANDARD.decode(first.trim_end()).unwrap().len(), 32);
    bed.text("secret", first.trim_end());
    bed.run(&["check-config"]).await.with(0);
}

#[tokio::test]
async fn a_secret_is_made_once_and_said_aloud_but_not_told() {
    let mut bed = Bed::new().await;
    bed.config.unset("secret");
    let file = bed.state_dir().join("secret");
    let daemon = bed.start().await;
    let made = fs::read_to_string(&file).unwrap();
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let log = daemon.log();
    assert!(
        log.contains(&format!("one was generated in {}", file.display())),
        "{log}"
    );
    assert!(!log.contains(made.trim()));
    let endpoint = bed.register("app").await;
    daemon.stop().await;

    let daemon = bed.start().await;
    assert_eq!(fs::read_to_string(&file).unwrap(), made);
    assert!(
        !daemon.log().contains("one was generated in"),
        "{}",
        daemon.log()
    );
    assert_eq!(push(&endpoint).await, 201);
}

#[tokio::test]
async fn a_lost_secret_is_not_replaced_while_endpoints_live() {
    let mut bed = Bed::new().await;
    bed.config.unset("secret");
    let daemon = bed.start().await;
    bed.register("app").await;
    daemon.stop().await;
    let file = bed.state_dir().join("secret");
    fs::remove_file(&file).unwrap();

    let said = bed.run(&["serve"]).await.with(1);
    for part in [
        "secret is missing",
        "Restore that file",
        "`secret_file`",
        "forget-key",
    ] {
        assert!(said.contains(part), "{said}");
    }
    assert!(!file.exists());

    let id = forget_key_of(&said);
    bed.run(&["registrations", "forget-key", &id]).await.with(0);
    let daemon = bed.start().await;
    assert!(
        daemon.log().contains("one was generated in"),
        "{}",
        daemon.log()
    );
}

#[tokio::test]
async fn a_secret_is_changed_without_loss_or_given_up_on_purpose() {
    for backend in BACKENDS {
        let mut bed = Bed::new().await;
        bed.text("backend", backend);
        let daemon = bed.start().await;
        let old = bed.register("app").await;
        let key = key_of(&bed, &old).await;
        daemon.stop().await;

        bed.text("secret", &secret_of('b'));
        let said = bed.run(&["serve"]).await.with(1);
        assert!(said.contains(&format!("key id {key}")), "{said}");
        assert!(said.contains("`previous_secrets`"), "{said}");
        assert_eq!(forget_key_of(&said), key);

        bed.value("previous_secrets", format!("[{:?}]", secret_of('a')));
        let daemon = bed.start().await;
        assert_eq!(push(&old).await, 201);
        let new = bed.register("app").await;
        assert_ne!(new, old);
        assert_ne!(key_of(&bed, &new).await, key);
        daemon.stop().await;

        bed.config.unset("previous_secrets");
        let said = bed
            .run(&["registrations", "forget-key", &key])
            .await
            .with(0);
        assert!(said.contains(&key), "{said}");
        let _daemon = bed.start().await;
        assert_eq!(
            (push(&old).await, push(&new).await),
            (404, 201),
            "{backend}"
        );
    }
}

#[tokio::test]
async fn a_key_that_is_configured_is_not_forgotten() {
    let mut bed = Bed::new().await;
    let _daemon = bed.start().await;
    let endpoint = bed.register("app").await;
    let key = key_of(&bed, &endpoint).await;
    let forget = ["registrations", "forget-key", &key];
    let said = bed.run(&forget).await.with(1);
    assert!(said.contains("the configuration still contains"), "{said}");

    bed.text("secret", &secret_of('b'));
    bed.value("previous_secrets", format!("[{:?}]", secret_of('a')));
    let said = bed.run(&forget).await.with(1);
    assert!(said.contains("the configuration still contains"), "{said}");
    assert_eq!(push(&endpoint).await, 201);
}

#[tokio::test]
async fn the_made_secret_is_not_forgotten_either() {
    let mut bed = Bed::new().await;
    bed.config.unset("secret");
    let _daemon = bed.start().await;
    let endpoint = bed.register("app").await;
    let key = key_of(&bed, &endpoint).await;
    let before = names_in(&bed.state_dir());
    let said = bed
        .run(&["registrations", "forget-key", &key])
        .await
        .with(1);
    assert!(said.contains("still contains"), "{said}");
    assert_eq!(names_in(&bed.state_dir()), before);
    assert_eq!(push(&endpoint).await, 201);
}

/// The key id that a start names in its remedy.
fn forget_key_of(said: &str) -> String {
    let (_, rest) = said.split_once("registrations forget-key ").expect(said);
    rest.split_once('`').expect(said).0.to_owned()
}

async fn key_of(bed: &Bed, endpoint: &str) -> String {
    let said = bed.run(&["inspect", endpoint]).await.with(0);
    let line = said.lines().find_map(|line| line.strip_prefix("key id:"));
    line.expect("a key id").trim().to_owned()
}
