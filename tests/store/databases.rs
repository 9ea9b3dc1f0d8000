//! Databases that cannot be used, and those that several come to at once.

use futures::future::join_all;
use testbed::{
    Postgres, free_port,
    postgres::{PASSWORD, USER, connect},
    tests,
};
use unified_push::store::{PostgresSettings, PostgresUrl, Store};

use crate::PostgresTest;

pub fn tests() -> Vec<PostgresTest> {
    tests![
        &a_unix_socket_serves_as_well,
        daemons_that_start_at_once_make_the_tables_once,
        a_database_of_an_older_schema_keeps_all_it_holds,
        a_newer_schema_is_refused_and_untouched,
        what_is_wrong_is_said_without_the_password,
        a_server_without_tls_is_refused_when_it_is_asked_for,
    ]
}

async fn open(url: &str) -> Result<Store, String> {
    let url: PostgresUrl = url.parse().unwrap();
    let opened = Store::connect(&url, PostgresSettings::default()).await;
    opened.map_err(|error| format!("{error} {error:?}"))
}

async fn a_unix_socket_serves_as_well(postgres: &Postgres) {
    let url = postgres.database().await;
    let name = url.rsplit('/').next().unwrap();
    let store = open(&postgres.socket_url(name)).await.unwrap();
    store.ping().await.unwrap();
    let shown = format!("{store:?}");
    assert!(shown.contains(name) && !shown.contains(PASSWORD), "{shown}");
}

async fn daemons_that_start_at_once_make_the_tables_once(postgres: &Postgres) {
    let url = postgres.database().await;
    let all = (0..6).map(|_| open(&url));
    for opened in join_all(all).await {
        opened.unwrap().ping().await.unwrap();
    }
    let client = connect(&url).await.unwrap();
    let rows = client.query("SELECT version FROM unified_push_schema", &[]);
    let rows = rows.await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].get::<_, i32>(0), 7);
}

async fn a_database_of_an_older_schema_keeps_all_it_holds(postgres: &Postgres) {
    const FILLED: &[&str] = &[
        include_str!("../../src/store/postgres/schema/2.filled.sql"),
        include_str!("../../src/store/postgres/schema/3.filled.sql"),
        include_str!("../../src/store/postgres/schema/4.filled.sql"),
        include_str!("../../src/store/postgres/schema/5.filled.sql"),
    ];
    const TABLES: [&str; 5] = [
        "changes",
        "issuers",
        "queue",
        "registrations",
        "revocations",
    ];
    let fresh = postgres.database().await;
    open(&fresh).await.unwrap();
    let present = schema(&fresh).await;
    for dump in FILLED {
        let url = postgres.database().await;
        // A connection of its own: the dump sets its search path.
        let old = connect(&url).await.unwrap();
        old.batch_execute(dump).await.unwrap();
        let client = connect(&url).await.unwrap();
        let mut before = Vec::new();
        for table in TABLES {
            let columns = format!(
                "SELECT string_agg(quote_ident(column_name), ', ' ORDER BY ordinal_position)
                 FROM information_schema.columns WHERE table_name = 'unified_push_{table}'"
            );
            let columns = client.query_one(&columns, &[]).await.unwrap();
            let columns: String = columns.get(0);
            let rows = format!("SELECT ROW({columns})::text FROM unified_push_{table} ORDER BY 1");
            let found = texts(&client.query(&rows, &[]).await.unwrap());
            assert!(!found.is_empty(), "{table}");
            before.push((rows, found));
        }
        open(&url).await.unwrap();
        assert_eq!(schema(&url).await, present);
        for (query, rows) in before {
            let now = texts(&client.query(&query, &[]).await.unwrap());
            assert_eq!(now, rows, "{query}");
        }
    }
}

/// All columns and indexes.
async fn schema(url: &str) -> Vec<String> {
    let client = connect(url).await.unwrap();
    let all = "SELECT concat_ws(' ', table_name, column_name, data_type, is_nullable,
             column_default) FROM information_schema.columns
         WHERE table_schema = 'public'
         UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1";
    texts(&client.query(all, &[]).await.unwrap())
}

fn texts(rows: &[tokio_postgres::Row]) -> Vec<String> {
    rows.iter().map(|row| row.get(0)).collect()
}

async fn a_newer_schema_is_refused_and_untouched(postgres: &Postgres) {
    let url = postgres.database().await;
    let client = connect(&url).await.unwrap();
    let newer = "CREATE TABLE unified_push_schema (version integer);
         INSERT INTO unified_push_schema VALUES (99)";
    client.batch_execute(newer).await.unwrap();
    let said = open(&url).await.unwrap_err();
    assert!(said.contains("newer version"), "{said}");
    assert!(said.contains("schema 99"), "{said}");
    let tables = "SELECT count(*) FROM pg_tables WHERE tablename LIKE 'unified%'";
    let tables = client.query_one(tables, &[]).await.unwrap();
    assert_eq!(tables.get::<_, i64>(0), 1);
}

async fn what_is_wrong_is_said_without_the_password(postgres: &Postgres) {
    let url = postgres.database().await;
    let nobody = format!("127.0.0.1:{}", free_port());
    let address = url.split(['@', '/']).nth(3).unwrap();
    let other = "another-password";
    for (wrong, words) in [
        (url.replace(PASSWORD, other), "Correct user and password"),
        (
            url.replace(&format!("{USER}:"), "stranger:"),
            "Correct user and password",
        ),
        (format!("{url}-not"), "there is no database"),
        (url.replace(address, &nobody), "Connection refused"),
        (url.replace(address, "nobody.invalid"), "no connection to"),
        (
            postgres
                .socket_url("push")
                .replace("host=", "host=/nowhere"),
            "Start PostgreSQL there",
        ),
    ] {
        let said = open(&wrong).await.unwrap_err();
        assert!(said.contains(words), "{words} in {said}");
        let shown = said.contains(PASSWORD) || said.contains(other);
        assert!(!shown, "{said}");
    }

    let latin = postgres.latin_database().await;
    let said = open(&latin).await.unwrap_err();
    let words = "cannot hold every address: its encoding is LATIN1. Make another database";
    assert!(said.contains(words), "{said}");

    let client = connect(&url).await.unwrap();
    let guest = "CREATE USER guest PASSWORD 'guest-password';
         REVOKE CREATE ON SCHEMA public FROM PUBLIC";
    client.batch_execute(guest).await.unwrap();
    let guest = url.replace(&format!("{USER}:{PASSWORD}"), "guest:guest-password");
    let said = open(&guest).await.unwrap_err();
    assert!(said.contains("permission denied for schema"), "{said}");
    assert!(said.contains("grant it CREATE"), "{said}");
    assert!(!said.contains("guest-password"), "{said}");
}

async fn a_server_without_tls_is_refused_when_it_is_asked_for(postgres: &Postgres) {
    let url = postgres.database().await;
    let said = open(&format!("{url}?sslmode=require")).await.unwrap_err();
    assert!(said.contains("TLS"), "{said}");
}
