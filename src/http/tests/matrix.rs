//! The push gateway for Matrix.

use serde_json::{Value, json};
use tokio::time::Instant;

use super::*;
use crate::{http::late::LATE, metrics::PushResult};

const PATH: &str = "/_matrix/push/v1/notify";

fn endpoint(token: &str) -> String {
    format!("https://up.example.org/base/push/{token}")
}

fn devices(pushkeys: &[&str]) -> Value {
    let device = |pushkey| json!({"app_id": "im.vector", "pushkey": pushkey, "pushkey_ts": 1});
    pushkeys.iter().map(device).collect()
}

/// What Synapse sends of an event, as most apps want it.
fn event(pushkeys: &[&str]) -> Value {
    json!({"notification": {
        "counts": {"unread": 2},
        "devices": devices(pushkeys),
        "event_id": "$event",
        "prio": "high",
        "room_id": "!room:example.org",
    }})
}

/// What Synapse sends when a room was read elsewhere.
fn count_update(pushkeys: &[&str]) -> Value {
    json!({"notification": {
        "counts": {},
        "devices": devices(pushkeys),
        "id": "",
        "sender": "",
        "type": null,
    }})
}

impl Fixture {
    async fn notify(&self, body: &Value) -> Answer {
        let headers = [("Content-Type", "application/json")];
        self.ask("POST", PATH, &headers, &body.to_string()).await
    }

    /// The status, and the body as JSON, which every answer has.
    async fn verdict(&self, body: &Value) -> (u16, Value) {
        json_of(&self.notify(body).await)
    }
}

fn json_of(answer: &Answer) -> (u16, Value) {
    assert_eq!(answer.header("content-type"), Some("application/json"));
    (answer.status, serde_json::from_str(&answer.body).unwrap())
}

fn rejected(pushkeys: &[&str]) -> (u16, Value) {
    (200, json!({"rejected": pushkeys}))
}

#[tokio::test]
async fn an_app_finds_the_gateway_at_the_root_whatever_path_endpoints_have() {
    for url in ["https://up.example.org", "https://up.example.org/base"] {
        let fixture = Fixture::with(|public| public.public_url = url.parse().unwrap());
        for path in [PATH.to_owned(), format!("{PATH}?x=1")] {
            let answer = fixture.ask("GET", &path, &[], "").await;
            let found = json!({"unifiedpush": {"gateway": "matrix"}});
            assert_eq!(json_of(&answer), (200, found));
        }
        assert_eq!(fixture.ask("HEAD", PATH, &[], "").await.status, 200);
        let refused = fixture.ask("PUT", PATH, &[], "{}").await;
        assert_eq!(refused.status, 405);
        let answer = fixture.verdict(&event(&[&endpoint("good")])).await;
        assert_eq!(answer, rejected(&[]));
    }
    // Nobody enters this on purpose, and still the daemon starts.
    let odd = format!("https://up.example.org{PATH}");
    let odd = Fixture::with(|public| public.public_url = odd.parse().unwrap());
    assert_eq!(odd.ask("GET", PATH, &[], "").await.status, 200);
}

#[tokio::test]
async fn an_event_reaches_the_app_without_the_devices() {
    let fixture = Fixture::new();
    assert_eq!(
        fixture.verdict(&event(&[&endpoint("good")])).await,
        rejected(&[])
    );
    let [taken] = &fixture.fake.taken()[..] else {
        panic!("one message")
    };
    assert_eq!((&*taken.token, taken.ttl), ("good", None));
    assert_eq!(taken.urgency, Urgency::High);
    let mut expected = event(&[]);
    expected["notification"]
        .as_object_mut()
        .unwrap()
        .remove("devices");
    let body: Value = serde_json::from_slice(&taken.body).unwrap();
    assert_eq!(body, expected);
}

#[tokio::test]
async fn prio_is_the_urgency() {
    let fixture = Fixture::new();
    for (prio, urgency) in [
        (json!("high"), Urgency::High),
        (json!("low"), Urgency::Low),
        (Value::Null, Urgency::High),
        (json!("odd"), Urgency::High),
    ] {
        let mut event = event(&[&endpoint("good")]);
        event["notification"]["prio"] = prio.clone();
        fixture.notify(&event).await;
        assert_eq!(fixture.fake.taken()[0].urgency, urgency, "{prio}");
    }
}

