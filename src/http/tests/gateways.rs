//! What other gateways would send on to an endpoint: `aesgcm`, `generic` and simple push.

use super::*;

const ENDPOINT: &str = "https://up.example.org/base/push/good";
const AESGCM: [(&str, &str); 3] = [
    ("Content-Encoding", "aesgcm"),
    ("Encryption", "salt=c2FsdA"),
    ("Crypto-Key", "dh=a2V5"),
];
const FOLDED: &str = "aesgcm\nEncryption: salt=c2FsdA\nCrypto-Key: dh=a2V5\n";

fn escaped(url: &str) -> String {
    url.replace(':', "%3A").replace('/', "%2F")
}

#[tokio::test]
async fn discovery_tells_which_gateway_it_is() {
    let fixture = Fixture::new();
    for name in ["aesgcm", "generic"] {
        for path in [format!("/{name}"), format!("/base/{name}?e={ENDPOINT}")] {
            let answer = fixture.ask("GET", &path, &[], "").await;
            let expected = format!(r#"{{"unifiedpush":{{"gateway":"{name}"}}}}"#);
            assert_eq!((answer.status, answer.body), (200, expected), "{path}");
            assert_eq!(answer.headers["content-type"], "application/json");
        }
    }
}

#[tokio::test]
async fn aesgcm_is_folded_wherever_it_comes_in() {
    let fixture = Fixture::new();
    for path in [
        "/base/push/good".to_owned(),
        format!("/base/aesgcm?e={ENDPOINT}"),
        format!("/aesgcm?e={}", escaped(ENDPOINT)),
        format!("/generic/?e={}", escaped(ENDPOINT)),
    ] {
        let answer = fixture.ask("POST", &path, &AESGCM, "\u{0}x").await;
        assert_eq!(answer.status, 201, "{path}");
        assert_eq!(answer.header("location"), Some(LOCATION));
        let body = [FOLDED, "\u{0}x"].concat();
        assert_eq!(fixture.fake.taken()[0].body, body.as_bytes(), "{path}");
        // What a gateway has folded before.
        let answer = fixture.ask("POST", &path, &AESGCM[..1], &body).await;
        assert_eq!(answer.status, 201, "{path}");
        assert_eq!(fixture.fake.taken()[0].body, body.as_bytes(), "{path}");
    }
}

#[tokio::test]
async fn the_body_counts_for_its_size_before_it_is_folded() {
    let fixture = Fixture::new();
    for (length, status) in [(0, 400), (4096, 201), (4097, 413)] {
        let body = "x".repeat(length);
        let answer = fixture.ask("POST", "/base/push/t", &AESGCM, &body).await;
        assert_eq!(answer.status, status, "{length}");
    }
    let taken = fixture.fake.taken();
    assert_eq!(taken[0].body.len(), FOLDED.len() + 4096);
    let long = "x".repeat(1000);
    let headers = [AESGCM[0], AESGCM[1], ("Crypto-Key", long.as_str())];
    let answer = fixture.ask("POST", "/base/push/t", &headers, "x").await;
    assert_eq!(answer.status, 400);
    assert!(answer.body.starts_with("Encryption, Crypto-Key: "));
}

#[tokio::test]
async fn a_put_is_a_push() {
    let strict = Fixture::with(|public| {
        public.rules.set(Rules {
            require_ttl: true,
            read_signatures: false,
            trusted_proxies: Vec::new(),
            connections_per_client: 1,
        });
    });
    // In a path no host says whether a URL is ours; its token does.
    let long = format!("https://up.example.org/base/push/{:_<43}", "good");
    for path in [
        "/base/push/good".to_owned(),
        format!("/{long}"),
        format!("/base/{long}"),
        format!("/{}", escaped(&long)),
        format!("/base/aesgcm?e={ENDPOINT}"),
        format!("/generic/?e={}", escaped(ENDPOINT)),
    ] {
        let answer = strict.ask("PUT", &path, &[], "version=7").await;
        assert_eq!(answer.status, 201, "{path}");
        let [taken] = &strict.fake.taken()[..] else {
            panic!("one message")
        };
        assert_eq!((&*taken.body, taken.ttl), (&b"version=7"[..], None));
    }
    assert_eq!(strict.ask("PUT", "/base/", &[], "x").await.status, 405);
    assert_eq!(strict.ask("PUT", "/elsewhere", &[], "x").await.status, 404);
}

#[tokio::test]
async fn our_statuses_are_passed_on() {
    for outcome in every_outcome() {
        let token = variant(&outcome);
        let directly = Fixture::new().post(&token).await;
        for path in ["/aesgcm", "/base/aesgcm", "/generic/"] {
            let path = format!("{path}?e=https://up.example.org/base/push/{token}");
            let answer = Fixture::new().ask("POST", &path, &[], "x").await;
            assert_eq!(answer, directly, "{outcome:?}");
        }
    }
}

#[tokio::test]
async fn only_endpoints_of_this_server_are_served() {
    let fixture = Fixture::new();
    for url in [
        "https://other.example/base/push/good",
        "https://up.example.org@other.example/base/push/good",
        "ftp://up.example.org/base/push/good",
        "file:///base/push/good",
    ] {
        for path in [format!("/aesgcm?e={url}"), format!("/generic?e={url}")] {
            let answer = fixture.ask("POST", &path, &AESGCM, "x").await;
            assert_eq!(answer.status, 404, "{path}");
        }
    }
    assert_eq!(fixture.fake.taken(), []);
    // After a move requests come by the old name as well.
    let path = "/aesgcm?e=https://old.example:8443/base/push/good";
    let host = [("Host", "old.example")];
    assert_eq!(fixture.ask("POST", path, &host, "x").await.status, 201);
}

#[tokio::test]
async fn guesses_count_at_a_gateway_as_well() {
    let fixture = Fixture::new();
    let path = "/aesgcm?e=https://up.example.org/base/push/BadToken";
    for status in [404, 404, 404, 429, 429] {
        let answer = fixture.ask("POST", path, &[], "x").await;
        assert_eq!(answer.status, status);
    }
}
