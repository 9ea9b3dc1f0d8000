//! How the daemon and PostgreSQL know each other: certificates on both sides, and passwords that
//! change.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use rustix::process::Signal;
use testbed::{
    Authority, Bed, Daemon, PATIENCE, Postgres,
    bed::push,
    eventually,
    postgres::{PASSWORD, USER, connect},
};

use crate::outage::installed;

const LIST: [&str; 2] = ["registrations", "list"];

/// What a command on this database says.
async fn says(bed: &mut Bed, url: &str, code: i32) -> String {
    bed.text("store.url", url);
    let said = bed.run(&LIST).await.with(code);
    assert!(!said.contains(PASSWORD), "{said}");
    said
}

#[tokio::test]
async fn the_servers_certificate_is_verified_as_the_url_says() {
    if !installed() {
        return;
    }
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let postgres = Postgres::prepare();
    let certificate = ours.issue("postgres", "IP:127.0.0.1");
    postgres.use_certificate(&certificate, &ours.path());
    postgres.launch().await;
    let mut bed = Bed::new().await;
    let url = postgres.database().await;
    let with = |mode: &str, authority: &Authority| {
        let path = authority.path();
        format!("{url}?sslmode={mode}&sslrootcert={}", path.display())
    };
    for mode in ["verify-full", "require", "verify-ca"] {
        says(&mut bed, &with(mode, &ours), 0).await;
        let said = says(&mut bed, &with(mode, &theirs), 1).await;
        assert!(said.contains("no encrypted connection to"), "{said}");
        assert!(said.contains("by sslrootcert=FILE"), "{said}");

        let by_name = with(mode, &ours).replace("127.0.0.1", "localhost");
        if mode == "verify-ca" {
            says(&mut bed, &by_name, 0).await;
            continue;
        }
        let said = says(&mut bed, &by_name, 1).await;
        assert!(said.contains("not valid for name \"localhost\""), "{said}");
        assert!(said.contains("sslmode=verify-ca"), "{said}");
    }
    let without_mode = with("", &ours).replace("sslmode=&", "");
    says(&mut bed, &without_mode, 0).await;
    let said = says(&mut bed, &without_mode.replace("127.0.0.1", "localhost"), 1).await;
    assert!(said.contains("not valid for name"), "{said}");

    // The system's authorities, of which there are none.
    let nowhere = bed.path("nowhere");
    for url in [
        format!("{url}?sslmode=verify-full"),
        format!("{url}?sslmode=verify-full&sslrootcert=system"),
    ] {
        bed.text("store.url", &url);
        let mut command = bed.command(&LIST);
        command.env("SSL_CERT_FILE", &nowhere);
        let said = bed.run_with(command, b"").await.with(1);
        assert!(said.contains("no certificate authorities"), "{said}");
        assert!(said.contains(nowhere.to_str().unwrap()), "{said}");
        assert!(said.contains("ca-certificates"), "{said}");
        let mut command = bed.command(&LIST);
        command.env("SSL_CERT_FILE", ours.path());
        bed.run_with(command, b"").await.with(0);
    }
}

#[tokio::test]
async fn a_server_without_tls_is_named() {
    if !installed() {
        return;
    }
    let postgres = Postgres::start().await;
    let mut bed = Bed::new().await;
    let url = format!("{}?sslmode=verify-full", postgres.database().await);
    bed.text("store.url", &url);
    let authority = Authority::new("ours");
    let mut command = bed.command(&LIST);
    command.env("SSL_CERT_FILE", authority.path());
    let said = bed.run_with(command, b"").await.with(1);
    assert!(said.contains("server does not support TLS"), "{said}");
    assert!(said.contains("Set `ssl = on` there"), "{said}");
}

