//! The page for people who open the server's address in a browser: what to enter on the phone,
//! whether the server is well, and test pushes.
//!
//! Its parts are files in `page/`, and so are its words in each language. The page loads nothing,
//! runs no script but its own, and sends to its own origin only.

mod language;

use axum::{
    http::{
        HeaderMap, HeaderValue,
        header::{
            CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
            REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
        },
    },
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use jid::BareJid;
use ring::digest::{SHA256, digest};

use self::language::Language;
use crate::{metrics::LinkState, model::endpoint::PublicUrl, runtime::health::Health};

const HTML: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");

/// What is filled in for each request.
const STATE: &str = "{{state}}";
const HEALTH: &str = "{{health}}";

pub struct Page {
    /// In the order of [`Language::ALL`].
    pages: [String; Language::ALL.len()],
    policy: HeaderValue,
}

impl Page {
    pub fn new(domain: &BareJid, public_url: &PublicUrl) -> Self {
        let hash = |text: &str| STANDARD.encode(digest(&SHA256, text.as_bytes()));
        let (style, script) = (hash(STYLE), hash(SCRIPT));
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{style}'; script-src 'sha256-{script}'; \
             connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        );
        let domain = escape(domain.as_str());
        let url = escape(&public_url.to_string());
        Self {
            pages: Language::ALL.map(|language| html(language, &domain, &url)),
            policy: HeaderValue::try_from(policy).expect("a literal and base64"),
        }
    }

    /// In the language that the browser prefers.
    pub fn response(&self, request: &HeaderMap, health: &Health) -> Response {
        let language = Language::of(request);
        let (class, word) = match (health.store_ok(), health.link()) {
            (false, _) => ("bad", "failing"),
            (true, LinkState::Up) => ("good", "well"),
            (true, _) => ("wait", "unlinked"),
        };
        let html = self.pages[language as usize]
            .replacen(STATE, class, 1)
            .replacen(HEALTH, language.word(word), 1);
        let headers = [
            (CONTENT_TYPE, "text/html; charset=utf-8"),
            (CONTENT_LANGUAGE, language.tag()),
            (VARY, "Accept-Language"),
            // It says how the server is at the moment.
            (CACHE_CONTROL, "no-store"),
            (REFERRER_POLICY, "no-referrer"),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ];
        let policy = [(CONTENT_SECURITY_POLICY, self.policy.clone())];
        (headers, policy, html).into_response()
    }
}

fn html(language: Language, domain: &str, url: &str) -> String {
    let mut html = HTML.replace("{{lang}}", language.tag());
    for (name, word) in language.words() {
        html = html.replace(&format!("{{{{{name}}}}}"), word);
    }
    html.replace("{{domain}}", domain)
        .replace("{{url}}", url)
        .replace("{{style}}", STYLE)
        .replace("{{script}}", SCRIPT)
}

/// For text and for attributes in double quotes.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn page() -> Page {
        let domain = BareJid::new("up.example.org").unwrap();
        Page::new(&domain, &"https://up.example.org/base".parse().unwrap())
    }

    #[test]
    fn every_language_has_every_word_and_no_other() {
        let names = |language: Language| language.words().map(|(name, _)| name).collect();
        let english: BTreeSet<_> = names(Language::English);
        for language in Language::ALL {
            assert_eq!(names(language), english, "{language:?}");
            assert_eq!(language.words().count(), english.len(), "{language:?}");
        }
        let html = page().pages[0].replace(STATE, "").replace(HEALTH, "");
        assert!(!html.contains("{{"), "a place that no word fills");
        for name in english {
            let state = ["well", "unlinked", "failing"].contains(&name);
            assert!(state || HTML.contains(&format!("{{{{{name}}}}}")), "{name}");
        }
    }

    #[test]
    fn words_have_the_same_values_in_every_language() {
        let values = |word: &str| -> Vec<String> {
            let mut found: Vec<_> = word.split('{').skip(1).map(str::to_owned).collect();
            for value in &mut found {
                value.truncate(value.find('}').unwrap());
            }
            found
        };
        for (name, word) in Language::English.words() {
            for language in Language::ALL {
                let other = language.word(name);
                assert_eq!(values(other), values(word), "{name} in {language:?}");
                assert!(!other.contains(['"', '\n']) && !other.is_empty(), "{name}");
            }
        }
    }

    #[test]
    fn every_word_that_the_script_names_is_on_the_page() {
        let quoted = |text: &'static str, before: &'static str| {
            let tails = text.split(before).skip(1);
            tails.map(|tail| tail.split('"').next().unwrap())
        };
        let there: BTreeSet<_> = quoted(HTML, "data-word=\"").collect();
        let named = quoted(SCRIPT, "word(\"").chain(quoted(SCRIPT, "Mistake(\""));
        for name in named {
            assert!(there.contains(name), "{name}");
        }
        for name in there {
            assert!(
                SCRIPT.contains(&format!("\"{name}\"")),
                "{name} is not used"
            );
        }
    }

    #[test]
    fn nothing_comes_from_elsewhere() {
        for (language, html) in Language::ALL.iter().zip(page().pages) {
            assert!(html.contains(r#"<code id="domain">up.example.org</code>"#));
            assert!(html.contains(r#"data-url="https://up.example.org/base""#));
            assert!(html.contains(&format!(r#"<html lang="{}">"#, language.tag())));
            for loaded in ["src=", "<link", "@import", "url(", "style=", "onclick"] {
                assert!(!html.contains(loaded), "{loaded}");
            }
        }
        let policy = page().policy;
        let policy = policy.to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"));
        assert!(!policy.contains("unsafe"), "{policy}");
    }

    #[test]
    fn what_means_something_in_html_is_escaped() {
        assert_eq!(escape("<a&\"b\">"), "&lt;a&amp;&quot;b&quot;&gt;");
    }
}
