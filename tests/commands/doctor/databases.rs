//! Real PostgreSQL, right and wrong.

use std::{fs, process::Command};

use rustix::process::geteuid;
use testbed::{
    Missing, PATIENCE, Postgres, Process, eventually, free_port,
    postgres::{PASSWORD, USER, connect},
};

use super::clinic::{Clinic, PASS, clinic};

const PGBOUNCER: &str = "/usr/sbin/pgbouncer";

fn use_database(clinic: &mut Clinic, url: &str) {
    use std::os::unix::fs::PermissionsExt;
    let file = clinic.path("url");
    fs::write(&file, url).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    clinic.bed.text("store.url_file", file.to_str().unwrap());
}

#[tokio::test]
async fn a_database_that_does_not_serve_is_named() {
    let Some(mut clinic) = clinic().await else {
        return;
    };
    if let Some(missing) = Postgres::missing() {
        return missing.leave_out();
    }
    let postgres = Postgres::start().await;
    let url = postgres.database().await;
    clinic.proxy(PASS).await;
    use_database(&mut clinic, &url);
    let right = clinic.ask().await;
    assert!(right.of("wrong").is_empty(), "{right:#?}");
    assert_eq!(right.of("warning").len(), 1, "no daemon runs: {right:#?}");
    // Nothing was made there.
    let client = connect(&url).await.unwrap();
    let tables = "SELECT count(*) FROM pg_tables WHERE tablename LIKE 'unified%'";
    let tables: i64 = client.query_one(tables, &[]).await.unwrap().get(0);
    assert_eq!(tables, 0);

    let daemon = clinic.daemon().await;
    let right = clinic.ask().await;
    assert!(
        right.of("wrong").is_empty() && right.of("warning").is_empty(),
        "{right:#?}"
    );
    daemon.stop().await;

    use_database(&mut clinic, &url.replace(PASSWORD, "another"));
    clinic.is_wrong("database", "password").await;
    use_database(&mut clinic, &format!("{url}-of-nobody"));
    clinic.is_wrong("database", "there is no database").await;
    use_database(&mut clinic, &postgres.latin_database().await);
    clinic.is_wrong("database", "its encoding is LATIN1").await;
    use_database(&mut clinic, &format!("{url}?sslmode=require"));
    clinic.is_wrong("database", "TLS").await;
    let name = url.rsplit('/').next().unwrap();
    let read_only = format!("ALTER DATABASE {name} SET default_transaction_read_only = on");
    client.batch_execute(&read_only).await.unwrap();
    use_database(&mut clinic, &url);
    clinic.is_wrong("database", "takes no writes").await;
    drop(client);
    postgres.stop().await;
    clinic.is_wrong("database", "no connection to").await;
}

#[tokio::test]
async fn a_pooler_that_lends_for_a_transaction_is_named() {
    let Some(mut clinic) = clinic().await else {
        return;
    };
    let missing = Postgres::missing().or_else(|| Missing::of(&[PGBOUNCER]));
    if let Some(missing) = missing {
        return missing.leave_out();
    }
    let postgres = Postgres::start().await;
    let url = postgres.database().await;
    clinic.proxy(PASS).await;
    let (server, name) = url.rsplit_once('/').unwrap();
    let server = server.rsplit_once(':').unwrap().1;
    for (mode, verdict) in [("transaction", "wrong"), ("session", "ok")] {
        let port = free_port();
        let dir = clinic.path(mode);
        fs::create_dir(&dir).unwrap();
        let text = format!(
            "[databases]\n{name} = host=127.0.0.1 port={server} user={USER} password={PASSWORD}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = any\npool_mode = {mode}\n"
        );
        let path = std::env::temp_dir().join(format!("pgbouncer-{port}.ini"));
        fs::write(&path, text).unwrap();
        let mut command = Command::new(PGBOUNCER);
        if geteuid().is_root() {
            // As root it does not run.
            command.args(["--user", "nobody"]);
        }
        let _pooler = Process::start(command.arg(&path), &dir.join("log")).unwrap();
        let url = format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{port}/{name}");
        eventually("PgBouncer lets clients in", PATIENCE, async || {
            connect(&url).await.ok().map(drop)
        })
        .await;
        fs::remove_file(&path).unwrap();
        use_database(&mut clinic, &url);
        let diagnosis = clinic.ask().await;
        match verdict {
            "wrong" => diagnosis.is_only("wrong", "database", "pool_mode = session"),
            _ => assert!(diagnosis.of("wrong").is_empty(), "{diagnosis:#?}"),
        }
    }
}
