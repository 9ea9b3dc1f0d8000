//! What passes while everything works: pushes whole, and each answer as the daemon gave it.

use std::collections::BTreeMap;

use testbed::{Behaviour, PATIENCE, bed::DOMAIN, eventually, tests};

use crate::{
    Test,
    front::{Answer, Front},
    program::Program,
};

/// Of the connection, not of the answer.
const HOP: &[&str] = &[
    "alt-svc",
    "connection",
    "date",
    "keep-alive",
    "server",
    "transfer-encoding",
    "upgrade",
    "via",
];

pub fn all() -> Vec<Test> {
    tests![
        the_program_accepts_its_sample,
        pushes_arrive_by_either_version_of_http,
        the_daemon_itself_says_what_is_too_large,
        answers_pass_unchanged,
        a_phone_that_takes_its_time_is_waited_for,
        a_client_is_known_by_its_address_and_cannot_forge_it,
    ]
}

async fn the_program_accepts_its_sample(program: Program) {
    let front = Front::new(program).await;
    program.configure(&front.site);
    let Some(checker) = program.checker(&front.site) else {
        return complains_about_nothing(front).await;
    };
    let said = front.bed.run_with(checker, b"").await.with(0);
    let mut warnings = said.lines().filter(|line| {
        let expected = [
            // What Caddy misses in the test's certificate.
            "stapling OCSP",
            // nginx 1.25 and later; Debian 12's refuses the new form.
            r#"the "listen ... http2" directive is deprecated"#,
        ];
        line.to_lowercase().contains("warn") && !expected.iter().any(|it| line.contains(it))
    });
    assert_eq!(warnings.next(), None, "{said}");
}

/// Traefik has no command for it and goes on without what it does not understand.
async fn complains_about_nothing(mut front: Front) {
    let _daemon = front.bed.start().await;
    front.open().await;
    let said = front.written();
    assert!(!said.contains("ERR"), "{said}");
}

async fn pushes_arrive_by_either_version_of_http(program: Program) {
    let mut front = Front::new(program).await;
    let _daemon = front.bed.start().await;
    front.open().await;
    let endpoint = front.bed.register("app").await;
    let starts = format!("https://{DOMAIN}/push/");
    assert!(endpoint.starts_with(&starts), "{endpoint}");
    // 4096 bytes, the most.
    let long = "0123456789abcdef".repeat(256);
    for (option, version) in [("--http1.1", "HTTP/1.1"), ("--http2", "HTTP/2")] {
        for body in ["a message", &long] {
            for framing in [&[][..], &["--header", "Transfer-Encoding: chunked"]] {
                let more = [&[option], framing].concat();
                let answer = front.post_with(&more, &endpoint, body.as_bytes()).await;
                let answer = answer.expect("an answer");
                assert_eq!(answer.version, version);
                assert_eq!(answer.status, 201, "{answer:?}");
                assert_eq!(answer.header("ttl"), Some("60"));
                let location = answer.header("location").unwrap();
                let starts = format!("https://{DOMAIN}/message/");
                assert!(location.starts_with(&starts), "{location}");
                assert_eq!(front.bed.arrived().await.payload, body.as_bytes());
                if version == "HTTP/2" {
                    // It has no chunks.
                    break;
                }
            }
        }
    }
}

async fn the_daemon_itself_says_what_is_too_large(program: Program) {
    let mut front = Front::new(program).await;
    let _daemon = front.bed.start().await;
    front.open().await;
    let endpoint = front.bed.register("app").await;
    for version in ["--http1.1", "--http2"] {
        // It closes without reading: often enough to see whether its answer may get lost.
        for length in [4097, 5000, 16_384].repeat(5) {
            let body = vec![b'x'; length];
            let answer = front.post_with(&[version], &endpoint, &body).await;
            let answer = answer.expect("an answer");
            let told = (answer.status, answer.body.as_str());
            let expected = (413, "The body is larger than 4096 bytes.\n");
            assert_eq!(told, expected, "{version} {length}");
        }
    }
    // Whoever refuses this one.
    let answer = front.post(&endpoint, &vec![b'x'; 1 << 20]).await;
    assert!(answer.is_none_or(|answer| answer.status == 413 || answer.is_passing()));
}

