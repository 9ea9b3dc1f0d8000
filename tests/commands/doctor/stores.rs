//! State directories that do not serve.

use std::fs;

use super::clinic::{PASS, clinic};

/// On a disk of its own, of this size and with these options.
fn disk(options: &str) -> String {
    format!("mkdir -p \"$STATE\"\nmount -t tmpfs -o size=64k,{options} none \"$STATE\"\n")
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_is_named() {
    let Some(mut clinic) = clinic().await else {
        return;
    };
    clinic.proxy(PASS).await;
    clinic.before = disk("ro");
    clinic.is_wrong("state_dir", "is read-only").await;
    clinic.before = disk("rw") + "head -c 100000 /dev/zero >\"$STATE/x\" 2>/dev/null || true\n";
    clinic.is_wrong("state_dir", "is full").await;
    clinic.before =
        "mkdir -p \"$STATE\"\nmount -t tmpfs -o size=300k,mode=700 none \"$STATE\"\n".to_owned();
    clinic.is_doubtful("state_dir", "0 MiB are free").await;
    clinic.before.clear();
    fs::remove_dir_all(clinic.bed.state_dir()).unwrap();
    let below = clinic.path("nowhere/state");
    clinic.bed.text("state_dir", below.to_str().unwrap());
    clinic.is_wrong("state_dir", "cannot be created").await;
    assert!(!clinic.path("nowhere").exists());
}

#[tokio::test]
async fn a_network_file_system_is_named() {
    let Some(mut clinic) = clinic().await else {
        return;
    };
    clinic.proxy(PASS).await;
    let mounts = clinic.path("mounts");
    let line = "90 27 0:50 / / rw,relatime shared:7 - nfs4 host:/export rw\n";
    fs::write(&mounts, line).unwrap();
    clinic.before = format!("mount --bind {} /proc/$$/mountinfo", mounts.display());
    let words = "is on a network file system (nfs4)";
    clinic.is_doubtful("configuration", words).await;
}

#[tokio::test]
async fn another_daemon_that_holds_the_store_is_named_and_keeps_it() {
    let Some(mut clinic) = clinic().await else {
        return;
    };
    clinic.proxy(PASS).await;
    let daemon = clinic.daemon().await;
    for option in ["admin.listen", "http.listen"] {
        let port = testbed::free_port();
        clinic.bed.text(option, &format!("127.0.0.1:{port}"));
    }
    // Its log-in is left alone, too.
    let losses = async || daemon.metric("unified_push_link_losses_total", "").await;
    clinic
        .is_wrong("state_dir", "is held by another daemon")
        .await;
    assert_eq!(losses().await, 0.0);
    daemon.stop().await;
}

#[tokio::test]
async fn a_database_that_is_none_is_named_and_untouched() {
    let Some(mut clinic) = clinic().await else {
        return;
    };
    clinic.proxy(PASS).await;
    clinic.daemon().await.stop().await;
    let database = clinic.bed.database();
    let newer = rusqlite::Connection::open(&database).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    newer.execute_batch("PRAGMA journal_mode = DELETE").unwrap();
    drop(newer);
    clinic
        .is_wrong("state_dir", "was written by a newer version")
        .await;
    let nonsense = [0x55; 8192];
    fs::write(&database, nonsense).unwrap();
    clinic.is_wrong("state_dir", "file is not a database").await;
    assert!(fs::read(&database).unwrap() == nonsense);
}
