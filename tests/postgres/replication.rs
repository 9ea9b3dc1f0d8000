//! Streaming replication, and who takes writes after what became of the primary.

use std::time::Duration;

use testbed::{
    Missing, Postgres,
    postgres::{PASSWORD, USER, connect, programs},
    tests,
};
use tokio::time::Instant;

use crate::{
    Test,
    group::Group,
    traffic::{self, Traffic},
};

/// How soon after a promotion something is stored.
const SOON: Duration = Duration::from_secs(1);

/// Copies of a cluster take more than the server's own programs.
pub fn missing() -> Option<Missing> {
    let needed = programs()?.join("pg_basebackup");
    Missing::of(&[needed.to_str()?])
}

pub fn tests() -> Vec<Test> {
    tests![
        what_was_accepted_survives_a_primary_with_a_synchronous_standby,
        a_promoted_standby_is_found_without_synchronous_replication,
        a_primary_that_hangs_is_left,
        a_former_primary_that_follows_is_left_alone,
        a_primary_that_becomes_read_only_is_left_at_once,
        a_server_without_synchronous_standbys_is_refused_if_told_to,
    ]
}

/// A primary with a standby that follows it.
async fn pair(synchronous: bool) -> [Postgres; 2] {
    let primary = Postgres::start().await;
    let standby = Postgres::standby_of(&primary, "second");
    standby.launch().await;
    if synchronous {
        let client = connect(&primary.url("postgres")).await.unwrap();
        for set in [
            "ALTER SYSTEM SET synchronous_standby_names = 'second'",
            "SELECT pg_reload_conf()",
        ] {
            client.batch_execute(set).await.unwrap();
        }
    }
    [primary, standby]
}

/// Of a new database on the first of them. No option says which of them is meant.
async fn url(servers: &[Postgres; 2]) -> String {
    let [primary, standby] = servers;
    let (_, name) = primary
        .database()
        .await
        .rsplit_once('/')
        .map(owned)
        .unwrap();
    let (first, second) = (primary.port(), standby.port());
    format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{first},127.0.0.1:{second}/{name}")
}

fn owned((before, after): (&str, &str)) -> (String, String) {
    (before.to_owned(), after.to_owned())
}

async fn what_was_accepted_survives_a_primary_with_a_synchronous_standby(_: ()) {
    lose_the_primary(true, Postgres::kill, SOON).await;
}

async fn a_promoted_standby_is_found_without_synchronous_replication(_: ()) {
    lose_the_primary(false, Postgres::kill, SOON).await;
}

/// Connections stay open, and whoever connects hears nothing.
async fn a_primary_that_hangs_is_left(_: ()) {
    let freeze = async |primary: &Postgres| primary.freeze();
    lose_the_primary(true, freeze, 3 * SOON).await;
}

async fn lose_the_primary(synchronous: bool, lose: impl AsyncFn(&Postgres), soon: Duration) {
    let servers = pair(synchronous).await;
    let group = Group::start(&url(&servers).await, 2).await;
    let phones = group.away(50).await;
    let traffic = Traffic::start(&group, &phones);
    tokio::time::sleep(Duration::from_secs(4)).await;
    lose(&servers[0]).await;
    tokio::time::sleep(Duration::from_secs(8)).await;
    servers[1].promote();
    let promoted = Instant::now();
    tokio::time::sleep(Duration::from_secs(6)).await;
    let sent = traffic.end().await;
    traffic::assert_harmless(&sent);
    let stored = traffic::stored_after(promoted, &sent, 2);
    assert!(stored.iter().all(|took| *took < soon), "{stored:?}");
    assert_eq!(traffic::refused_after(promoted + soon, &sent), 0);
    // Without, PostgreSQL answers before the standby has it.
    let kept = sent
        .into_iter()
        .filter(|sent| synchronous || sent.begun > promoted);
    let accepted = traffic::accepted(&kept.collect::<Vec<_>>());
    let took = group.call_back(&phones, &accepted).await;
    println!(
        "stored again {stored:?} after; {} arrived within {took:?}",
        accepted.len()
    );
}

async fn a_former_primary_that_follows_is_left_alone(_: ()) {
    let servers = pair(false).await;
    let group = Group::start(&url(&servers).await, 2).await;
    let phones = group.away(50).await;
    let traffic = Traffic::start(&group, &phones);
    tokio::time::sleep(Duration::from_secs(2)).await;
    servers[0].stop().await;
    servers[1].promote();
    let promoted = Instant::now();
    servers[0].follow(&servers[1], "first");
    servers[0].launch().await;
    // It is the first in the URL, and answers.
    tokio::time::sleep(Duration::from_secs(8)).await;
    let sent = traffic.end().await;
    traffic::assert_harmless(&sent);
    let stored = traffic::stored_after(promoted, &sent, 2);
    assert!(stored.iter().all(|took| *took < SOON), "{stored:?}");
    assert_eq!(traffic::refused_after(promoted + SOON, &sent), 0);
    let accepted = traffic::accepted(&sent);
    let took = group.call_back(&phones, &accepted).await;
    println!(
        "stored again {stored:?} after; {} arrived within {took:?}",
        accepted.len()
    );
}

async fn a_primary_that_becomes_read_only_is_left_at_once(_: ()) {
    let servers = pair(false).await;
    let group = Group::start(&url(&servers).await, 2).await;
    let phones = group.away(50).await;
    let client = connect(&servers[0].url("postgres")).await.unwrap();
    let traffic = Traffic::start(&group, &phones);
    tokio::time::sleep(Duration::from_secs(2)).await;
    servers[1].promote();
    // Connections stay open, and their next statement is refused.
    for set in [
        "ALTER SYSTEM SET default_transaction_read_only = on",
        "SELECT pg_reload_conf()",
    ] {
        client.batch_execute(set).await.unwrap();
    }
    let read_only = Instant::now();
    tokio::time::sleep(Duration::from_secs(6)).await;
    let sent = traffic.end().await;
    traffic::assert_harmless(&sent);
    let stored = traffic::stored_after(read_only + Duration::from_millis(200), &sent, 2);
    assert!(stored.iter().all(|took| *took < SOON), "{stored:?}");
    assert_eq!(traffic::refused_after(read_only + SOON, &sent), 0);
    let of_second = connect(&servers[1].url("push0")).await.unwrap();
    let count = "SELECT count(*) FROM unified_push_queue";
    let there: i64 = of_second.query_one(count, &[]).await.unwrap().get(0);
    let later = sent
        .iter()
        .filter(|sent| sent.begun > read_only + SOON)
        .count();
    assert!(there >= later as i64, "{there} of {later}");
    let refused = sent.iter().filter(|sent| sent.status != 201).count();
    println!(
        "{refused} of {} pushes refused; {there} stored at the other server",
        sent.len()
    );
}

async fn a_server_without_synchronous_standbys_is_refused_if_told_to(_: ()) {
    let servers = pair(true).await;
    let group = Group::start(&url(&servers).await, 1).await;
    let strict = group.one_more("store.require_synchronous", "true");
    strict.start().await;
    strict.stop().await;
    let client = connect(&servers[0].url("postgres")).await.unwrap();
    for set in [
        "ALTER SYSTEM RESET synchronous_standby_names",
        "SELECT pg_reload_conf()",
    ] {
        client.batch_execute(set).await.unwrap();
    }
    strict.spawn();
    assert_eq!(strict.exit().await, Some(1));
    let said = strict.log();
    for words in [
        "may lose what was accepted",
        "synchronous_standby_names",
        "Name standbys",
    ] {
        assert!(said.contains(words), "{said}");
    }
}
