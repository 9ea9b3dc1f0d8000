//! SIGHUP: what takes effect while the daemon goes on, what needs a restart, what is refused.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use rustix::process::Signal;
use testbed::{
    Bed, Behaviour, Daemon, PATIENCE,
    bed::{COMPONENT_SECRET, push, secret_of},
    eventually,
    http::{self, post},
};
use tokio::time::timeout;

use crate::metrics::counts;

/// What the log says of a reload that took effect.
const RELOADED: &str = "INFO reloaded";

/// How often a line stands in the log.
fn times(daemon: &Daemon, words: &str) -> usize {
    daemon.log().matches(words).count()
}

/// Has the daemon read the configuration as the bed has it now, and awaits what it says at the end.
async fn reload(bed: &Bed, daemon: &Daemon, end: &str) {
    let before = times(daemon, end);
    bed.config.file();
    daemon.signal(Signal::HUP);
    let said = async || (times(daemon, end) > before).then_some(());
    eventually(end, PATIENCE, said).await;
}

async fn registers(bed: &Bed) -> Result<String, String> {
    let answer = timeout(PATIENCE, bed.phone.register("another app")).await;
    let registered = answer.expect("an answer");
    registered
        .map(|registered| registered.endpoint)
        .map_err(|refused| refused.condition)
}

