//! The page for people who open the server's address in a browser.

use axum::{
    http::{
        HeaderValue,
        header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS},
    },
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use jid::BareJid;
use ring::digest::{SHA256, digest};

const STYLE: &str = "body{max-width:38rem;margin:3rem auto;padding:0 1rem;\
    font:1.05rem/1.6 system-ui,sans-serif;color-scheme:light dark}";

#[derive(Clone)]
pub struct Page {
    html: Bytes,
    policy: HeaderValue,
}

impl Page {
    pub fn new(domain: &BareJid) -> Self {
        let hash = STANDARD.encode(digest(&SHA256, STYLE.as_bytes()));
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; \
             form-action 'none'; frame-ancestors 'none'"
        );
        Self {
            html: html(&escape(domain.as_str())).into(),
            policy: HeaderValue::try_from(policy).expect("a literal and base64"),
        }
    }

    pub fn response(&self) -> Response {
        let headers = [
            (
                CONTENT_TYPE,
                HeaderValue::from_static("text/html; charset=utf-8"),
            ),
            (CONTENT_SECURITY_POLICY, self.policy.clone()),
            (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
            (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        ];
        (headers, self.html.clone()).into_response()
    }
}

fn html(domain: &str) -> String {
    format!(
        r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>UnifiedPush for XMPP</title>
<style>{STYLE}</style>
</head>
<body>
<h1>UnifiedPush for XMPP</h1>
<p>This server brings notifications to your phone through your XMPP account, without Google's
services. Apps such as Tusky, Element or Molly can use it.</p>
<h2>How to use it</h2>
<ol>
<li>Install Conversations, or another XMPP app that is a UnifiedPush distributor.</li>
<li>In its settings, open <em>UnifiedPush Distributor</em>, choose your XMPP account, and enter this
push server:<br><strong><code>{domain}</code></strong></li>
<li>In the app that shall be notified, choose UnifiedPush.</li>
</ol>
<p>Whether your account may use this server is up to its administrator.
<a href="https://unifiedpush.org/">More about UnifiedPush</a></p>
</body>
</html>
"#
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_domain_and_runs_nothing() {
        let page = Page::new(&BareJid::new("up.example.org").unwrap());
        let html = std::str::from_utf8(&page.html).unwrap();
        assert!(html.contains("<code>up.example.org</code>"));
        assert!(!html.contains("<script") && !html.contains("src="));
        let policy = page.policy.to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"));
    }

    #[test]
    fn what_means_something_in_html_is_escaped() {
        assert_eq!(escape("<a&b>"), "&lt;a&amp;b&gt;");
    }
}
