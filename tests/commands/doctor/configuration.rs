//! The configuration, the secrets and the clock.

use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt};

use testbed::{
    MovedClock,
    bed::{COMPONENT_SECRET, secret_of},
};

use super::clinic::{PASS, clinic};

#[tokio::test]
async fn a_configuration_that_is_none_ends_it() {
    let Some(mut clinic) = clinic().await else {
        return;
    };
    clinic.bed.value("component.port", "\"many\"");
    clinic.bed.config.unset("component.domain");
    let said = clinic.bed.run(&["doctor"]).await.with(78);
    assert!(said.contains("has 2 problems"), "{said}");
    assert!(said.contains("component.domain: is missing"), "{said}");
}

#[tokio::test]
async fn secrets_that_others_can_read_are_named() {
    let Some(mut clinic) = clinic().await else {
        return;
    };
    clinic.proxy(PASS).await;
    let file = clinic.path("component.secret");
    let mode = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    mode(0o644);
    clinic
        .is_doubtful("configuration", "open to everybody")
        .await;
    mode(0o600);

    clinic.bed.config.unset("component.secret_file");
    clinic.bed.text("component.secret", COMPONENT_SECRET);
    let own = clinic.bed.config.file();
    let mode = |mode| fs::set_permissions(&own, fs::Permissions::from_mode(mode)).unwrap();
    mode(0o644);
    clinic.is_doubtful("configuration", "`secret_file`").await;
    mode(0o600);
    clinic.bed.config.unset("component.secret");
    clinic
        .bed
        .text("component.secret_file", file.to_str().unwrap());

    // The one that the daemon makes.
    clinic.bed.config.unset("secret_file");
    clinic.daemon().await.stop().await;
    let state = clinic.bed.state_dir();
    for path in [&state, &state.join("secret")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    clinic.is_doubtful("state_dir", "open to everybody").await;
    fs::write(state.join("secret"), "short").unwrap();
    fs::set_permissions(state, fs::Permissions::from_mode(0o700)).unwrap();
    clinic.is_wrong("secret", "fewer than 32 bytes").await;
}

#[tokio::test]
async fn a_clock_before_the_release_is_named() {
    let Some(mut clinic) = clinic().await else {
        return;
    };
    clinic.proxy(PASS).await;
    let clock = MovedClock::new(&clinic.path(""));
    clock.set_offset(-100 * 365 * 86400);
    let diagnosis = clinic.ask_with(&clock.environment()).await;
    let wrong = diagnosis.of("wrong");
    let [[clock, _, says], [certificate, _, begins]] = wrong[..] else {
        panic!("{diagnosis:#?}");
    };
    assert_eq!(
        (clock.as_str(), certificate.as_str()),
        ("clock", "certificate")
    );
    assert!(
        says.contains("1970") && says.contains("timedatectl"),
        "{says}"
    );
    assert!(begins.contains("Check this machine's clock"), "{begins}");
}

#[tokio::test]
async fn addresses_that_others_have_are_named() {
    let Some(mut clinic) = clinic().await else {
        return;
    };
    clinic.proxy(PASS).await;
    let taken = TcpListener::bind(clinic.bed.config.get("http.listen")).unwrap();
    clinic.is_doubtful("http.listen", "cannot listen on").await;
    drop(taken);
    let port = clinic.port;
    clinic
        .bed
        .text("admin.listen", &format!("127.0.0.1:{port}"));
    clinic.is_wrong("daemon", "is another program").await;
}

#[tokio::test]
async fn a_configuration_that_the_daemon_has_not_read_is_named() {
    let Some(mut clinic) = clinic().await else {
        return;
    };
    let locations = PASS;
    clinic.proxy(locations).await;
    let daemon = clinic.daemon().await;
    fs::write(clinic.path("secret"), secret_of('b')).unwrap();
    let diagnosis = clinic.ask().await;
    let wrong = diagnosis.of("wrong");
    let [[subject, _, text], ..] = wrong[..] else {
        panic!("{diagnosis:#?}");
    };
    assert_eq!(subject, "http.listen", "{diagnosis:#?}");
    assert!(text.contains("has another secret"), "{text}");
    daemon.stop().await;
}

#[tokio::test]
async fn a_name_that_other_servers_cannot_find_is_named() {
    let Some(mut clinic) = clinic().await else {
        return;
    };
    clinic.proxy(PASS).await;
    clinic.bed.text("component.domain", "push.example.org");
    clinic.bed.value("acl", "[\"*\"]");
    let diagnosis = clinic.ask().await;
    let words = "push.example.org does not resolve";
    let doubts = diagnosis.of("warning");
    assert!(
        doubts
            .iter()
            .any(|[subject, _, text]| { subject == "component.domain" && text.contains(words) }),
        "{diagnosis:#?}"
    );
}
