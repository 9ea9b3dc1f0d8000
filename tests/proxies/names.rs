//! Requests for other names than the daemon's: whatever the reason, no sender may take the answer for
//! the end of its subscription, or for a push that was taken.

use testbed::{PATIENCE, eventually, tests};

use crate::{
    Test,
    front::{Answer, Front},
    program::Program,
};

pub fn of(program: Program) -> Vec<Test> {
    let mut tests = tests![another_name_ends_no_subscription];
    if program == Program::Traefik {
        tests.extend(tests![
            without_its_route_it_ends_no_subscription,
            without_any_route_it_has_no_certificate,
        ]);
    }
    tests
}

async fn another_name_ends_no_subscription(program: Program) {
    let mut front = Front::new(program).await;
    let _daemon = front.bed.start().await;
    front.open().await;
    let endpoint = front.bed.register("app").await;
    let token = endpoint.rsplit('/').next().unwrap();
    let other = format!("https://other.example.org/push/{token}");
    let address = format!("https://127.0.0.1/push/{token}");
    let named = ["--header", "Host: other.example.org"];
    for version in ["--http1.1", "--http2"] {
        for (options, url) in [
            (&[][..], &other),
            // Who does not look at certificates.
            (&["--insecure"], &other),
            (&["--insecure"], &address),
            // A name that TLS was not told.
            (&named, &endpoint),
        ] {
            let options = [&[version], options].concat();
            let answer = front.post_with(&options, url, b"x").await;
            let harmless = answer.as_ref().is_none_or(Answer::is_passing);
            assert!(harmless, "{options:?}: {answer:?}");
        }
    }
    front.keeps_secret(&[&token[..40]]);
}

/// As when the route comes from a container's labels and the container is down.
async fn without_its_route_it_ends_no_subscription(program: Program) {
    let mut front = Front::new(program).await;
    front.site.more.push(("Host(`", "Hots(`".to_owned()));
    front.launch();
    let ask = async || {
        let answer = front.post(&front.bed.url("/push/token"), b"x").await?;
        assert!(answer.is_passing(), "{answer:?}");
        Some(())
    };
    eventually("Traefik answers", PATIENCE, ask).await;
}

/// Its 404 then comes with a certificate of its own making, which no sender accepts.
async fn without_any_route_it_has_no_certificate(program: Program) {
    let mut front = Front::new(program).await;
    front.site.more.push(("http:\n", "http: {\n".to_owned()));
    front.launch();
    let endpoint = front.bed.url("/push/token");
    let ask = async || {
        let checked = front.post(&endpoint, b"x").await;
        assert!(checked.is_none(), "{checked:?}");
        let unchecked = front.post_with(&["--insecure"], &endpoint, b"x").await?;
        assert_eq!(unchecked.status, 404);
        Some(())
    };
    eventually("Traefik answers", PATIENCE, ask).await;
}
