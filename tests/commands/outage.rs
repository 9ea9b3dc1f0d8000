//! A daemon whose store is PostgreSQL, and what it does while that is away.

use rustix::process::Signal;
use testbed::{
    Bed, Missing, PATIENCE, Postgres,
    bed::{OWNER, push},
    eventually,
    http::{get, try_get},
    postgres::PASSWORD,
};

/// Whether PostgreSQL is there; says so when it is not and need not be.
pub fn installed() -> bool {
    let missing = Postgres::missing();
    missing.iter().for_each(Missing::leave_out);
    missing.is_none()
}

/// None when PostgreSQL is not there.
async fn bed() -> Option<(Bed, Postgres)> {
    if !installed() {
        return None;
    }
    let postgres = Postgres::start().await;
    let mut bed = Bed::new().await;
    bed.text("store.url", &postgres.database().await);
    Some((bed, postgres))
}

#[tokio::test]
async fn pushes_to_a_phone_that_answers_need_no_store() {
    let Some((mut bed, postgres)) = bed().await else {
        return;
    };
    let daemon = bed.start().await;
    assert!(!bed.state_dir().exists(), "nothing is kept there");
    let endpoint = bed.register("app").await;
    assert_eq!(push(&endpoint).await, 201);
    bed.arrived().await;

    postgres.kill().await;
    daemon.logged("the store fails").await;
    let answer = get(&daemon.admin("/readyz")).await;
    assert_eq!(answer.status, 200);
    assert!(answer.text().contains(r#""store":"failing""#), "{answer:?}");
    for _ in 0..3 {
        assert_eq!(push(&endpoint).await, 201);
        bed.arrived().await;
    }

    postgres.launch().await;
    let works = async || {
        let answer = try_get(&daemon.admin("/readyz")).await?;
        answer.text().contains(r#""store":"ok""#).then_some(())
    };
    eventually("the store works", PATIENCE, works).await;
    assert!(daemon.log().contains("the store works again"));
    assert!(!daemon.log().contains(PASSWORD), "{}", daemon.log());
    daemon.stop().await;
}

#[tokio::test]
async fn commands_work_on_the_database_beside_the_daemon() {
    let Some((mut bed, _postgres)) = bed().await else {
        return;
    };
    bed.text("backend", "storage");
    let daemon = bed.start().await;
    let endpoint = bed.register("app").await;
    assert_eq!(push(&endpoint).await, 201);
    let said = bed.run(&["registrations", "list"]).await.with(0);
    assert!(said.contains(OWNER), "{said}");
    let said = bed.run(&["inspect", &endpoint]).await.with(0);
    assert!(said.contains("valid"), "{said}");
    bed.run(&["registrations", "revoke", OWNER]).await.with(0);
    let gone = async || (push(&endpoint).await == 404).then_some(());
    eventually("the endpoint is revoked", PATIENCE, gone).await;

    daemon.signal(Signal::KILL);
    daemon.exit().await;
    let _daemon = bed.start().await;
    assert_eq!(push(&endpoint).await, 404);
}

#[tokio::test]
async fn tls_is_used_only_with_a_certificate_that_is_trusted() {
    if !installed() {
        return;
    }
    let postgres = Postgres::prepare();
    let certificate = postgres.certificate();
    postgres.launch().await;
    let mut bed = Bed::new().await;
    let url = format!("{}?sslmode=require", postgres.database().await);
    bed.text("store.url", &url);
    let list = ["registrations", "list"];
    let said = bed.run(&list).await.with(1);
    let words = said.contains("TLS") && said.contains("UnknownIssuer");
    assert!(words, "{said}");

    let trusting = |bed: &Bed| {
        let mut command = bed.command(&list);
        command.env("SSL_CERT_FILE", &certificate);
        command
    };
    bed.run_with(trusting(&bed), b"").await.with(0);
    bed.text("store.url", &url.replace("127.0.0.1", "localhost"));
    let said = bed.run_with(trusting(&bed), b"").await.with(1);
    assert!(said.contains("not valid for name"), "{said}");
    assert!(!said.contains(PASSWORD), "{said}");
}

#[tokio::test]
async fn a_database_that_is_not_there_is_named() {
    let Some((mut bed, postgres)) = bed().await else {
        return;
    };
    bed.text("store.url", &postgres.url("missing"));
    for arguments in [&["serve"][..], &["registrations", "list"]] {
        let said = bed.run(arguments).await.with(1);
        assert!(
            said.contains("there is no database postgres://127.0.0.1"),
            "{said}"
        );
        assert!(!said.contains(PASSWORD), "{said}");
    }
    bed.text("store.url", "postgres://up:hunter2@db/push?sslmode=prefer");
    let said = bed.run(&["serve"]).await.with(78);
    assert!(
        said.contains("store.url (") && !said.contains("hunter2"),
        "{said}"
    );
}
