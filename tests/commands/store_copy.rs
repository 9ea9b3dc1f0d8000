//! `store copy`: all that a store holds, carried over to another one and back.
//!
//! How long a million of each takes, in the optimised program:
//! `cargo test --release --test commands a_million -- --ignored --nocapture`.

mod refused;
mod rows;

use std::{fs::File, path::Path, time::Duration};

use rusqlite::Connection;
use rustix::process::Signal;
use testbed::{
    Bed, Behaviour, Missing, MovedClock, PATIENCE, Postgres, Process,
    bed::{Ended, push},
    clock, eventually,
    http::{post, try_get},
    postgres::{PASSWORD, connect},
};
use tokio::time::Instant;

use self::rows::{contents, fill, fill_with_a_million_of_each, indexes, schema};
use crate::outage::installed;

const DAY: i64 = 86_400;
const SAME: &str = "Counts and digests are the same";

fn sqlite(state_dir: &Path) -> String {
    format!("sqlite:{}", state_dir.display())
}

async fn copy(bed: &Bed, from: &str, to: &str) -> Ended {
    // On a machine that is busy, tens of thousands of rows take longer than other commands.
    let ended = bed
        .run_within(4 * PATIENCE, &["store", "copy", "--from", from, "--to", to])
        .await;
    assert!(!format!("{ended:?}").contains(PASSWORD), "{ended:?}");
    ended
}

/// Whether the message of this URL waits.
async fn waits(message: &str) -> bool {
    try_get(message).await.unwrap().status == 200
}

/// Posts a message to a phone that is away; returns the URL of the message.
async fn store(endpoint: &str, topic: &str, payload: &[u8]) -> String {
    let answer = post(endpoint, &[("TTL", "3600"), ("Topic", topic)], payload).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.header("location").unwrap().to_owned()
}

/// The phone comes online, and awaits a message among those that it refused before.
async fn arrives(bed: &mut Bed, payload: &[u8]) {
    bed.phone.behave(Behaviour::Conversations);
    bed.phone.announce();
    while bed.arrived().await.payload != payload {}
}

#[tokio::test]
async fn store_copy_brings_all_to_postgresql_and_back() {
    if !installed() {
        return;
    }
    let postgres = Postgres::start().await;
    let mut bed = Bed::new().await;
    bed.text("backend", "storage");
    let daemon = bed.start().await;
    let stored = bed.register("app").await;
    let romeo = bed.server.phone("romeo@example.org/orchard");
    let dead = romeo.register("app").await.unwrap().endpoint;
    let revoke = ["registrations", "revoke", "romeo@example.org"];
    bed.run(&revoke).await.with(0);
    daemon.stop().await;
    bed.text("backend", "paseto");
    let daemon = bed.start().await;
    let sealed = bed.register("another app").await;
    bed.phone.behave(Behaviour::OFFLINE);
    let early = store(&stored, "weather", b"rain").await;
    let other = store(&sealed, "news", b"a message").await;
    daemon.stop().await;

    fill(&bed.database());
    let before = contents(&bed.database());
    let (state_dir, url) = (sqlite(&bed.state_dir()), postgres.database().await);
    let said = copy(&bed, &state_dir, &url).await.with(0);
    assert!(said.contains("4 waiting messages"), "{said}");
    assert!(said.contains(SAME), "{said}");
    let back = bed.path("back");
    let said = copy(&bed, &url, &sqlite(&back)).await.with(0);
    assert!(said.contains(SAME), "{said}");
    let back = back.join("unified-push.db");
    assert_eq!(contents(&back), before);
    assert_eq!(schema(&back), schema(&bed.database()));
    let made = bed
        .config
        .clone()
        .text("store.url", &postgres.database().await);
    bed.start_with(made.serve()).await.stop().await;
    assert_eq!(indexes(&url).await, indexes(made.get("store.url")).await);

    bed.text("store.url", &url);
    let daemon = bed.start().await;
    assert!(waits(&early).await && waits(&other).await);
    let late = store(&stored, "weather", b"sun").await;
    assert!(!waits(&early).await && waits(&late).await);
    assert_eq!(push(&dead).await, 404);
    arrives(&mut bed, b"sun").await;
    assert_eq!(push(&stored).await, 201);
    assert_eq!(push(&sealed).await, 201);
    daemon.stop().await;
    // Only this back end finds in the store what the phone has registered before.
    bed.text("backend", "storage");
    let daemon = bed.start().await;
    assert_eq!(bed.register("app").await, stored);
    daemon.stop().await;
}

