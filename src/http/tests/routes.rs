//! Everything on the public listener but the POST itself.

use super::*;

#[tokio::test]
async fn discovery_answers_alike_for_every_token() {
    let fixture = Fixture::new();
    for token in ["good", "BadToken", "Gone", "panic"] {
        let path = format!("/base/push/{token}");
        let answer = fixture.ask("GET", &path, &[], "").await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.body, r#"{"unifiedpush":{"version":1}}"#);
        assert_eq!(answer.header("content-type"), Some("application/json"));

        let head = fixture.ask("HEAD", &path, &[], "").await;
        assert_eq!((head.status, head.body.as_str()), (200, ""));
        assert_eq!(head.header("content-type"), Some("application/json"));
        assert_eq!(head.header("content-length"), Some("29"));
    }
    assert_eq!(fixture.fake.taken(), []);
}

#[tokio::test]
async fn a_probe_is_answered_with_a_proof_wherever_a_proxy_has_put_it() {
    const CHALLENGE: &str = "0123456789abcdef0123456789ABCDEF";
    let fixture = Fixture::new();
    for path in ["/base/push/", "/", "/push/", "/base/base/push/"] {
        let path = format!("{path}probe.{CHALLENGE}");
        let answer = fixture.ask("GET", &path, &[], "").await;
        let body = format!(r#"{{"unifiedpush":{{"version":1}},"proof":"proof of {CHALLENGE}"}}"#);
        assert_eq!((answer.status, answer.body), (200, body), "{path}");
    }
    let short = fixture.ask("GET", "/base/push/probe.0123", &[], "").await;
    assert_eq!(short.body, r#"{"unifiedpush":{"version":1}}"#);
    assert_eq!(fixture.fake.taken(), []);
}

#[tokio::test]
async fn a_browser_may_push_from_any_origin() {
    let fixture = Fixture::new();
    let headers = [
        ("Origin", "https://app.example"),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "ttl,content-encoding"),
    ];
    let preflight = fixture.ask("OPTIONS", "/base/push/t", &headers, "").await;
    assert_eq!(preflight.status, 200);
    let lists = |name, wanted: &[&str]| {
        let got = preflight.header(name).unwrap().to_ascii_lowercase();
        let got: Vec<_> = got.split(',').map(str::trim).collect();
        for value in wanted {
            assert!(got.contains(value), "{name} lacks {value}: {got:?}");
        }
    };
    lists("access-control-allow-origin", &["*"]);
    let methods = ["get", "head", "post", "delete"];
    lists("access-control-allow-methods", &methods);
    let request_headers = [
        "ttl",
        "urgency",
        "topic",
        "content-encoding",
        "content-type",
        "authorization",
        "encryption",
        "crypto-key",
        "prefer",
    ];
    lists("access-control-allow-headers", &request_headers);
    lists("access-control-max-age", &["86400"]);

    for token in ["good", "Gone", "LinkDown"] {
        let answer = fixture.post(token).await;
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        let exposed = answer.header("access-control-expose-headers");
        assert_eq!(exposed, Some("location,ttl,retry-after"));
    }
}

#[tokio::test]
async fn other_methods_are_refused_with_what_is_allowed() {
    let fixture = Fixture::new();
    for path in ["/base/push/t", "/base/aesgcm", "/base/generic"] {
        for method in ["DELETE", "PATCH"] {
            let answer = fixture.ask(method, path, &[], "x").await;
            assert_eq!(answer.status, 405, "{method} {path}");
            let allowed = Some("GET, HEAD, OPTIONS, POST, PUT");
            assert_eq!(answer.header("allow"), allowed, "{path}");
        }
    }
    let answer = fixture.ask("POST", "/base/", &[], "x").await;
    assert_eq!(answer.status, 405);
    assert_eq!(answer.header("allow"), Some("GET, HEAD, OPTIONS"));
}

#[tokio::test]
async fn people_get_a_page_that_loads_nothing() {
    let fixture = Fixture::new();
    for path in ["/base", "/base/"] {
        let answer = fixture.ask("GET", path, &[], "").await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.body.contains("up.example.org"));
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
    }
}

