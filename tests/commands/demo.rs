//! `demo`: a push is seen to arrive without an XMPP server.

use std::{fs, process::Command};

use rustix::process::Signal;
use testbed::{PATIENCE, Process, bed::names_in, eventually, http, program};

#[tokio::test]
async fn it_shows_pushes_arrive_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let temporary = dir.path().join("tmp");
    fs::create_dir(&temporary).unwrap();
    let mut command = Command::new(program());
    command.env_clear().arg("demo").env("TMPDIR", &temporary);
    // Nothing that it does is for a proxy.
    for proxy in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env(proxy, "http://127.0.0.1:1");
    }
    let mut demo = Process::start(&mut command, &dir.path().join("log")).unwrap();
    let said = async |text: &str| {
        let text = format!("{text}\n");
        eventually(&text, PATIENCE, async || {
            demo.log().contains(&text).then_some(())
        })
        .await;
    };

    said("push arrived: Hello from the demo").await;
    said("its sender was answered 201 Created").await;
    let log = demo.log();
    let line = |text: &str| {
        let found = log.lines().map(str::trim).find(|line| line.contains(text));
        found
            .unwrap_or_else(|| panic!("{text} in {log}"))
            .to_owned()
    };
    let endpoint = line("http://127.0.0.1:");
    assert!(line("curl ").ends_with(&format!(" {endpoint}")), "{log}");
    assert_eq!(names_in(&temporary).len(), 1, "its state directory");

    assert_eq!(http::push(&endpoint, b"from the test").await.status, 201);
    said("push arrived: from the test").await;

    demo.signal(Signal::INT);
    assert_eq!(demo.exit(PATIENCE).await.code(), Some(0), "{}", demo.log());
    assert_eq!(names_in(&temporary), [""; 0], "its state directory is gone");
}