#[tokio::test]
async fn store_copy_keeps_what_a_wrong_clock_has_dated() {
    let missing = clock::missing();
    missing.iter().for_each(Missing::leave_out);
    if missing.is_some() || !installed() {
        return;
    }
    let postgres = Postgres::start().await;
    for (backend, offset) in [
        ("paseto", -40 * DAY),
        ("paseto", 400 * DAY),
        ("storage", -40 * DAY),
    ] {
        let mut bed = Bed::new().await;
        bed.text("backend", backend);
        let clock = MovedClock::new(&bed.path(""));
        clock.set_offset(offset);
        let mut command = bed.config.serve();
        clock.attach(&mut command);
        let daemon = bed.start_with(command).await;
        let endpoint = bed.register("app").await;
        bed.phone.behave(Behaviour::OFFLINE);
        let early = store(&endpoint, "weather", b"rain").await;
        daemon.stop().await;
        clock.set_offset(0);
        let (state_dir, url) = (sqlite(&bed.state_dir()), postgres.database().await);
        copy(&bed, &state_dir, &url).await.with(0);

        bed.text("store.url", &url);
        let daemon = bed.start().await;
        assert!(waits(&early).await, "{backend} {offset}");
        let late = store(&endpoint, "weather", b"sun").await;
        assert!(
            !waits(&early).await && waits(&late).await,
            "{backend} {offset}"
        );
        bed.run(&["inspect", &endpoint]).await.with(0);
        daemon.stop().await;

        let back = bed.path("back");
        copy(&bed, &url, &sqlite(&back)).await.with(0);
        bed.config.unset("store.url");
        bed.text("state_dir", back.to_str().unwrap());
        let daemon = bed.start().await;
        assert!(waits(&late).await, "{backend} {offset}");
        arrives(&mut bed, b"sun").await;
        assert_eq!(push(&endpoint).await, 201, "{backend} {offset}");
        daemon.stop().await;
    }
}

