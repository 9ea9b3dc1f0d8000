//! `healthcheck` and `/readyz`: who may send pushes here now.

use rustix::process::Signal;
use testbed::{
    Bed, PATIENCE,
    bed::push,
    eventually,
    http::{get, try_get},
};

use crate::signals::HalfPush;

#[tokio::test]
async fn health_is_asked_over_tcp_and_unix_sockets() {
    let mut bed = Bed::new().await;
    let unix = format!("unix:{}", bed.path("admin.sock").display());
    for socket in [None, Some(&unix)] {
        if let Some(unix) = socket {
            bed.text("admin.listen", unix);
        }
        let said = bed.run(&["healthcheck"]).await.with(1);
        assert!(said.contains("does not answer: "), "{said}");
        assert!(said.contains("Is the daemon running?"), "{said}");

        let daemon = bed.spawn(bed.command(&["serve"]));
        daemon.logged("ready").await;
        let said = bed.run(&["healthcheck"]).await.with(0);
        assert!(said.starts_with(r#"{"ready":true,"link":""#), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        daemon.stop().await;
        bed.run(&["healthcheck"]).await.with(1);
    }
}

#[tokio::test]
async fn a_daemon_that_stops_is_not_healthy() {
    let bed = Bed::new().await;
    let daemon = bed.start().await;
    let half = HalfPush::begin(&bed.register("app").await).await;
    daemon.signal(Signal::TERM);
    daemon.logged("stopping").await;
    let answer = get(&daemon.admin("/readyz")).await;
    assert_eq!(answer.status, 503);
    let said = bed.run(&["healthcheck"]).await.with(1);
    assert!(said.starts_with(r#"{"ready":false,"#), "{said}");
    assert_eq!(half.finish().await, 201);
}

#[tokio::test]
async fn a_store_that_fails_is_told_and_costs_no_endpoint() {
    let mut bed = Bed::new().await;
    bed.text("backend", "storage");
    let daemon = bed.start().await;
    let endpoint = bed.register("app").await;
    let database = rusqlite::Connection::open(bed.database()).unwrap();
    let rename = |from: &str, to: &str| {
        for table in ["registrations", "issuers"] {
            let rename = format!("ALTER TABLE {table}{from} RENAME TO {table}{to}");
            database.execute_batch(&rename).unwrap();
        }
    };
    rename("", "_hidden");
    daemon.logged("the store fails").await;
    let answer = get(&daemon.admin("/readyz")).await;
    assert_eq!(answer.status, 200);
    assert!(answer.text().contains(r#""store":"failing""#), "{answer:?}");
    assert_eq!(get(&daemon.admin("/healthz")).await.status, 200);
    let said = bed.run(&["healthcheck"]).await.with(0);
    assert!(said.contains(r#""store":"failing""#), "{said}");
    assert_eq!(push(&endpoint).await, 503);

    rename("_hidden", "");
    daemon.logged("the store works again").await;
    let works = async || {
        let answer = try_get(&daemon.admin("/readyz")).await?;
        answer.text().contains(r#""store":"ok""#).then_some(())
    };
    eventually("the store works", PATIENCE, works).await;
    assert_eq!(push(&endpoint).await, 201);
}