fn write_secret(path: &Path, secret: &str) {
    fs::write(path, secret).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[tokio::test]
async fn acl_level_and_limits_take_effect_at_once() {
    let mut bed = Bed::new().await;
    let daemon = bed.start().await;
    let endpoint = bed.register("app").await;
    assert!(!daemon.log().contains("DEBUG"), "{}", daemon.log());

    bed.text("acl", "elsewhere.example");
    bed.text("log.level", "debug");
    bed.text("limits.endpoint_rate", "1/d, burst 1");
    bed.value("http.require_ttl", true);
    reload(&bed, &daemon, RELOADED).await;
    assert_eq!(registers(&bed).await, Err("forbidden".to_owned()));
    daemon.logged("DEBUG").await;
    assert_eq!(post(&endpoint, &[], b"without a TTL").await.status, 400);
    assert_eq!(push(&endpoint).await, 201);
    assert_eq!(push(&endpoint).await, 503, "the second of the day");

    bed.text("acl", "example.org");
    bed.text("limits.endpoint_rate", "1/d, burst 100");
    reload(&bed, &daemon, RELOADED).await;
    assert!(registers(&bed).await.is_ok());
    assert_eq!(push(&endpoint).await, 201);
    daemon.stop().await;
}

#[tokio::test]
async fn delivery_settings_take_effect_at_once() {
    let mut bed = Bed::new().await;
    let daemon = bed.start().await;
    let endpoint = bed.register("app").await;
    bed.value("delivery.max_ttl", 10);
    bed.value("delivery.default_ttl", 5);
    bed.value("delivery.max_queued_per_jid", 1);
    reload(&bed, &daemon, RELOADED).await;
    let answer = post(&endpoint, &[], b"without a TTL").await;
    assert_eq!(answer.header("ttl"), Some("5"));

    bed.text("delivery.ack_timeout", "1ms");
    reload(&bed, &daemon, RELOADED).await;
    bed.phone.behave(Behaviour::Silent);
    let answer = http::push(&endpoint, b"a long TTL").await;
    assert_eq!((answer.status, answer.header("ttl")), (201, Some("10")));
    assert_eq!(push(&endpoint).await, 503, "one waits already");
    daemon.stop().await;
}

#[tokio::test]
async fn a_wrong_file_changes_nothing_and_each_problem_has_its_line() {
    let mut bed = Bed::new().await;
    let daemon = bed.start().await;
    let endpoint = bed.register("app").await;
    bed.text("acl", "elsewhere.example");
    bed.text("backend", "pasteo");
    bed.value("speed", 11);
    reload(&bed, &daemon, "not reloaded: the configuration is wrong").await;
    let log = daemon.log();
    for problem in ["backend = \"pasteo\" (", "speed ("] {
        let lines = log.lines().filter(|line| line.contains("ERROR"));
        assert_eq!(
            lines.filter(|line| line.contains(problem)).count(),
            1,
            "{log}"
        );
    }
    assert!(registers(&bed).await.is_ok());
    assert_eq!(push(&endpoint).await, 201);
    daemon.stop().await;
}

#[tokio::test]
async fn a_secret_without_which_endpoints_would_die_is_refused() {
    let mut bed = Bed::new().await;
    let daemon = bed.start().await;
    let endpoint = bed.register("app").await;
    bed.text("secret", &secret_of('b'));
    bed.text("acl", "elsewhere.example");
    reload(
        &bed,
        &daemon,
        "not reloaded; the previous configuration stays in effect",
    )
    .await;
    assert!(
        daemon
            .log()
            .contains("lacks the secret of endpoints that are still in use")
    );
    assert_eq!(push(&endpoint).await, 201);
    assert!(registers(&bed).await.is_ok());
    daemon.stop().await;
}

#[tokio::test]
async fn a_secret_is_rotated_and_given_up() {
    let mut bed = Bed::new().await;
    let [secret, previous] = ["secret", "previous"].map(|name| bed.path(name));
    write_secret(&secret, &secret_of('a'));
    write_secret(&previous, "");
    bed.config.unset("secret");
    bed.text("secret_file", secret.to_str().unwrap());
    bed.text("previous_secrets_file", previous.to_str().unwrap());
    let daemon = bed.start().await;
    let old = bed.register("app").await;

    // The configuration is the same: only the files are others.
    write_secret(&previous, &secret_of('a'));
    write_secret(&secret, &secret_of('b'));
    reload(&bed, &daemon, RELOADED).await;
    assert_eq!(push(&old).await, 201);
    let new = bed.register("app").await;
    let said = bed.run(&["inspect", &new]).await.with(0);
    let of_old = bed.run(&["inspect", &old]).await.with(0);
    let key = |said: &str| {
        said.lines()
            .find(|line| line.starts_with("key id:"))
            .map(str::to_owned)
    };
    assert!(
        key(&said).is_some() && key(&said) != key(&of_old),
        "{said}{of_old}"
    );
    assert_eq!((push(&old).await, push(&new).await), (201, 201));

    write_secret(&previous, "");
    let refused = "not reloaded; the previous configuration stays in effect";
    reload(&bed, &daemon, refused).await;
    assert_eq!(push(&old).await, 201);
    let id = key(&of_old).unwrap();
    let id = id.rsplit(' ').next().unwrap();
    bed.run(&["registrations", "forget-key", id]).await.with(0);
    reload(&bed, &daemon, RELOADED).await;
    assert_eq!((push(&old).await, push(&new).await), (404, 201));
    daemon.stop().await;
}

#[tokio::test]
async fn the_components_secret_counts_for_the_next_connection_which_comes_at_once() {
    let mut bed = Bed::new().await;
    let file = bed.path("component-secret");
    let right = COMPONENT_SECRET;
    write_secret(&file, right);
    bed.config.unset("component.secret");
    bed.text("component.secret_file", file.to_str().unwrap());
    write_secret(&file, "another");
    let daemon = bed.spawn(bed.config.serve());
    // After this, it would wait for half a minute.
    daemon.logged("no link to the XMPP server").await;
    write_secret(&file, right);
    reload(&bed, &daemon, RELOADED).await;
    daemon.link("up").await;

    write_secret(&file, "another");
    reload(&bed, &daemon, RELOADED).await;
    let endpoint = bed.register("app").await;
    assert_eq!(push(&endpoint).await, 201, "this connection lives on");
    daemon.stop().await;
}

#[tokio::test]
async fn what_needs_a_restart_is_named_and_left() {
    let mut bed = Bed::new().await;
    let daemon = bed.start().await;
    let endpoint = bed.register("app").await;
    let listen = bed.url("").replace("http://", "");
    bed.text("http.listen", "127.0.0.1:1");
    bed.text("log.format", "json");
    bed.value("delivery.max_ttl", 10);
    bed.value("delivery.default_ttl", 10);
    reload(&bed, &daemon, RELOADED).await;
    for option in ["http.listen", "log.format"] {
        let words = format!("{option} has a new value, which takes effect with a restart");
        assert_eq!(times(&daemon, &words), 1, "{}", daemon.log());
    }
    let answer = http::push(&endpoint, b"the rest is changed").await;
    assert_eq!((answer.status, answer.header("ttl")), (201, Some("10")));

    bed.text("http.listen", &listen);
    bed.text("log.format", "text");
    reload(&bed, &daemon, RELOADED).await;
    assert_eq!(
        times(&daemon, "takes effect with a restart"),
        2,
        "none more"
    );
    daemon.stop().await;
}

#[tokio::test]
async fn a_push_in_flight_notices_nothing() {
    let mut bed = Bed::new().await;
    bed.text("delivery.ack_timeout", "5s");
    let daemon = bed.start().await;
    let endpoint = bed.register("app").await;
    bed.phone.behave(Behaviour::Late(Duration::from_secs(2)));
    let waiting = tokio::spawn({
        let endpoint = endpoint.clone();
        async move { http::push(&endpoint, b"in flight").await }
    });
    assert_eq!(bed.arrived().await.payload, b"in flight");

    bed.text("delivery.ack_timeout", "1ms");
    bed.text("limits.in_flight_memory", "64KiB");
    bed.text("secret", &secret_of('b'));
    bed.text("previous_secrets", &secret_of('a'));
    reload(&bed, &daemon, RELOADED).await;
    assert!(!waiting.is_finished(), "it waits for its phone still");
    let answer = waiting.await.unwrap();
    assert_eq!(answer.status, 201);
    let acknowledged = "pushes_total{result=\"acknowledged\"}";
    counts(&daemon, &[(acknowledged, 1.0)]).await;
    daemon.stop().await;
}