async fn answers_pass_unchanged(program: Program) {
    let mut front = Front::new(program).await;
    let _daemon = front.bed.start().await;
    front.open().await;
    let endpoint = front.bed.register("app").await;
    let mut bad = endpoint.clone();
    bad.truncate(endpoint.len() - 8);
    let [unknown, metrics, ready, healthy, root] =
        ["/message/unknown", "/metrics", "/readyz", "/healthz", "/"].map(|p| front.bed.url(p));
    let preflight = [
        "--request",
        "OPTIONS",
        "--header",
        "Origin: https://web.example",
    ];
    let preflight = [
        &preflight[..],
        &["--header", "Access-Control-Request-Method: POST"],
    ]
    .concat();
    let cases: &[(u16, &[&str], &str)] = &[
        (200, &[], &endpoint),
        (200, &["--head"], &endpoint),
        (200, &preflight, &endpoint),
        (404, &["--data", "x", "--header", "TTL: 60"], &bad),
        (400, &["--data", "x", "--header", "TTL: soon"], &endpoint),
        (400, &["--request", "POST"], &endpoint),
        (405, &["--request", "PATCH", "--data", "x"], &endpoint),
        (404, &[], &unknown),
        (204, &["--request", "DELETE"], &unknown),
        // They are the other listener's.
        (404, &[], &metrics),
        (404, &[], &ready),
        (404, &[], &healthy),
        (200, &[], &root),
    ];
    for (status, options, url) in cases {
        let arguments = [options, &[*url][..]].concat();
        let direct = front.directly(&arguments, b"").await.expect("an answer");
        assert_eq!(direct.status, *status, "{arguments:?}: {direct:?}");
        for version in ["--http1.1", "--http2"] {
            let through = [&[version], &arguments[..]].concat();
            let through = front.curl(&through, b"").await.expect("an answer");
            assert_eq!(essence(&through), essence(&direct), "{arguments:?}");
        }
    }

    front.bed.phone.behave(Behaviour::OFFLINE);
    let stored = front.post(&endpoint, b"waits").await.unwrap();
    let location = stored.header("location").unwrap();
    let statuses = [("GET", 200), ("DELETE", 204), ("GET", 404)];
    for (method, status) in statuses {
        let answer = front.curl(&["--request", method, location], b"").await;
        assert_eq!(answer.unwrap().status, status, "{method}");
    }
    let id = location.rsplit('/').next().unwrap();
    let token = endpoint.rsplit('/').next().unwrap();
    if let Some(expected) = logs_as(program) {
        let wait = async || front.written().contains(expected).then_some(());
        eventually("a push in the access log", PATIENCE, wait).await;
    }
    front.keeps_secret(&[id, &token[..40]]);
}

/// What the sample's access log, where it keeps one, has of a push.
fn logs_as(program: Program) -> Option<&'static str> {
    match program {
        Program::Apache => Some("POST 201"),
        Program::Haproxy => Some("-- POST"),
        _ => None,
    }
}

/// What a sender sees.
fn essence(answer: &Answer) -> (u16, BTreeMap<&str, &str>, &str) {
    let headers = answer.headers.iter();
    let headers = headers.map(|(name, value)| (name.as_str(), value.as_str()));
    let headers = headers.filter(|(name, _)| !HOP.contains(name)).collect();
    (answer.status, headers, &answer.body)
}

async fn a_phone_that_takes_its_time_is_waited_for(program: Program) {
    let mut front = Front::new(program).await;
    // The most.
    front.bed.text("delivery.ack_timeout", "5s");
    let _daemon = front.bed.start().await;
    front.open().await;
    let endpoint = front.bed.register("app").await;
    front.bed.phone.behave(Behaviour::Silent);
    let answer = front.post(&endpoint, b"waits").await.unwrap();
    assert_eq!((answer.status, answer.header("ttl")), (201, Some("60")));
}

async fn a_client_is_known_by_its_address_and_cannot_forge_it(program: Program) {
    let mut front = Front::new(program).await;
    front.bed.text("limits.client_guess_rate", "1/h, burst 3");
    let _daemon = front.bed.start().await;
    front.open().await;
    let guess = front.bed.url("/push/guess");
    let ask = async |from: &str, more: &[&str]| {
        let more = [&["--interface", from], more].concat();
        front.post_with(&more, &guess, b"x").await.unwrap().status
    };
    let forged = ["--header", "X-Forwarded-For: 127.0.0.3"];
    for _ in 0..3 {
        assert_eq!(ask("127.0.0.2", &forged).await, 404);
    }
    assert_eq!(ask("127.0.0.2", &forged).await, 429);
    assert_eq!(ask("127.0.0.2", &[]).await, 429);
    let other = ["--header", "X-Forwarded-For: 192.0.2.1, 127.0.0.1"];
    assert_eq!(ask("127.0.0.2", &other).await, 429);
    assert_eq!(ask("127.0.0.3", &[]).await, 404);
}
