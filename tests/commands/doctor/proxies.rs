//! The certificate and the proxy, as application servers see them: a real nginx.

use testbed::{
    Authority, Bed, MovedClock,
    bed::{DOMAIN, secret_of},
    free_port,
};

use super::clinic::{PASS, clinic};

#[tokio::test]
async fn what_a_proxy_does_wrong_is_named() {
    let Some(mut clinic) = clinic().await else {
        return;
    };
    let _daemon = clinic.daemon().await;
    let nobody = format!(
        "location / {{ proxy_pass http://127.0.0.1:{}; }}",
        free_port()
    );
    for (locations, words) in [
        (
            "location /metrics { proxy_pass http://127.0.0.1:DAEMON; }",
            "answers with a 404 of its own",
        ),
        (
            "location / { rewrite ^ /push/x break; proxy_pass http://127.0.0.1:DAEMON; }",
            "leads to another push server",
        ),
        (
            "location / { rewrite ^ / break; proxy_pass http://127.0.0.1:DAEMON; }",
            "passes another path",
        ),
        (
            "location / { rewrite ^ /elsewhere break; proxy_pass http://127.0.0.1:DAEMON; }",
            "passes another path",
        ),
        (&*nobody, "does not reach the daemon (502)"),
        (
            "location / { return 200 welcome; }",
            "is another web server",
        ),
        ("location / { return 403; }", "asks for permission (403)"),
        (
            "location / { return 301 https://www.example.org$request_uri; }",
            "redirects to https://www.example.org (301)",
        ),
        (
            &*format!("client_max_body_size 1k; {PASS}"),
            "refuses a message of 4096 bytes",
        ),
        (
            "proxy_intercept_errors on; error_page 404 /404.html; location = /404.html { return 404 \
             gone; } location / { proxy_pass http://127.0.0.1:DAEMON; }",
            "with a page of its own",
        ),
        (
            "location / { limit_except GET { deny all; } proxy_pass http://127.0.0.1:DAEMON; }",
            "answers a POST with 403",
        ),
    ] {
        clinic.proxy(locations).await;
        let diagnosis = clinic.ask().await;
        diagnosis.is_only("wrong", "proxy", words);
    }
}

#[tokio::test]
async fn another_push_server_is_told_from_ours() {
    let Some(mut clinic) = clinic().await else {
        return;
    };
    let mut other = Bed::new().await;
    other.text("secret", &secret_of('b'));
    let _others = other.start().await;
    let _daemon = clinic.daemon().await;
    let theirs = other.config.get("http.listen");
    let locations = format!("location / {{ proxy_pass http://{theirs}; }}");
    clinic.proxy(&locations).await;
    clinic
        .is_wrong("proxy", "leads to another push server")
        .await;
}

#[tokio::test]
async fn a_certificate_that_no_sender_believes_is_named() {
    let Some(mut clinic) = clinic().await else {
        return;
    };
    let _daemon = clinic.daemon().await;
    let authority = Authority::new("ours");
    let theirs = Authority::new("theirs");
    let names = format!("DNS:{DOMAIN}");
    let clock = MovedClock::new(&clinic.path(""));
    clock.set_offset(-29 * 86400);
    for (certificate, words) in [
        (theirs.issue("unknown", &names), "UnknownIssuer"),
        (
            clinic.authority.issue("misnamed", "DNS:www.example.org"),
            "not valid for name",
        ),
        (
            clinic.authority.issue_then(&clock, 2, "ended", &names),
            "the certificate ended on 20",
        ),
        (authority.issue("alike", &names), "invalid peer certificate"),
    ] {
        clinic.encrypted(&certificate, PASS).await;
        clinic.is_wrong("certificate", words).await;
    }
    // Of a month, a day is left.
    let late = clinic.authority.issue_then(&clock, 30, "late", &names);
    clinic.encrypted(&late, PASS).await;
    clinic
        .is_doubtful("certificate", "See why it was not renewed")
        .await;
    clinic.nginx("", PASS).await;
    clinic.is_wrong("certificate", "does not speak TLS").await;
}

#[tokio::test]
async fn a_public_url_that_leads_nowhere_is_named() {
    let Some(mut clinic) = clinic().await else {
        return;
    };
    let _daemon = clinic.daemon().await;
    clinic.is_wrong("proxy", "nothing listens at").await;
    clinic.names.clear();
    clinic.is_wrong("http.public_url", "does not resolve").await;
}

#[tokio::test]
async fn a_public_url_with_the_wrong_scheme_is_named() {
    let Some(mut clinic) = clinic().await else {
        return;
    };
    let port = clinic.port;
    let url = format!("http://{DOMAIN}:{port}");
    clinic.bed.text("http.public_url", &url);
    let _daemon = clinic.daemon().await;
    let redirect = format!("return 301 https://{DOMAIN}$request_uri;");
    clinic.nginx("", &redirect).await;
    let words = format!("redirects to https://{DOMAIN} (301)");
    clinic.is_wrong("proxy", &words).await;
    clinic.proxy(PASS).await;
    clinic.is_wrong("proxy", "begin with https://").await;
}
