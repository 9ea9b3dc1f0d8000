//! What must never be written down: looked for in everything that the daemon wrote, at the
//! chattiest level, after every kind of registration and push.

use std::{process::Command, rc::Rc};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use testbed::{
    Behaviour, Phone, SECRET,
    app::NS,
    http::{get, post},
    server::COMPONENT_SECRET,
    tests,
};

use crate::{
    Test,
    bed::Bed,
    line::{Line, is_over, location},
};

const PROMTOOL: &str = "/usr/bin/promtool";

pub fn on_both() -> Vec<Test> {
    tests![
        nothing_secret_is_written_with_back_end_paseto,
        nothing_secret_is_written_with_back_end_jwt,
        nothing_secret_is_written_with_back_end_storage,
        jids_are_for_the_debug_level,
    ]
}

pub fn on_prosody() -> Vec<Test> {
    let mut tests = tests![promtool_finds_nothing_wrong_with_the_metrics];
    for test in &mut tests {
        test.needs = &[PROMTOOL];
    }
    tests
}

const PAYLOAD: &[u8] = b"Wherefore art thou Romeo?";

async fn nothing_secret_is_written_with_back_end_paseto(bed: Rc<Bed>) {
    nothing_secret_is_written(&bed, "paseto").await;
}

async fn nothing_secret_is_written_with_back_end_jwt(bed: Rc<Bed>) {
    nothing_secret_is_written(&bed, "jwt").await;
}

async fn nothing_secret_is_written_with_back_end_storage(bed: Rc<Bed>) {
    nothing_secret_is_written(&bed, "storage").await;
}

async fn nothing_secret_is_written(bed: &Bed, backend: &str) {
    let (line, answers, kept) = scenario(bed, backend, "trace").await;
    let (_, token) = line.endpoint.rsplit_once('/').unwrap();
    let metrics = line.daemon.metrics().await;
    let log = line.daemon.log();
    assert!(log.contains(line.daemon.service()), "a log at trace level");
    let mut secrets = vec![SECRET.to_owned(), COMPONENT_SECRET.to_owned()];
    secrets.push(token.to_owned());
    let (_, message) = kept.rsplit_once('/').unwrap();
    secrets.push(message.to_owned());
    secrets.push(String::from_utf8_lossy(PAYLOAD).into_owned());
    let digests = [&line.pair.application, &line.pair.instance].map(|digest| {
        let bytes = STANDARD.decode(digest);
        bytes.expect("base64 of our own")
    });
    let plain = [SECRET.as_bytes(), COMPONENT_SECRET.as_bytes(), PAYLOAD];
    let digests = digests.iter().map(Vec::as_slice);
    for bytes in plain.into_iter().chain(digests) {
        secrets.push(STANDARD.encode(bytes).trim_end_matches('=').to_owned());
        secrets.push(URL_SAFE_NO_PAD.encode(bytes));
        secrets.push(bytes.iter().map(|b| format!("{b:02x}")).collect());
        // As a slice's Debug shows it.
        let debug = format!("{bytes:?}");
        secrets.push(debug[1..debug.len() - 1].to_owned());
    }
    for (place, text) in [("log", log), ("metrics", metrics), ("answers", answers)] {
        for secret in &secrets {
            let at = text.lines().find(|line| line.contains(secret));
            assert_eq!(at, None, "{secret} in the {place}");
        }
    }
}

async fn jids_are_for_the_debug_level(bed: Rc<Bed>) {
    for (level, shown) in [("info", false), ("debug", true)] {
        let (line, _, _) = scenario(&bed, "paseto", level).await;
        let user = line.phone.jid.split('@').next().unwrap().to_owned();
        let log = line.daemon.log();
        assert!(log.contains(" INFO registration refused"), "{level}");
        let at = log.lines().find(|line| line.contains(&user));
        assert_eq!(at.is_some(), shown, "at {level}: {at:?}");
    }
}

/// Every kind of registration and push, the last of which revokes; with all error bodies and the
/// resource of a message.
async fn scenario(bed: &Bed, backend: &str, level: &str) -> (Line, String, String) {
    let server = bed.server().await;
    let settings = bed
        .config(&server)
        .text("backend", backend)
        .text("log.level", level);
    let phone = Phone::log_in(&server, &bed.user("romeo")).await;
    let mut line = Line::with(bed, settings, phone).await;
    let service = line.daemon.service().to_owned();
    line.phone.register(&service, &line.pair).await.unwrap();
    let application = &line.pair.application;
    let refused = format!("<register xmlns='{NS}' application='{application}'/>");
    line.phone.iq("set", Some(&service), &refused).await;
    line.phone.announce(&service).await;

    // One at once, one stored and answered late, and one that is stored until the phone says that
    // it wants it no longer.
    let mut answers = line.push(PAYLOAD).await.text();
    line.phone.push().await;
    line.phone.behave(Behaviour::Silent);
    let answer = line.push(PAYLOAD).await;
    answers += &answer.text();
    let kept = location(&answer);
    let late = line.phone.push().await;
    line.phone.behave(Behaviour::Refuse {
        kind: "wait",
        condition: "resource-constraint",
    });
    line.phone.acknowledge(&late).await;
    is_over(&kept).await;
    answers += &line.push(PAYLOAD).await.text();
    line.phone.behave(Behaviour::Refuse {
        kind: "cancel",
        condition: "item-not-found",
    });
    line.announce().await;
    let revocations = "unified_push_revocations_total";
    line.daemon.becomes(revocations, "", 1.0).await;
    let answer = line.push(PAYLOAD).await;
    assert_eq!(answer.status, 404);
    answers += &answer.text();
    let large = PAYLOAD.repeat(1000);
    answers += &line.push(&large).await.text();
    answers += &line.push(b"").await.text();
    answers += &post(&line.endpoint, &[("TTL", "soon")], PAYLOAD)
        .await
        .text();
    answers += &get(&line.endpoint).await.text();
    for url in [
        format!("{}x", line.endpoint),
        line.endpoint.replace("/push/", "/pull/"),
        format!("{}/more", line.endpoint),
    ] {
        answers += &post(&url, &[("TTL", "60")], PAYLOAD).await.text();
        answers += &get(&url).await.text();
    }
    (line, answers, kept)
}

async fn promtool_finds_nothing_wrong_with_the_metrics(bed: Rc<Bed>) {
    let mut line = Line::new(&bed).await;
    line.works().await;
    let away = line.leave().await;
    away.store(b"later").await;
    let mut line = away.back(&*bed.server().await).await;
    line.gets(&[b"later"]).await;
    let acknowledged = "result=\"acknowledged\"";
    let pushes = "unified_push_pushes_total";
    assert_eq!(line.daemon.metric(pushes, acknowledged).await, 1.0);
    let events = "unified_push_queue_events_total";
    line.daemon
        .becomes(events, "event=\"forwarded\"", 1.0)
        .await;
    let scrape = bed.dir().join("metrics");
    std::fs::write(&scrape, line.daemon.metrics().await).unwrap();
    let mut promtool = Command::new(PROMTOOL);
    promtool.args(["check", "metrics"]);
    let scrape = std::fs::File::open(scrape).unwrap();
    let output = promtool.stdin(scrape).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}