#[tokio::test]
async fn of_counts_only_the_newest_waits_and_of_events_each() {
    let fixture = Fixture::new();
    let taken = async |mut body: Value, event: Option<&str>| {
        if let Some(event) = event {
            body["notification"]["event_id"] = json!(event);
        }
        fixture.notify(&body).await;
        let taken = fixture.fake.taken().remove(0);
        (taken.topic.unwrap(), taken.urgency)
    };
    let key = endpoint("good");
    let (counts, urgency) = taken(count_update(&[&key]), None).await;
    assert_eq!(urgency, Urgency::Low);
    assert_eq!(taken(count_update(&[&key]), Some("")).await.0, counts);
    let (first, _) = taken(event(&[&key]), Some("$first")).await;
    let (second, _) = taken(event(&[&key]), Some("$second")).await;
    let (again, _) = taken(event(&[&key]), Some("$first")).await;
    assert!(first == again && first != second && first != counts);
    assert_eq!(first.as_str().len(), 32);
}

#[tokio::test]
async fn what_is_foreign_or_dead_is_rejected_as_it_was_sent() {
    let fixture = Fixture::new();
    let [good, gone, revoked, bad] = ["good", "Gone", "Revoked", "BadToken?up=1#x"].map(endpoint);
    let odd = "https://other.example/\u{fc}\"\\/\u{0}";
    let keys = [
        "https://other.example/base/push/good",
        &gone,
        &good,
        &revoked,
        odd,
        "",
        "not a URL",
        "https://up.example.org@other.example/push/good",
        "http://127.0.0.1:1/push/good",
        &bad,
    ];
    let expected: Vec<_> = keys.into_iter().filter(|key| *key != good).collect();
    let answer = fixture.verdict(&event(&keys)).await;
    assert_eq!(answer, rejected(&expected));
    for (result, count) in [
        (PushResult::Foreign, 6),
        (PushResult::Gone, 1),
        (PushResult::Revoked, 1),
        (PushResult::BadToken, 1),
        (PushResult::Acknowledged, 1),
    ] {
        assert_eq!(fixture.metrics.pushes.get(result), count, "{result:?}");
    }
    let asked: Vec<_> = fixture.fake.taken().into_iter().map(|t| t.token).collect();
    assert_eq!(asked, ["Gone", "good", "Revoked", "BadToken"]);
}

/// The host decides, and not how the URL is written. Where a token stands in a path does not matter.
#[tokio::test]
async fn a_pushkey_is_our_own_by_its_host() {
    let fixture = Fixture::new();
    let token = format!("{:_<43}", "good");
    for key in [
        format!("https://up.example.org/base/push/{token}"),
        format!("HTTPS://UP.Example.ORG:443/{token}/?up=1"),
        format!("http://up.example.org:8443/base%2Fpush%2F{token}"),
        format!("https://old.example/push/{token}"),
    ] {
        let body = event(&[&key]).to_string();
        let host = [("Host", "old.example:443")];
        let answer = fixture.ask("POST", PATH, &host, &body).await;
        assert_eq!(json_of(&answer), rejected(&[]), "{key}");
        assert_eq!(fixture.fake.taken()[0].token, token, "{key}");
    }
}

#[tokio::test]
async fn every_outcome_ends_a_pusher_or_is_repeated_as_it_should() {
    for outcome in every_outcome() {
        let fixture = Fixture::new();
        let directly = Fixture::new().post(&variant(&outcome)).await;
        let key = endpoint(&variant(&outcome));
        let answer = fixture.notify(&event(&[&key])).await;
        let (status, body) = json_of(&answer);
        match directly.status {
            201 => assert_eq!((status, body), rejected(&[]), "{outcome:?}"),
            401 | 404 => assert_eq!((status, body), rejected(&[&key]), "{outcome:?}"),
            503 => {
                assert_eq!((status, &body["errcode"]), (503, &json!("M_UNKNOWN")));
                assert!(directly.header("retry-after").is_some());
                let pause = answer.header("retry-after");
                assert_eq!(pause, directly.header("retry-after"), "{outcome:?}");
            }
            other => panic!("{outcome:?}: {other}"),
        }
    }
}

