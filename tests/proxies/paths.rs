//! Endpoints whose path is not the one that was handed out: what senders and gateways make of it
//! passes through each proxy, and the daemon finds the token in it.

use crate::{Test, front::Front, program::Program};

pub fn all() -> Vec<Test> {
    testbed::tests![a_token_is_found_wherever_it_stands]
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
