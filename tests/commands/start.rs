//! Starts that are refused: with exit code 1, what is wrong, and what to do.

use std::{fs, net::TcpListener, path::Path};

use testbed::{
    Bed,
    bed::{names_in, push},
};

#[tokio::test]
async fn an_address_in_use_is_named_with_its_option() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for option in ["admin.listen", "http.listen"] {
        let mut bed = Bed::new().await;
        bed.text(option, &address);
        let said = bed.run(&["serve"]).await.with(1);
        let expected = format!("{option}: cannot listen on {address}: ");
        assert!(said.contains(&expected), "{said}");
    }
}

#[tokio::test]
async fn a_state_directory_that_cannot_be_used_is_named() {
    let mut bed = Bed::new().await;
    let file = bed.path("file");
    fs::write(&file, "precious").unwrap();
    let file = file.to_str().unwrap();
    for wrong in [
        file,
        &format!("{file}/state"),
        "/proc/unified-push",
        "/proc/1",
    ] {
        bed.text("state_dir", wrong);
        let said = bed.run(&["serve"]).await.with(1);
        assert!(
            said.contains(wrong) && said.contains("`state_dir`"),
            "{said}"
        );
    }
    assert_eq!(fs::read_to_string(file).unwrap(), "precious");
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused_untouched() {
    let bed = Bed::new().await;
    bed.start().await.stop().await;
    let database = rusqlite::Connection::open(bed.database()).unwrap();
    database.pragma_update(None, "user_version", 999).unwrap();
    // Were it opened as ours, this would be changed.
    database
        .execute_batch("PRAGMA journal_mode = DELETE")
        .unwrap();
    database.close().unwrap();
    refused_untouched(&bed, &["newer version", "schema 999", "restore a backup"]).await;
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_untouched() {
    let bed = Bed::new().await;
    bed.start().await.stop().await;
    fs::write(bed.database(), [0x55; 8192]).unwrap();
    refused_untouched(&bed, &["unified-push.db", "backup"]).await;
}

async fn refused_untouched(bed: &Bed, parts: &[&str]) {
    let state = || -> Vec<(String, Vec<u8>)> {
        let content = |name: &String| fs::read(bed.state_dir().join(name)).unwrap();
        let names = names_in(&bed.state_dir()).into_iter();
        names.map(|name| (name.clone(), content(&name))).collect()
    };
    let before = state();
    for arguments in [
        &["serve"][..],
        &["registrations", "list"],
        &["inspect", "token"],
    ] {
        let said = bed.run(arguments).await.with(1);
        for part in parts {
            assert!(said.contains(part), "{part} in {said}");
        }
        assert!(state() == before, "{arguments:?} changed the state");
    }
}

#[tokio::test]
async fn a_second_daemon_on_the_same_state_is_refused() {
    let bed = Bed::new().await;
    let daemon = bed.start().await;
    let endpoint = bed.register("app").await;
    let mut second = bed.command(&["serve"]);
    second.env("UNIFIED_PUSH_HTTP__LISTEN", "127.0.0.1:0");
    second.env("UNIFIED_PUSH_ADMIN__LISTEN", "127.0.0.1:0");
    let said = bed.run_with(second, b"").await.with(1);
    let state_dir = bed.state_dir();
    assert!(said.contains(state_dir.to_str().unwrap()), "{said}");
    assert!(said.contains("another daemon"), "{said}");
    assert_eq!(push(&endpoint).await, 201);

    // What is left of a daemon that was killed is no obstacle.
    daemon.signal(rustix::process::Signal::KILL);
    assert_eq!(daemon.exit().await, None);
    let _daemon = bed.start().await;
    assert_eq!(push(&endpoint).await, 201);
    assert!(Path::new(&state_dir).is_dir());
}