#[tokio::test]
async fn what_one_device_waits_for_is_repeated_for_all() {
    let fixture = Fixture::new();
    let [good, down, gone] = ["good", "LinkDown", "Gone"].map(endpoint);
    for keys in [[&good, &down, &gone], [&gone, &good, &down]] {
        let keys = keys.map(String::as_str);
        let (status, body) = fixture.verdict(&event(&keys)).await;
        assert_eq!((status, &body["errcode"]), (503, &json!("M_UNKNOWN")));
    }
    assert_eq!(fixture.fake.taken().len(), 6, "each was tried each time");
}

#[tokio::test]
async fn several_devices_are_served_at_once_and_not_all() {
    let fixture = Fixture::new();
    let keys: Vec<_> = (0..20)
        .map(|n| endpoint(&format!("wait{}", "_".repeat(n))))
        .collect();
    let keys: Vec<_> = keys.iter().map(String::as_str).collect();
    let body = event(&keys);
    let opened = async {
        fixture.fake.entered.acquire_many(8).await.unwrap().forget();
        assert_eq!(fixture.fake.taken().len(), 8);
        fixture.fake.gate.add_permits(20);
    };
    let (answer, ()) = tokio::join!(fixture.verdict(&body), opened);
    assert_eq!(answer, rejected(&[]));
}

#[tokio::test]
async fn guesses_are_slowed_down_and_dead_endpoints_are_not() {
    let fixture = Fixture::new();
    let bad = endpoint("BadToken");
    for _ in 0..3 {
        assert_eq!(fixture.verdict(&event(&[&bad])).await, rejected(&[&bad]));
    }
    let answer = fixture.notify(&event(&[&bad])).await;
    let (status, body) = json_of(&answer);
    assert_eq!(
        (status, &body["errcode"]),
        (429, &json!("M_LIMIT_EXCEEDED"))
    );
    assert_eq!(answer.header("retry-after"), Some("30"));
    assert_eq!(fixture.metrics.pushes.get(PushResult::Guessing), 1);
    let gone = endpoint("Gone");
    assert_eq!(fixture.verdict(&event(&[&gone])).await, rejected(&[&gone]));
    assert_eq!(
        fixture.verdict(&event(&[&endpoint("good")])).await,
        rejected(&[])
    );
}

#[tokio::test(start_paused = true)]
async fn an_account_that_is_full_is_waited_for_once_and_not_for_each_device() {
    let fixture = Fixture::new();
    let key = endpoint("AccountFull");
    let begun = Instant::now();
    let answer = fixture.notify(&event(&[key.as_str(); 20])).await;
    assert_eq!(answer.status, 503);
    let took = begun.elapsed();
    assert!(LATE <= took && took < 2 * LATE, "{took:?}");
}

#[tokio::test]
async fn what_is_too_much_for_a_push_loses_the_content_first() {
    let fixture = Fixture::new();
    let sent = async |fields: Value| {
        let mut body = event(&[&endpoint("good")]);
        let notification = body["notification"].as_object_mut().unwrap();
        notification.extend(fields.as_object().unwrap().clone());
        assert_eq!(fixture.verdict(&body).await, rejected(&[]));
        let body = fixture.fake.taken().remove(0).body;
        assert!(body.len() <= 4096);
        let whole: Value = serde_json::from_slice(&body).unwrap();
        (body.len(), whole["notification"].clone())
    };
    let content = |len| json!({"content": {"body": "x".repeat(len)}, "room_name": "a room"});
    let (least, _) = sent(content(0)).await;
    let (len, whole) = sent(content(4096 - least)).await;
    assert_eq!((len, whole["content"].is_object()), (4096, true));
    let (_, without) = sent(content(4097 - least)).await;
    assert!(without["content"].is_null());
    assert_eq!(without["room_name"], "a room");

    let (_, least) = sent(json!({"a": "x".repeat(5000), "room_name": "y".repeat(5000)})).await;
    for field in ["event_id", "room_id", "counts", "prio"] {
        assert!(!least[field].is_null(), "{field}");
    }
    let (_, nothing) = sent(json!({"event_id": "x".repeat(5000)})).await;
    assert_eq!(nothing["room_id"], "!room:example.org");
    // An event's content may have 64 kB.
    let (_, large) = sent(content(200_000)).await;
    assert_eq!(large["event_id"], "$event");
}

