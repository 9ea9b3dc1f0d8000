//! The admin listener.

use tokio::sync::watch;

use super::*;
use crate::{metrics::LinkState, runtime::health::Health};

struct Admin {
    link: watch::Sender<LinkState>,
    health: Health,
    site: Site,
}

fn fixture() -> Admin {
    let (link, state) = watch::channel(LinkState::Connecting);
    let health = Health::new(state);
    Admin {
        link,
        site: admin(Arc::new(Metrics::new()), health.clone()),
        health,
    }
}

async fn get(admin: &Admin, path: &str) -> (u16, String) {
    let answer = ask(&admin.site, "GET", path, &[], "").await;
    (answer.status, answer.body)
}

#[tokio::test]
async fn readiness_reports_the_link_the_store_and_the_clock_and_depends_on_none() {
    let admin = fixture();
    let ready = |link: &str| {
        (
            200,
            format!(r#"{{"ready":true,"link":"{link}","store":"ok","clock":"ok"}}"#),
        )
    };
    assert_eq!(get(&admin, "/readyz").await, ready("connecting"));
    admin.link.send(LinkState::Up).unwrap();
    assert_eq!(get(&admin, "/readyz").await, ready("up"));
    admin.link.send(LinkState::NotAuthorized).unwrap();
    assert_eq!(get(&admin, "/readyz").await, ready("not-authorized"));

    admin.health.set_store_ok(false);
    admin.health.set_clock_ok(false);
    let (status, body) = get(&admin, "/readyz").await;
    assert_eq!(status, 200);
    let expected = r#"{"ready":true,"link":"not-authorized","store":"failing","clock":"wrong"}"#;
    assert_eq!(body, expected);
    assert_eq!(get(&admin, "/healthz").await.0, 200);
}

#[tokio::test]
async fn a_stopping_daemon_is_alive_and_not_ready() {
    let admin = fixture();
    admin.health.set_stopping();
    assert_eq!(get(&admin, "/readyz").await.0, 503);
    assert_eq!(get(&admin, "/healthz").await.0, 200);
}

#[tokio::test]
async fn metrics_are_prometheus_text() {
    let admin = fixture();
    let answer = ask(&admin.site, "GET", "/metrics", &[], "").await;
    assert_eq!(answer.status, 200);
    let content_type = answer.header("content-type");
    assert_eq!(content_type, Some("text/plain; version=0.0.4"));
    assert!(answer.body.contains("# HELP unified_push_pushes_total"));
}

#[tokio::test]
async fn head_works_and_other_paths_and_methods_do_not() {
    let admin = fixture();
    for path in ["/metrics", "/healthz", "/readyz"] {
        let head = ask(&admin.site, "HEAD", path, &[], "").await;
        assert_eq!((head.status, head.body.as_str()), (200, ""), "{path}");
        let post = ask(&admin.site, "POST", path, &[], "").await;
        assert_eq!(post.status, 405, "{path}");
    }
    assert_eq!(get(&admin, "/").await.0, 404);
    assert_eq!(get(&admin, "/push/x").await.0, 404);
}