#[tokio::test]
async fn the_page_is_in_the_language_of_the_browser_and_tells_how_the_server_is() {
    let (link, state) = watch::channel(LinkState::Up);
    let health = Health::new(state);
    let fixture = Fixture::with(|public| public.health = health.clone());
    let page = async |language: &str| {
        let headers = [("Accept-Language", language)];
        let answer = fixture.ask("GET", "/base/", &headers, "").await;
        assert_eq!(answer.header("vary"), Some("Accept-Language"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        answer
    };
    for (language, tag, words) in [
        ("", "en", "This server is well"),
        ("de-AT, en;q=0.5", "de", "Dieser Server arbeitet"),
        ("fr", "fr", "Ce serveur fonctionne"),
        ("es", "es", "Este servidor funciona"),
    ] {
        let answer = page(language).await;
        assert_eq!(answer.header("content-language"), Some(tag));
        assert!(answer.body.contains(&format!("<html lang=\"{tag}\">")));
        assert!(answer.body.contains(words), "{language}: {}", answer.body);
    }
    link.send(LinkState::Unreachable).unwrap();
    let body = page("en").await.body;
    assert!(body.contains("no connection to its XMPP server"), "{body}");
    health.set_store_ok(false);
    let body = page("en").await.body;
    assert!(body.contains("cannot store messages"), "{body}");
}

#[tokio::test]
async fn routes_begin_at_the_path_of_the_public_url() {
    let odd =
        Fixture::with(|public| public.public_url = "http://up.example.org/{a}/:b".parse().unwrap());
    let answer = odd.ask("POST", "/{a}/:b/push/t", &[], "x").await;
    assert_eq!(answer.status, 201);
    assert_eq!(odd.ask("GET", "/{a}/:b/", &[], "").await.status, 200);
    assert_eq!(odd.ask("GET", "/z/:b/", &[], "").await.status, 404);

    let bare =
        Fixture::with(|public| public.public_url = "https://up.example.org".parse().unwrap());
    assert_eq!(bare.ask("POST", "/push/t", &[], "x").await.status, 201);
    assert_eq!(bare.ask("GET", "/", &[], "").await.status, 200);
}

/// A token in full length.
fn long(name: &str) -> String {
    format!("{name:_<43}")
}

#[tokio::test]
async fn a_token_is_served_wherever_a_proxy_puts_it() {
    let fixture = Fixture::new();
    let token = long("good");
    for before in [
        "",
        "/base",
        "/push",
        "/base/push",
        "/base/base/push",
        "/up",
        "/base/message",
    ] {
        for after in ["", "/", "?ttl=1", "/?up=1", "/x"] {
            let path = format!("{before}/{token}{after}");
            let answer = fixture.ask("POST", &path, &[], "x").await;
            assert_eq!(answer.status, 201, "{path}");
            assert_eq!(fixture.fake.taken()[0].token, token, "{path}");
            let found = fixture.ask("GET", &path, &[], "").await;
            assert_eq!(found.body, r#"{"unifiedpush":{"version":1}}"#, "{path}");
            let preflight = fixture.ask("OPTIONS", &path, &[], "").await;
            assert_eq!(preflight.status, 200, "{path}");
        }
    }
    let escaped = format!("/push/v4%2Elocal%2e{token}%2D%5F");
    assert_eq!(fixture.ask("POST", &escaped, &[], "x").await.status, 201);
    let whole = format!("v4.local.{token}-_");
    assert_eq!(fixture.fake.taken()[0].token, whole);
}

#[tokio::test]
async fn an_authentic_token_decides_among_several() {
    let fixture = Fixture::new();
    let [good, gone, bad] = ["good", "Gone", "BadToken"].map(long);
    for (path, status, token) in [
        (format!("/{bad}/push/{good}"), 201, &good),
        (format!("/push/{good}/{bad}"), 201, &good),
        (format!("/{bad}/{gone}/{bad}"), 404, &gone),
        (format!("/{bad}/push/{bad}"), 404, &bad),
    ] {
        let answer = fixture.ask("POST", &path, &[], "x").await;
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(&fixture.fake.taken()[0].token, token, "{path}");
    }
}

#[tokio::test]
async fn guesses_count_on_any_path() {
    let fixture = Fixture::new();
    let path = format!("/elsewhere/{}/", long("BadToken"));
    for status in [404, 404, 404, 429, 429] {
        let answer = fixture.ask("POST", &path, &[], "x").await;
        assert_eq!(answer.status, status);
    }
    // What is no attempt at a token is no guess.
    let other = fixture.ask("POST", "/elsewhere", &[], "x").await;
    assert_eq!(other.status, 404);
    let good = path.replace("BadToken", "good____");
    assert_eq!(fixture.ask("POST", &good, &[], "x").await.status, 201);
}

#[tokio::test]
async fn other_resources_are_not_endpoints() {
    let fixture = Fixture::new();
    let message = LOCATION.strip_prefix("https://up.example.org").unwrap();
    let answer = fixture.ask("GET", message, &[], "").await;
    assert_eq!(
        (answer.status, &*answer.body),
        (200, "The message is waiting for its phone.\n")
    );
    let answer = fixture.ask("POST", message, &[], "x").await;
    assert_eq!(answer.status, 405);
    assert_eq!(answer.header("allow"), Some("DELETE, GET, HEAD, OPTIONS"));
    assert_eq!(fixture.ask("DELETE", message, &[], "").await.status, 204);
    for path in ["/base/_matrix/push/v1/notify", "/aesgcm/x", "/favicon.ico"] {
        for method in ["GET", "HEAD", "POST", "PUT"] {
            let answer = fixture.ask(method, path, &[], "").await;
            assert_eq!(answer.status, 404, "{method} {path}");
        }
    }
    assert_eq!(fixture.fake.taken(), []);
}

#[tokio::test]
async fn a_panic_is_answered_counted_and_kept_quiet() {
    let fixture = Fixture::new();
    let answer = fixture.post("panic").await;
    assert_eq!(answer.status, 500);
    assert_eq!(answer.body, "The server made a mistake.\n");
    let readable_by = answer.header("access-control-allow-origin");
    assert_eq!(readable_by, Some("*"), "a web page may read it");
    assert_eq!(fixture.metrics.http_panics.get(), 1);
}

/// Writes of a log, kept.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_log_names_the_resource_and_never_the_uri() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let fixture = Fixture::new();
    let server = Server::start(&fixture, settings(&fixture)).await;
    server.exchange(&post("first", 3, CLOSE)).await;
    // Tests beside this one may have met these log lines just before the subscriber was there.
    tracing::callsite::rebuild_interest_cache();
    for token in ["bearer-token", "panic", "BadToken"] {
        server.exchange(&post(token, 3, CLOSE)).await;
    }
    for method in ["GET", "DELETE", "PATCH"] {
        let request = format!("{method} {LOCATION} HTTP/1.1\r\nHost: x\r\n{CLOSE}\r\n");
        server.exchange(request.as_bytes()).await;
    }
    let broken = b"POST /base/push/bearer-token HTTP/1.1\r\nHost: x\r\nBad Header\r\n\r\n";
    server.exchange(broken).await;
    drop(guard);
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains(r#"resource="push" status=201"#), "{log}");
    assert!(log.contains(r#"resource="message""#), "{log}");
    let secrets = ["bearer-token", "push/panic", "BadToken", "xxx", "hunter2"];
    for secret in secrets.into_iter().chain(["BwcHBwcH"]) {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}

#[tokio::test]
async fn a_request_names_one_host() {
    let fixture = Fixture::new();
    let server = Server::start(&fixture, settings(&fixture)).await;
    for (hosts, status) in [
        ("", "400"),
        ("Host: a\r\nHost: a\r\n", "400"),
        ("Host: a\r\n", "201"),
        ("Host: \r\n", "201"),
    ] {
        let head = "POST /base/push/t HTTP/1.1\r\nContent-Length: 1\r\n";
        let request = format!("{head}{hosts}{CLOSE}\r\nx");
        let answer = server.exchange(request.as_bytes()).await;
        assert_eq!(statuses(&answer), [status], "{hosts:?}");
    }
}
