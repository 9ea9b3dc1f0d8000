//! `registrations`: list and revoke, while the daemon runs.

use std::io;

use testbed::{
    Bed, PATIENCE, Process,
    bed::{BACKENDS, OWNER, push},
    eventually,
};

#[tokio::test]
async fn accounts_are_listed_with_their_counts() {
    let mut bed = Bed::new().await;
    bed.text("backend", "storage");
    let _daemon = bed.start().await;
    let listed = async || bed.run(&["registrations", "list"]).await.with(0);
    let heading = listed().await;
    assert_eq!(heading.lines().count(), 1, "{heading}");
    let endpoint = bed.register("one").await;
    bed.register("two").await;
    assert_eq!(bed.register("one").await, endpoint, "renewed");

    let list = listed().await;
    let rows: Vec<Vec<&str>> = list
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().collect())
        .collect();
    let [row] = &rows[..] else { panic!("{list}") };
    let [count, registered, expires, owner] = row[..] else {
        panic!("{list}")
    };
    assert_eq!((count, owner), ("2", OWNER), "{list}");
    assert!(registered < expires && expires.ends_with('Z'), "{list}");
    assert!(!list.contains(endpoint.rsplit('/').next().unwrap()));

    bed.run(&["registrations", "revoke", OWNER]).await.with(0);
    assert_eq!(listed().await, heading);
}

#[tokio::test]
async fn whether_an_account_may_register_is_told_with_the_rule() {
    let mut bed = Bed::new().await;
    bed.text("acl", "*.example.net, juliet@example.org");
    let test = async |jid: &str, code| bed.run(&["registrations", "test", jid]).await.with(code);
    let told = test("romeo@chat.example.net/orchard", 0).await;
    let expected = "romeo@chat.example.net may register: \"*.example.net\" in `acl` lets it in\n";
    assert_eq!(told, expected);
    let told = test("juliet@example.org", 0).await;
    assert!(told.contains("\"juliet@example.org\" in `acl`"), "{told}");
    let told = test("romeo@example.net", 1).await;
    let expected = "romeo@example.net may not register: nothing in `acl` = [\"*.example.net\", \
                    \"juliet@example.org\"] lets it in\n";
    assert_eq!(told, expected);
    test("not a jid@", 1).await;
}

#[tokio::test]
async fn a_list_that_nobody_reads_to_its_end_is_no_fault() {
    let bed = Bed::new().await;
    bed.start().await.stop().await;
    for listed in ["registrations", "queue"] {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let mut command = bed.command(&[listed, "list"]);
        command.stdout(writer);
        let log = bed.path(&format!("{listed}.log"));
        let mut list = Process::start_with(&mut command, &log).unwrap();
        assert_eq!(list.exit(PATIENCE).await.code(), Some(0), "{}", list.log());
        assert_eq!(list.log(), "");
    }
}

#[tokio::test]
async fn a_revoked_account_gets_404_and_may_register_anew() {
    for backend in BACKENDS {
        let mut bed = Bed::new().await;
        bed.text("backend", backend);
        let daemon = bed.start().await;
        let old = bed.register("app").await;
        assert_eq!(push(&old).await, 201);

        let said = bed.run(&["registrations", "revoke", OWNER]).await.with(0);
        assert!(said.contains(OWNER), "{said}");
        let dead = async || (push(&old).await == 404).then_some(());
        eventually("404", PATIENCE, dead).await;
        let new = bed.register("app").await;
        assert_ne!(old, new, "{backend}");
        assert_eq!(
            (push(&old).await, push(&new).await),
            (404, 201),
            "{backend}"
        );

        daemon.stop().await;
        let _daemon = bed.start().await;
        assert_eq!(
            (push(&old).await, push(&new).await),
            (404, 201),
            "{backend}"
        );
    }
}

#[tokio::test]
async fn other_accounts_are_left_alone() {
    let bed = Bed::new().await;
    let daemon = bed.start().await;
    let endpoint = bed.register("app").await;
    bed.run(&["registrations", "revoke", "romeo@example.org"])
        .await
        .with(0);
    daemon.stop().await;
    let _daemon = bed.start().await;
    assert_eq!(push(&endpoint).await, 201);
}

#[tokio::test]
async fn malformed_names_are_refused_with_the_form() {
    let bed = Bed::new().await;
    bed.start().await.stop().await;
    for wrong in ["@", "juliet@example.org/phone", "example.org"] {
        for command in [["registrations", "revoke"], ["queue", "drop"]] {
            let said = bed.run(&[&command[..], &[wrong]].concat()).await.with(1);
            assert!(said.contains("juliet@example.org"), "{said}");
        }
    }
    for (wrong, form) in [
        ("nonsense", "not a key id"),
        (
            "AAAAAAAAAAA",
            "no endpoint was issued under key AAAAAAAAAAA",
        ),
    ] {
        let forget = ["registrations", "forget-key", wrong];
        let said = bed.run(&forget).await.with(1);
        assert!(said.contains(form), "{said}");
    }
}

#[tokio::test]
async fn nothing_is_made_where_no_daemon_ever_ran() {
    let bed = Bed::new().await;
    for arguments in [
        &["registrations", "list"][..],
        &["registrations", "revoke", OWNER],
        &["registrations", "forget-key", "AAAAAAAAAAA"],
        &["queue", "list"],
        &["queue", "drop", OWNER],
    ] {
        let said = bed.run(arguments).await.with(1);
        assert!(said.contains("`state_dir`"), "{said}");
        assert!(!bed.state_dir().exists());
    }
}