#[tokio::test]
async fn numbers_and_texts_arrive_as_they_were_written() {
    let fixture = Fixture::new();
    let key = endpoint("good");
    let body = format!(
        r#"{{"notification":{{"event_id":"$x","counts":{{"unread":1e400}},"a\"b":"\u00fc\/",
            "content":{{"n":123456789012345678901234567890}},
            "devices":[{{"pushkey":"{key}"}}]}},"more":1}}"#
    );
    assert_eq!(fixture.ask("POST", PATH, &[], &body).await.status, 200);
    let expected = r#"{"notification":{"event_id":"$x","counts":{"unread":1e400},"a\"b":"\u00fc\/","content":{"n":123456789012345678901234567890}}}"#;
    let taken = String::from_utf8(fixture.fake.taken().remove(0).body).unwrap();
    assert_eq!(taken, expected);
}

#[tokio::test]
async fn a_malformed_request_is_told_what_is_wrong() {
    let fixture = Fixture::new();
    let nested = format!(r#"{{"notification":{{"a":{}"#, "[".repeat(100_000));
    let cases = [
        ("", "M_NOT_JSON"),
        ("hello", "M_NOT_JSON"),
        (r#"{"notification":{"devices":["#, "M_NOT_JSON"),
        (r#"{"notification":{"devices":[]}} x"#, "M_NOT_JSON"),
        (&nested, "M_NOT_JSON"),
        ("[]", "M_BAD_JSON"),
        ("{}", "M_BAD_JSON"),
        (r#"{"notification":1}"#, "M_BAD_JSON"),
        (r#"{"notification":{}}"#, "M_BAD_JSON"),
        (r#"{"notification":{"devices":{}}}"#, "M_BAD_JSON"),
        (r#"{"notification":{"devices":[{}]}}"#, "M_BAD_JSON"),
        (
            r#"{"notification":{"devices":[{"pushkey":1}]}}"#,
            "M_BAD_JSON",
        ),
    ];
    for (body, code) in cases {
        let answer = fixture.ask("POST", PATH, &[], body).await;
        let (status, told) = json_of(&answer);
        let shown = &body[..body.len().min(60)];
        assert_eq!((status, &told["errcode"]), (400, &json!(code)), "{shown}");
    }
    let counted = fixture.metrics.pushes.get(PushResult::BadRequest);
    assert_eq!(counted, cases.len() as u64);
    assert_eq!(fixture.fake.taken(), []);
    let nobody = fixture.verdict(&event(&[])).await;
    assert_eq!(nobody, rejected(&[]));
}

#[tokio::test]
async fn too_much_is_refused_whole() {
    let fixture = Fixture::new();
    let key = endpoint("good");
    let mut large = event(&[&key]);
    large["notification"]["content"] = "x".repeat(1 << 20).into();
    let many = event(&vec![key.as_str(); 1000]);
    for body in [large, many] {
        let answer = fixture.notify(&body).await;
        let (status, told) = json_of(&answer);
        assert_eq!((status, &told["errcode"]), (413, &json!("M_TOO_LARGE")));
        assert_eq!(answer.header("connection"), Some("close"));
    }
    assert_eq!(fixture.metrics.pushes.get(PushResult::TooLarge), 2);
    assert_eq!(fixture.fake.taken(), []);
    let most = event(&vec![key.as_str(); 100]);
    assert_eq!(fixture.verdict(&most).await, rejected(&[]));
    assert_eq!(fixture.fake.taken().len(), 100);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_asked_for_again() {
    let fixture = Fixture::with(|public| public.body_timeout = SHORT);
    let server = Server::start(&fixture, settings(&fixture)).await;
    for framing in ["Content-Length: 10", "Transfer-Encoding: chunked"] {
        let request = format!("POST {PATH} HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n");
        let answer = server.exchange(request.as_bytes()).await;
        assert_eq!(statuses(&answer), ["503"], "{answer}");
        assert!(answer.contains(r#"{"errcode":"M_UNKNOWN""#), "{answer}");
    }
    assert_eq!(fixture.metrics.pushes.get(PushResult::Abandoned), 2);
}

#[tokio::test]
async fn a_defect_passes_with_the_next_release() {
    let fixture = Fixture::new();
    let answer = fixture.notify(&event(&[&endpoint("panic")])).await;
    assert_eq!(answer.status, 500);
    assert_eq!(fixture.metrics.pushes.get(PushResult::Abandoned), 1);
}
