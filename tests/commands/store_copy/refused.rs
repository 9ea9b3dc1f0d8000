//! What `store copy` says when it copies nothing, or not all.

use std::fs;

use rusqlite::Connection;
use testbed::{Bed, Postgres, bed::push, postgres::connect};

use super::{
    copy,
    rows::{contents, fill},
    sqlite,
};
use crate::outage::installed;

const OUR_TABLES: &str = "SELECT count(*) FROM pg_tables WHERE tablename LIKE 'unified%'";

#[tokio::test]
async fn store_copy_says_which_store_failed() {
    if !installed() {
        return;
    }
    let postgres = Postgres::start().await;
    let bed = Bed::new().await;
    bed.start().await.stop().await;
    fill(&bed.database());
    let (state_dir, url) = (sqlite(&bed.state_dir()), postgres.database().await);
    let client = connect(&url).await.unwrap();
    // A database that a copy has begun to fill, and in which nothing more can be stored.
    let (begun, back) = (bed.path("begun"), bed.path("back"));
    copy(&bed, &state_dir, &url).await.with(0);
    copy(&bed, &url, &sqlite(&begun)).await.with(0);
    let db = Connection::open(begun.join("unified-push.db")).unwrap();
    db.execute_batch(&format!(
        "INSERT INTO copy VALUES ('{state_dir}/');
         DELETE FROM queue;
         CREATE TRIGGER full BEFORE INSERT ON queue BEGIN SELECT raise(FAIL, 'it is full'); END"
    ))
    .unwrap();
    drop(db);
    let said = copy(&bed, &state_dir, &sqlite(&begun)).await.with(1);
    let words = format!(
        "--to: {}/: the store failed: it is full. See to that",
        sqlite(&begun)
    );
    assert!(said.contains(&words), "{said}");

    let gone = "ALTER TABLE unified_push_queue RENAME payload TO gone";
    client.execute(gone, &[]).await.unwrap();
    let said = copy(&bed, &url, &sqlite(&back)).await.with(1);
    assert!(said.contains("--from: postgres://"), "{said}");
    assert!(said.contains("\"payload\" does not exist"), "{said}");
}

#[tokio::test]
async fn store_copy_refuses_before_it_changes_anything() {
    if !installed() {
        return;
    }
    let postgres = Postgres::start().await;
    let mut bed = Bed::new().await;
    bed.text("backend", "storage");
    let daemon = bed.start().await;
    bed.register("app").await;
    let (state_dir, url) = (sqlite(&bed.state_dir()), postgres.database().await);
    let said = copy(&bed, &state_dir, &url).await.with(1);
    assert!(
        said.contains("--from: ") && said.contains("is held by another daemon"),
        "{said}"
    );
    let client = connect(&url).await.unwrap();
    let tables = client.query_one(OUR_TABLES, &[]).await.unwrap();
    assert_eq!(tables.get::<_, i64>(0), 0);
    daemon.stop().await;

    // A daemon that lives on PostgreSQL, on either side, which notices nothing.
    let on_postgres = bed.config.clone().text("store.url", &url);
    let daemon = bed.start_with(on_postgres.serve()).await;
    let endpoint = bed.register("app").await;
    let nowhere = bed.path("nowhere");
    for (from, to, option) in [
        (&state_dir, &url, "--to: "),
        (&url, &sqlite(&nowhere), "--from: "),
    ] {
        let said = copy(&bed, from, to).await.with(1);
        assert!(
            said.contains(option) && said.contains("is in use. Stop all daemons"),
            "{said}"
        );
    }
    assert!(!nowhere.exists());
    assert_eq!(push(&endpoint).await, 201);
    bed.register("another app").await;
    daemon.stop().await;

    let newer = postgres.database().await;
    let client = connect(&newer).await.unwrap();
    let schema = "CREATE TABLE unified_push_schema (version integer);
         INSERT INTO unified_push_schema VALUES (99)";
    client.batch_execute(schema).await.unwrap();
    let missing = sqlite(&bed.path("missing"));
    let file = bed.path("url");
    fs::write(&file, format!("{}\n", url.replace("postgres:", "mysql:"))).unwrap();
    let file = format!("file:{}", file.display());
    let strange = postgres.database().await;
    let latin = postgres.latin_database().await;
    let empty = bed.path("empty");
    fs::create_dir(&empty).unwrap();
    fs::write(empty.join("unified-push.db"), "").unwrap();
    let database = format!("{state_dir}/unified-push.db");
    for (from, to, words) in [
        (
            &state_dir,
            &url,
            "is not empty, it holds 1 keys. Nothing has changed",
        ),
        (
            &url,
            &state_dir,
            "is not empty, it holds 1 keys. Nothing has changed",
        ),
        (&state_dir, &newer, "was written by a newer version"),
        (&newer, &missing, "was written by a newer version"),
        (&missing, &url, "does not exist"),
        (&strange, &missing, "holds no store of unified-push"),
        (&state_dir, &latin, "its encoding is LATIN1"),
        (&latin, &missing, "holds no store of unified-push"),
        (&database, &url, "is not a directory"),
        (&sqlite(&empty), &missing, "holds no store of unified-push"),
        (&url, &url, "are the same store"),
        (&state_dir, &state_dir, "are the same store"),
        (&state_dir, &format!("{url}-not"), "there is no database"),
        (
            &state_dir,
            &url.replace("postgres:", "mysql:"),
            "--to names no store. Write sqlite:",
        ),
        (&file, &url, "does not start with postgres://"),
        (&"file:/nowhere".to_owned(), &url, "cannot be read"),
    ] {
        let before = contents(&bed.database());
        let said = copy(&bed, from, to).await.with(1);
        assert!(said.contains(words), "{words} in {said}");
        assert_eq!(contents(&bed.database()), before);
    }
    assert!(!bed.path("missing").exists());
    let client = connect(&strange).await.unwrap();
    let tables = client.query_one(OUR_TABLES, &[]).await.unwrap();
    assert_eq!(tables.get::<_, i64>(0), 0);
}
