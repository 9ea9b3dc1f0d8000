//! Commits that hang, as they do when a synchronous standby is gone: COMMIT waits for ever, even for
//! a client that has left.

use std::time::Duration;

use testbed::{Postgres, postgres::connect, tests};
use tokio::time::Instant;

use crate::{
    Test,
    group::{Group, name},
    traffic::{self, Traffic},
};

/// What a daemon may have without being told otherwise, and one to see whether the database works.
const CONNECTIONS: i64 = 6 + 1;

pub fn tests() -> Vec<Test> {
    tests![commits_that_hang_take_no_connections_from_others]
}

async fn commits_that_hang_take_no_connections_from_others(_: ()) {
    let postgres = Postgres::start().await;
    let url = postgres.database().await;
    let group = Group::start(&url, 2).await;
    let phones = group.away(500).await;
    let client = connect(&url).await.unwrap();
    let set = async |statement: &str| {
        for statement in [statement, "SELECT pg_reload_conf()"] {
            client.batch_execute(statement).await.unwrap();
        }
    };
    let traffic = [(); 3].map(|()| Traffic::start(&group, &phones));
    set("ALTER SYSTEM SET synchronous_standby_names = 'gone'").await;
    let mut most = 0;
    let hung = Instant::now();
    let of_one = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1";
    while hung.elapsed() < Duration::from_secs(15) {
        for daemon in 0..2 {
            let row = client.query_one(of_one, &[&name(daemon)]).await.unwrap();
            most = most.max(row.get::<_, i64>(0));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(most <= CONNECTIONS, "{most} connections of a daemon");
    for daemon in &group.daemons {
        daemon.store("failing").await;
    }
    let again = Instant::now();
    set("ALTER SYSTEM RESET synchronous_standby_names").await;
    for (daemon, phone) in [(0, &phones[0]), (1, &phones[1])] {
        group.stores(daemon, phone).await;
        group.daemons[daemon].store("ok").await;
    }
    let works = again.elapsed();
    assert!(works < Duration::from_secs(10), "{works:?}");
    let mut sent = Vec::new();
    for traffic in traffic {
        sent.extend(traffic.end().await);
    }
    traffic::assert_harmless(&sent);
    let accepted = traffic::accepted(&sent);
    let took = group.call_back(&phones, &accepted).await;
    println!(
        "at most {most} connections a daemon; both work {works:?} after the standby; {} of {} \
         accepted, all arrived within {took:?}",
        accepted.len(),
        sent.len()
    );
}
