//! An installation that is right gives no alarm, and is left as it was.

use testbed::{
    Server,
    bed::{names_in, push},
    server::Kind,
};

use super::clinic::{PASS, clinic};

#[tokio::test]
async fn a_right_installation_gives_no_alarm_before_its_first_start_and_after() {
    let Some(mut clinic) = clinic().await else {
        return;
    };
    if let Some(missing) = Kind::Prosody.missing() {
        return missing.leave_out();
    }
    let server = Server::prepare(Kind::Prosody, 1);
    server.start().await;
    let account = server.component();
    std::fs::write(clinic.path("component.secret"), &account.secret).unwrap();
    clinic.bed.text("component.domain", &account.domain);
    clinic.bed.value("component.port", server.layout.components);
    clinic.proxy(PASS).await;

    let fresh = clinic.ask().await;
    let alarms = [fresh.of("wrong"), fresh.of("unknown"), fresh.of("warning")];
    let subjects = alarms.map(|found| found.iter().map(|it| it[0].clone()).collect::<Vec<_>>());
    // The daemon does not run, so it cannot be asked through the proxy.
    let expected = [vec![], vec!["proxy".to_owned()], vec!["daemon".to_owned()]];
    assert_eq!(subjects, expected, "{fresh:#?}");
    assert!(!clinic.bed.state_dir().exists());

    let daemon = clinic.daemon().await;
    let before = names_in(&clinic.bed.state_dir());
    let right = clinic.ask().await;
    assert!(
        right.findings.iter().all(|[_, verdict, _]| verdict == "ok"),
        "{right:#?}"
    );
    assert_eq!(
        (right.code, right.findings.len()),
        (Some(0), 11),
        "{right:#?}"
    );
    assert_eq!(names_in(&clinic.bed.state_dir()), before);
    assert_eq!(
        daemon.metric("unified_push_link_losses_total", "").await,
        0.0
    );
    daemon.stop().await;
}

#[tokio::test]
async fn a_person_reads_one_line_of_each() {
    let Some(mut clinic) = clinic().await else {
        return;
    };
    let port = clinic.port;
    clinic
        .bed
        .text("http.public_url", &format!("http://127.0.0.1:{port}"));
    clinic.nginx("", PASS).await;
    let _daemon = clinic.daemon().await;
    let endpoint = clinic.bed.register("app").await;
    let said = clinic.bed.run(&["doctor"]).await.with(0);
    for line in [
        "ok       link: ",
        "warning  configuration: ",
        "ok       proxy: ",
    ] {
        assert!(
            said.lines().any(|it| it.starts_with(line)),
            "{line} in {said}"
        );
    }
    assert!(said.ends_with("\nwrong: 0, warnings: 1\n"), "{said}");
    assert_eq!(push(&endpoint).await, 201);
}