#[tokio::test]
async fn store_copy_goes_on_where_it_was_killed() {
    const MANY: i64 = 30_000;
    if !installed() {
        return;
    }
    let postgres = Postgres::start().await;
    let mut bed = Bed::new().await;
    bed.start().await.stop().await;
    let db = Connection::open(bed.database()).unwrap();
    db.execute_batch(&format!(
        "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {MANY})
         INSERT INTO registrations
             (id, key, generation, owner, jid, application, instance, issued, expires)
         SELECT randomblob(32), randomblob(8), randomblob(16), n || '@example.org',
             n || '@example.org/x', randomblob(32), randomblob(32), n, 9223372036854775807 FROM n"
    ))
    .unwrap();
    drop(db);
    let (state_dir, url) = (sqlite(&bed.state_dir()), postgres.database().await);
    let client = connect(&url).await.unwrap();
    let in_postgres = async || {
        let count = "SELECT count(*) FROM unified_push_registrations";
        let row = client.query_one(count, &[]).await.ok()?;
        Some(row.get::<_, i64>(0)).filter(|count| *count > 0)
    };
    killed(&bed, &state_dir, &url, in_postgres).await;
    let partial = in_postgres().await.unwrap();
    assert!(partial < MANY, "{partial}");

    bed.text("store.url", &url);
    let daemon = bed.spawn(bed.config.serve());
    assert_eq!(daemon.exit().await, Some(1));
    let part = format!("holds part of a copy of {state_dir}");
    assert!(daemon.log().contains(&part), "{}", daemon.log());
    let said = bed.run(&["queue", "list"]).await.with(1);
    assert!(said.contains(&part), "{said}");
    let other = bed.path("other");
    let mut elsewhere = bed.config.clone();
    elsewhere.unset("store.url");
    elsewhere.set("state_dir", format!("{other:?}"));
    bed.start_with(elsewhere.serve()).await.stop().await;
    let said = copy(&bed, &sqlite(&other), &url).await.with(1);
    assert!(said.contains(&part), "{said}");
    let said = copy(&bed, &url, &sqlite(&bed.path("back"))).await.with(1);
    assert!(said.contains("Complete that copy first"), "{said}");

    let said = copy(&bed, &state_dir, &url).await.with(0);
    let begun: Option<i64> = said.lines().find_map(|line| {
        let rest = line.strip_prefix("copying registrations: ")?;
        rest.split(' ').next()?.parse().ok()
    });
    assert!(begun >= Some(partial), "{said}");
    assert!(
        said.contains(&format!("{MANY} registrations")) && said.contains(SAME),
        "{said}"
    );
    assert_eq!(in_postgres().await, Some(MANY));

    // And back, with a source that changes while its copy is not complete.
    let back = bed.path("back");
    let in_sqlite = async || {
        let db = Connection::open(back.join("unified-push.db")).ok()?;
        let count = "SELECT count(*) FROM registrations";
        let count: i64 = db.query_row(count, [], |row| row.get(0)).ok()?;
        (count > 0).then_some(count)
    };
    killed(&bed, &url, &sqlite(&back), in_sqlite).await;
    assert!(in_sqlite().await.unwrap() < MANY);
    let first = "DELETE FROM unified_push_registrations WHERE number = 1";
    client.execute(first, &[]).await.unwrap();
    let said = copy(&bed, &url, &sqlite(&back)).await.with(0);
    assert!(
        said.contains("starting over") && said.contains(SAME),
        "{said}"
    );
    assert_eq!(in_sqlite().await, Some(MANY - 1));
}

/// Kills a copy as soon as this is there.
async fn killed<T>(bed: &Bed, from: &str, to: &str, begun: impl AsyncFn() -> Option<T>) {
    let mut command = bed.command(&["store", "copy", "--from", from, "--to", to]);
    let mut process = Process::start_with(&mut command, &bed.path("killed")).unwrap();
    eventually("the copy has begun", PATIENCE, begun).await;
    process.signal(Signal::KILL);
    let status = process.exit(PATIENCE).await;
    assert_eq!(status.code(), None, "{}", process.log());
}

/// How long a copy takes.
async fn timed(bed: &Bed, from: &str, to: &str) -> Duration {
    const LIMIT: Duration = Duration::from_secs(1800);
    let mut command = bed.command(&["store", "copy", "--from", from, "--to", to]);
    let (said, log) = (bed.config.fresh("out"), bed.config.fresh("err"));
    command.stdout(File::create(&said).unwrap());
    let begun = Instant::now();
    let mut process = Process::start_with(&mut command, &log).unwrap();
    let status = process.exit(LIMIT).await;
    let took = begun.elapsed();
    let said = std::fs::read_to_string(said).unwrap();
    println!("{took:.1?}\n{said}{}", process.log());
    assert_eq!(status.code(), Some(0));
    for part in [
        "1000000 revocations",
        "1000000 registrations",
        "1000000 waiting messages",
        SAME,
    ] {
        assert!(said.contains(part), "{said}");
    }
    took
}

#[tokio::test]
#[ignore = "takes minutes, and means little unless the program is optimised"]
async fn a_million_of_each_is_copied_in_three_minutes() {
    const MOST: Duration = Duration::from_secs(180);
    if !installed() {
        return;
    }
    let postgres = Postgres::start().await;
    let bed = Bed::new().await;
    bed.start().await.stop().await;
    fill_with_a_million_of_each(&bed.database());
    let (state_dir, url) = (sqlite(&bed.state_dir()), postgres.database().await);
    let there = timed(&bed, &state_dir, &url).await;
    let back = timed(&bed, &url, &sqlite(&bed.path("back"))).await;
    assert!(there < MOST && back < MOST, "{there:?} {back:?}");
}
