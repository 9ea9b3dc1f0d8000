//! PgBouncer, as Debian has it.

use std::time::Duration;

use futures::future::join_all;
use testbed::{FakeServer, PgBouncer, Postgres, eventually, postgres::connect, tests};
use tokio::time::Instant;

use crate::{
    Test,
    group::{Group, PATIENCE, account, name},
    traffic::{self, Traffic},
};

/// What a daemon may have without being told otherwise.
const CONNECTIONS: usize = 6;

pub fn tests() -> Vec<Test> {
    tests![
        three_daemons_share_the_default_pool_and_give_back_what_is_idle,
        a_pool_of_transactions_or_statements_is_refused_at_the_start,
        what_nobody_hears_of_is_found_and_the_log_says_so,
        a_pooler_that_restarts_is_found_again,
    ]
}

async fn three_daemons_share_the_default_pool_and_give_back_what_is_idle(_: ()) {
    let postgres = Postgres::start().await;
    let bouncer = PgBouncer::start(&postgres.database().await, "session").await;
    let group = Group::start(&bouncer.url, 3).await;
    let phones = group.away(60).await;
    let of_each = async || {
        let clients = bouncer.clients().await;
        (0..3).map(move |daemon| {
            clients
                .iter()
                .filter(|client| **client == name(daemon))
                .count()
        })
    };
    let mut most = 0;
    let mut accepted = Vec::new();
    for round in 0..5 {
        let pushes = (0..180).map(async |number| {
            let payload = format!("{round} {number}");
            let status = group.push(number % 3, &phones[number % 60], &payload).await;
            assert_eq!(status, 201, "{payload}");
            payload
        });
        accepted.extend(join_all(pushes).await);
        most = of_each().await.fold(most, usize::max);
    }
    assert!(most <= CONNECTIONS, "{most} connections of a daemon");
    let begun = Instant::now();
    eventually("connections are given back", 3 * PATIENCE, async || {
        let most = of_each().await.max().unwrap();
        (most <= 3).then_some(())
    })
    .await;
    println!(
        "at most {most} connections a daemon; 3 or fewer {:?} after the load",
        begun.elapsed()
    );
    let took = group.call_back(&phones, &accepted).await;
    println!("{} messages arrived within {took:?}", accepted.len());
}

async fn a_pool_of_transactions_or_statements_is_refused_at_the_start(_: ()) {
    let postgres = Postgres::start().await;
    for mode in ["transaction", "statement"] {
        let url = postgres.database().await;
        let bouncer = PgBouncer::start(&url, mode).await;
        let group = Group::new(FakeServer::start(account()).await, &bouncer.url, 1);
        let daemon = &group.daemons[0];
        let begun = Instant::now();
        daemon.spawn();
        assert_eq!(daemon.exit().await, Some(1));
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(5), "{took:?}");
        println!("refused in {mode} mode after {took:?}");
        let said = daemon.log();
        assert!(said.contains(&format!("for each {mode} only")), "{said}");
        assert!(said.contains("pool_mode = session"), "{said}");
        // What the pooler's connections to the server would hand on to other clients.
        let client = connect(&url).await.unwrap();
        let left = "SELECT (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory')
             + (SELECT count(*) FROM pg_tables WHERE tablename LIKE 'unified%')";
        assert_eq!(
            client.query_one(left, &[]).await.unwrap().get::<_, i64>(0),
            0
        );
        let pooled = connect(&bouncer.url).await.unwrap();
        let set = pooled.simple_query("SHOW statement_timeout").await.unwrap();
        assert!(!format!("{set:?}").contains("2500"), "{set:?}");
    }
}

/// Whoever changes the pooler's mode while the daemons run takes their notifications away.
async fn what_nobody_hears_of_is_found_and_the_log_says_so(_: ()) {
    const MESSAGES: usize = 100;
    let postgres = Postgres::start().await;
    let bouncer = PgBouncer::start(&postgres.database().await, "session").await;
    let group = Group::with_one_link(&bouncer.url).await;
    let phones = group.present(MESSAGES).await;
    // The second daemon has no link, and what it is told to push reaches the phone by the first.
    let all = async |round: &str| {
        let pushes = phones.iter().map(async |phone| {
            let payload = format!("{round} {phone:?}");
            assert_eq!(group.push(1, phone, &payload).await, 201);
            payload
        });
        join_all(pushes).await
    };
    let heard = group.arrive(&all("heard").await).await;
    let linked = &group.daemons[0];
    assert_eq!(linked.metric("unified_push_store_deaf", "").await, 0.0);

    bouncer.change_mode("transaction").await;
    linked.logged("found some seconds later").await;
    linked.becomes("unified_push_store_deaf", "", 1.0).await;
    let (status, readiness) = linked.readiness().await;
    assert_eq!(status, 200);
    let says = readiness["notifications"].as_str().unwrap();
    assert!(says.contains("transaction mode"), "{says}");
    let found = group.arrive(&all("found").await).await;
    assert!(found < Duration::from_secs(15), "{found:?}");

    bouncer.change_mode("session").await;
    linked.logged("arrive again").await;
    linked.becomes("unified_push_store_deaf", "", 0.0).await;
    let heard_again = group.arrive(&all("heard again").await).await;
    println!(
        "{MESSAGES} of {MESSAGES} arrived within {heard:?}, deaf {found:?}, then {heard_again:?}"
    );
}

async fn a_pooler_that_restarts_is_found_again(_: ()) {
    let postgres = Postgres::start().await;
    let bouncer = PgBouncer::start(&postgres.database().await, "session").await;
    let group = Group::start(&bouncer.url, 3).await;
    let phones = group.away(30).await;
    let traffic = Traffic::start(&group, &phones);
    let mut longest = Duration::ZERO;
    let mut restarts = Vec::new();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(2)).await;
        bouncer.stop().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        bouncer.launch().await;
        restarts.push(Instant::now());
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let sent = traffic.end().await;
    traffic::assert_harmless(&sent);
    for restart in restarts {
        let stored = traffic::stored_after(restart, &sent, 3);
        longest = stored.into_iter().fold(longest, Duration::max);
    }
    assert!(longest < Duration::from_secs(1), "{longest:?}");
    let accepted = traffic::accepted(&sent);
    let took = group.call_back(&phones, &accepted).await;
    println!(
        "stored again {longest:?} after a restart; {} of {} accepted, all arrived within {took:?}",
        accepted.len(),
        sent.len()
    );
}