#[tokio::test]
async fn a_clients_certificate_lets_in() {
    if !installed() {
        return;
    }
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let postgres = Postgres::prepare();
    let certificate = ours.issue("postgres", "IP:127.0.0.1");
    postgres.use_certificate(&certificate, &ours.path());
    // By the certificate alone, and by certificate and password.
    let by_certificate = "hostssl all certified 127.0.0.1/32 cert";
    let by_both = "hostssl all hybrid 127.0.0.1/32 scram-sha-256 clientcert=verify-full";
    postgres.admit_by(&format!("{by_certificate}\n{by_both}"));
    postgres.launch().await;
    let url = postgres.database().await;
    let client = connect(&url).await.unwrap();
    let users = format!(
        "CREATE USER certified SUPERUSER; CREATE USER hybrid SUPERUSER PASSWORD '{PASSWORD}'"
    );
    client.batch_execute(&users).await.unwrap();

    let mut bed = Bed::new().await;
    let authority = ours.path();
    let url = format!(
        "{url}?sslmode=verify-full&sslrootcert={}",
        authority.display()
    );
    let certified = url.replace(&format!("{USER}:{PASSWORD}@"), "certified@");
    let both = url.replace(&format!("{USER}:"), "hybrid:");
    let with = |url: &str, authority: &Authority, user: &str| {
        let client = authority.issue(user, "DNS:client");
        let (certificate, key) = (client.certificate.display(), client.key.display());
        format!("{url}&sslcert={certificate}&sslkey={key}")
    };
    for (url, user) in [(&certified, "certified"), (&both, "hybrid")] {
        says(&mut bed, &with(url, &ours, user), 0).await;
        for wrong in [url.clone(), with(url, &ours, "somebody")] {
            let said = says(&mut bed, &wrong, 1).await;
            assert!(said.contains("does not let unified-push in"), "{said}");
            assert!(said.contains("sslcert and sslkey"), "{said}");
        }
        let said = says(&mut bed, &with(url, &theirs, user), 1).await;
        assert!(said.contains("refuses this daemon's certificate"), "{said}");
    }

    let (one, other) = (
        ours.issue("one", "DNS:one"),
        ours.issue("other", "DNS:other"),
    );
    for (certificate, key, words) in [
        (&one.certificate, &other.key, "does not belong to"),
        (&one.certificate, &one.certificate, "holds no private key"),
        (&one.key, &one.key, "holds no certificate in PEM"),
        (&bed.path("missing"), &one.key, "No such file"),
    ] {
        let (certificate, key) = (certificate.display(), key.display());
        bed.text(
            "store.url",
            &format!("{url}&sslcert={certificate}&sslkey={key}"),
        );
        let said = bed.run(&["check-config"]).await.with(78);
        assert!(said.contains("store.url ("), "{said}");
        assert!(said.contains(words) && !said.contains(PASSWORD), "{said}");
    }
}

fn write_private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Stores a message, which takes a connection.
async fn stores(daemon: &Daemon, endpoint: &str, words: &str) {
    let stored = async || (push(endpoint).await == 201).then_some(());
    eventually("the store works", PATIENCE, stored).await;
    daemon.logged(words).await;
}

#[tokio::test]
async fn a_password_that_changes_is_read_again() {
    if !installed() {
        return;
    }
    let postgres = Postgres::start().await;
    let url = postgres.database().await;
    let mut bed = Bed::new().await;
    let file = bed.path("store-url");
    write_private(&file, &url);
    bed.text("store.url_file", file.to_str().unwrap());
    bed.text("backend", "storage");
    let daemon = bed.start().await;
    let endpoint = bed.register("app").await;
    let administrator = connect(&url).await.unwrap();
    let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
               WHERE pid <> pg_backend_pid() AND application_name = 'unified-push'";
    let change = async |password: &str| {
        let alter = format!("ALTER USER {USER} PASSWORD '{password}'");
        administrator.batch_execute(&alter).await.unwrap();
        url.replace(PASSWORD, password)
    };

    // The file first or the password first: both are there when a connection is made.
    let changed = change("the-second-password").await;
    write_private(&file, &changed);
    administrator.execute(cut, &[]).await.unwrap();
    let taken = "store.url_file holds another one, which it takes";
    stores(&daemon, &endpoint, taken).await;
    let log = daemon.log();
    assert_eq!(log.matches(taken).count(), 1, "{log}");

    // A reload: a password that PostgreSQL refuses changes nothing, the right one counts at once.
    write_private(&file, &url.replace(PASSWORD, "a-wrong-password"));
    bed.config.file();
    daemon.signal(Signal::HUP);
    daemon
        .logged("not reloaded; the previous configuration stays in effect")
        .await;
    daemon.logged("does not let unified-push in").await;
    let changed = change("the-third-password").await;
    write_private(&file, &changed);
    daemon.signal(Signal::HUP);
    daemon.logged("INFO reloaded").await;
    administrator.execute(cut, &[]).await.unwrap();
    stores(&daemon, &endpoint, "INFO reloaded").await;
    // Once more if a connection was made before the reload.
    let log = daemon.log();
    assert!((1..=2).contains(&log.matches(taken).count()), "{log}");

    // Another database takes a restart.
    write_private(&file, &changed.replace("/push", "/another"));
    daemon.signal(Signal::HUP);
    let restart = "store.url has a new value, which takes effect with a restart";
    daemon.logged(restart).await;
    assert_eq!(push(&endpoint).await, 201);
    let log = daemon.log();
    for password in [
        PASSWORD,
        "the-second-password",
        "the-third-password",
        "a-wrong-password",
    ] {
        assert!(!log.contains(password), "{log}");
    }
    daemon.stop().await;
}
