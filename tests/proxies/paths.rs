//! Endpoints whose path is not the one that was handed out: what senders and gateways make of it
//! passes through each proxy, and the daemon finds the token in it. And the path that is not an endpoint's:
//! the Matrix gateway's.

use serde_json::json;

use testbed::bed::DOMAIN;

use crate::{Test, front::Front, program::Program};

pub fn all() -> Vec<Test> {
    testbed::tests![
        a_token_is_found_wherever_it_stands,
        a_whole_endpoint_may_be_in_the_path_or_the_query,
        a_matrix_server_finds_its_gateway,
    ]
}

/// As the senders of Telegram apps write it.
async fn a_whole_endpoint_may_be_in_the_path_or_the_query(program: Program) {
    let mut front = Front::new(program).await;
    let _daemon = front.bed.start().await;
    front.open().await;
    let endpoint = front.bed.register("app").await;
    let escaped = endpoint.replace(':', "%3A").replace('/', "%2F");
    for (method, path) in [
        ("PUT", format!("/{endpoint}")),
        ("PUT", format!("/{escaped}")),
        ("POST", format!("/aesgcm?e={endpoint}")),
        ("POST", format!("/aesgcm?e={escaped}")),
        ("PUT", format!("/generic/?e={escaped}")),
    ] {
        let url = front.bed.url(&path);
        let shape = path.replace(&endpoint, "URL").replace(&escaped, "ESCAPED");
        for version in ["--http1.1", "--http2"] {
            let more = [version, "--path-as-is", "--request", method];
            let answer = front.post_with(&more, &url, shape.as_bytes()).await;
            assert_eq!(answer.unwrap().status, 201, "{method} {shape} {version}");
            assert_eq!(front.bed.arrived().await.payload, shape.as_bytes());
        }
    }
    let other = front.bed.url("/aesgcm?e=https://other.example/push/x");
    assert_eq!(front.post(&other, b"x").await.unwrap().status, 404);
}

async fn a_matrix_server_finds_its_gateway(program: Program) {
    let mut front = Front::new(program).await;
    let daemon = front.bed.start().await;
    front.open().await;
    let endpoint = front.bed.register("app").await;
    matrix(&mut front, &endpoint).await;
    daemon.stop().await;
    let gateway = front.bed.url("/_matrix/push/v1/notify");
    let answer = front.curl(&[&gateway], b"").await;
    assert!(answer.unwrap().is_passing());
}

/// The gateway is found, and a whole event, as large as there may be, reaches the phone.
pub async fn matrix(front: &mut Front, endpoint: &str) {
    let gateway = format!("https://{DOMAIN}/_matrix/push/v1/notify");
    let found = front.curl(&[&gateway], b"").await.unwrap();
    let discovery = json!({"unifiedpush": {"gateway": "matrix"}});
    assert_eq!((found.status, found.body), (200, discovery.to_string()));
    let other = format!("https://other.example/push/{}", "x".repeat(43));
    for content in [10, 200_000] {
        let body = json!({"notification": {
            "event_id": "$event",
            "content": "x".repeat(content),
            "devices": [{"pushkey": endpoint}, {"pushkey": other}],
        }});
        let body = body.to_string();
        for version in ["--http1.1", "--http2"] {
            let more = [version, "--header", "Content-Type: application/json"];
            let answer = front.post_with(&more, &gateway, body.as_bytes());
            let answer = answer.await.unwrap();
            let told = json!({"rejected": [other]}).to_string();
            assert_eq!((answer.status, answer.body), (200, told), "{version}");
            let push = front.bed.arrived().await.payload;
            let push: serde_json::Value = serde_json::from_slice(&push).unwrap();
            assert_eq!(push["notification"]["event_id"], "$event");
            assert_eq!(push["notification"]["content"].is_string(), content == 10);
        }
    }
}

async fn a_token_is_found_wherever_it_stands(program: Program) {
    let mut front = Front::new(program).await;
    let _daemon = front.bed.start().await;
    front.open().await;
    let endpoint = front.bed.register("app").await;
    let (_, token) = endpoint.rsplit_once('/').unwrap();
    let escaped = token.replace('.', "%2E").replace('-', "%2D");
    let escaped = escaped.replace('_', "%5F");
    for path in [
        format!("/push/{token}/"),
        format!("/push/{token}?topic=x"),
        format!("/{token}"),
        format!("/push/push/{token}"),
        format!("/elsewhere/push/{token}"),
        format!("/push/{escaped}"),
    ] {
        let url = front.bed.url(&path);
        for version in ["--http1.1", "--http2"] {
            let shape = path.replace(token, "TOKEN");
            let answer = front.post_with(&[version], &url, shape.as_bytes()).await;
            assert_eq!(answer.unwrap().status, 201, "{shape}");
            assert_eq!(front.bed.arrived().await.payload, shape.as_bytes());
        }
    }
    let elsewhere = front
        .bed
        .url(&format!("/elsewhere/{}", &token[..token.len() - 8]));
    let answer = front.post(&elsewhere, b"x").await.unwrap();
    let told = (answer.status, answer.body.as_str());
    assert_eq!(told, (404, "There is no such endpoint.\n"));
}
