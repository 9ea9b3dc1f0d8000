//! The message resource: whether a message waits, and taking it back.

use super::*;

fn resource(id: MessageId) -> String {
    format!("/base/message/{id}")
}

/// Ids that no message has, and what can be no id.
fn nothing_there() -> [String; 4] {
    let other = resource(MessageId::from_bytes([9; 16]));
    let short = "/base/message/BwcH".to_owned();
    let encoded = format!("/base/message/%42{}", &MESSAGE.to_string()[1..]);
    let padded = format!("{}==", resource(MESSAGE));
    [other, short, encoded, padded]
}

#[tokio::test]
async fn it_is_there_while_the_message_waits() {
    let fixture = Fixture::new();
    let path = resource(MESSAGE);
    assert!(LOCATION.ends_with(&path));
    let waits = fixture.ask("GET", &path, &[], "").await;
    assert_eq!(waits.status, 200);
    assert_eq!(waits.header("access-control-allow-origin"), Some("*"));
    let head = fixture.ask("HEAD", &path, &[], "").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));

    assert_eq!(fixture.ask("DELETE", &path, &[], "").await.status, 204);
    assert_eq!(fixture.ask("GET", &path, &[], "").await.status, 404);
    assert_eq!(fixture.ask("HEAD", &path, &[], "").await.status, 404);
}

#[tokio::test]
async fn it_tells_nothing_about_what_is_not_there() {
    let fixture = Fixture::with(|public| {
        let many = Limiter::new("1/h, burst 100".parse().unwrap());
        public.guesses = Guesses::new(Arc::new(many));
    });
    let path = resource(MESSAGE);
    let first = fixture.ask("DELETE", &path, &[], "").await;
    assert_eq!((first.status, first.body.as_str()), (204, ""));
    assert_eq!(first, fixture.ask("DELETE", &path, &[], "").await);
    let gone = fixture.ask("GET", &path, &[], "").await;
    for path in nothing_there() {
        assert_eq!(gone, fixture.ask("GET", &path, &[], "").await, "{path}");
        assert_eq!(first, fixture.ask("DELETE", &path, &[], "").await, "{path}");
    }
}

/// A 404 would say that the phone has it.
#[tokio::test]
async fn a_store_that_fails_is_a_503() {
    let fixture = Fixture::new();
    for method in ["GET", "HEAD", "DELETE"] {
        let answer = fixture.ask(method, &resource(UNKNOWABLE), &[], "").await;
        assert_eq!(answer.status, 503, "{method}");
        assert_eq!(answer.header("retry-after"), Some("30"), "{method}");
    }
}

#[tokio::test]
async fn other_methods_are_refused_with_what_is_allowed() {
    let fixture = Fixture::new();
    for method in ["POST", "PUT", "PATCH"] {
        let answer = fixture.ask(method, &resource(MESSAGE), &[], "x").await;
        assert_eq!(answer.status, 405, "{method}");
        assert_eq!(answer.header("allow"), Some("DELETE, GET, HEAD, OPTIONS"));
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_for_made_up_messages_is_refused() {
    for method in ["GET", "HEAD", "DELETE"] {
        let fixture = Fixture::new();
        let [unknown, ..] = nothing_there();
        for _ in 0..3 {
            let status = fixture.ask(method, &unknown, &[], "").await.status;
            assert!([404, 204].contains(&status), "{method}: {status}");
        }
        let began = tokio::time::Instant::now();
        let refused = fixture.ask(method, &unknown, &[], "").await;
        assert_eq!(refused.status, 429, "{method}");
        assert_eq!(refused.header("connection"), Some("close"));
        assert!(began.elapsed() >= Duration::from_secs(1), "at once");
        // Who names a message that waits may go on.
        let waits = fixture.ask("GET", &resource(MESSAGE), &[], "").await;
        assert_eq!(waits.status, 200);
    }
}
