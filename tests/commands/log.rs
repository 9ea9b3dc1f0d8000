//! The log's two formats, and what is in it.

use serde_json::Value;
use testbed::{
    Bed,
    bed::{COMPONENT_SECRET, push, secret_of},
};

/// A daemon's life, with a push and a registration that the ACL refuses.
async fn lived(bed: &Bed) -> String {
    let daemon = bed.start().await;
    assert_eq!(push(&bed.register("app").await).await, 201);
    let log = daemon.log_path().to_owned();
    daemon.stop().await;
    std::fs::read_to_string(log).unwrap()
}

#[tokio::test]
async fn text_has_a_line_for_each_step() {
    let bed = Bed::new().await;
    let log = lived(&bed).await;
    for step in [
        "unified-push starts version=",
        "WARN http.public_url: does not use https",
        "listening http=127.0.0.1:",
        "ready",
        "connected to the XMPP server",
        "stopping; send a second signal to end at once",
        "stopped",
    ] {
        assert!(log.contains(step), "{step} in {log}");
    }
}

#[tokio::test]
async fn json_is_one_object_a_line() {
    let mut bed = Bed::new().await;
    bed.text("log.format", "json");
    let log = lived(&bed).await;
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")))
        .collect();
    let has = |level: &str, message: &str| {
        lines.iter().any(|line| {
            let text = line["fields"]["message"].as_str().expect("a message");
            line["level"] == level && text.starts_with(message) && line["timestamp"].is_string()
        })
    };
    assert!(has("INFO", "ready"), "{log}");
    assert!(has("WARN", "http.public_url: does not use https"), "{log}");
}

#[tokio::test]
async fn a_start_that_fails_is_in_the_log_too() {
    let mut bed = Bed::new().await;
    bed.text("log.format", "json");
    bed.text("state_dir", "/proc/unified-push");
    let ended = bed.run(&["serve"]).await;
    let last = ended.stderr.lines().last().expect("a line");
    let last: Value = serde_json::from_str(last).unwrap();
    assert_eq!((ended.code, &last["level"]), (Some(1), &"ERROR".into()));
    let text = last["fields"]["message"].as_str().unwrap();
    assert!(text.starts_with("not started: "), "{text}");
}

#[tokio::test]
async fn the_level_is_kept() {
    let mut bed = Bed::new().await;
    bed.text("log.level", "error");
    assert_eq!(lived(&bed).await, "");
}

/// Here where no XMPP server has to be installed; the tests against real ones look for more.
#[tokio::test]
async fn the_finest_level_tells_no_secret() {
    let mut bed = Bed::new().await;
    bed.text("log.level", "trace");
    let daemon = bed.start().await;
    let endpoint = bed.register("app").await;
    push(&endpoint).await;
    push(&format!("{endpoint}x")).await;
    let log = daemon.log_path().to_owned();
    daemon.stop().await;
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains("DEBUG"), "{log}");
    let token = endpoint.rsplit('/').next().unwrap();
    for secret in [token, "a message", &secret_of('a'), COMPONENT_SECRET] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}
