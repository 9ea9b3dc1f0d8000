//! The link to a real Prosody, which the doctor tries for itself while no daemon runs.

use testbed::{
    Component, Server, free_port,
    server::{Account, Kind},
};

use super::clinic::{Clinic, PASS, clinic};

/// With the component's name and secret, in place.
fn become_component(clinic: &mut Clinic, account: &Account, port: u16) {
    clinic.bed.config.unset("component.secret_file");
    std::fs::write(clinic.path("component.secret"), &account.secret).unwrap();
    let file = clinic.path("component.secret");
    clinic
        .bed
        .text("component.secret_file", file.to_str().unwrap());
    clinic.bed.text("component.domain", &account.domain);
    clinic.bed.text("component.host", "127.0.0.1");
    clinic.bed.value("component.port", port);
}

#[tokio::test]
async fn what_keeps_prosody_from_accepting_it_is_named() {
    let Some(mut clinic) = clinic().await else {
        return;
    };
    if let Some(missing) = Kind::Prosody.missing() {
        return missing.leave_out();
    }
    let server = Server::prepare(Kind::Prosody, 2);
    server.start().await;
    clinic.proxy(PASS).await;
    let account = server.component();
    let port = server.layout.components;
    become_component(&mut clinic, &account, port);
    let right = clinic.ask().await;
    assert!(right.of("wrong").is_empty(), "{right:#?}");
    let accepted = format!("accepts {}", account.domain);
    let link = right
        .of("ok")
        .into_iter()
        .find(|[subject, ..]| subject == "link");
    assert!(link.unwrap()[2].contains(&accepted), "{right:#?}");

    let wrong = Account {
        secret: "another".to_owned(),
        ..account.clone()
    };
    become_component(&mut clinic, &wrong, port);
    clinic
        .is_wrong("link", "the component secret differs")
        .await;
    let unknown = Account {
        domain: "nobody.example.test".to_owned(),
        ..account.clone()
    };
    become_component(&mut clinic, &unknown, port);
    clinic
        .is_wrong("link", "the server has no such component")
        .await;
    become_component(&mut clinic, &account, free_port());
    clinic.is_wrong("link", "nothing listens on").await;
    become_component(&mut clinic, &account, server.layout.clients);
    clinic.is_wrong("link", "stream error").await;
    // One that speaks TLS, or HTTP.
    let foreign = clinic.port;
    become_component(&mut clinic, &account, foreign);
    clinic.is_wrong("link", "component").await;
    become_component(&mut clinic, &account, port);
    clinic.bed.text("component.host", "xmpp.invalid");
    clinic
        .is_wrong("link", "cannot resolve \"xmpp.invalid\"")
        .await;
}

#[tokio::test]
async fn a_name_that_another_holds_is_named_and_stays_the_others() {
    let Some(mut clinic) = clinic().await else {
        return;
    };
    if let Some(missing) = Kind::Prosody.missing() {
        return missing.leave_out();
    }
    let server = Server::prepare(Kind::Prosody, 2);
    server.start().await;
    clinic.proxy(PASS).await;
    let account = server.component();
    let other = Component::connect(&server, &account).await.unwrap();
    become_component(&mut clinic, &account, server.layout.components);
    let daemon = clinic.bed.spawn(clinic.bed.config.serve());
    daemon.link("conflict").await;
    clinic
        .is_wrong("link", "another connection holds this component's name")
        .await;
    daemon.stop().await;
    // Its log-in was not disturbed: it still gets what is sent to it.
    other.close().await;
}
