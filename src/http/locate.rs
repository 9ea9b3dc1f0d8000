//! Where in a path the token is: the one place that decides whether a path is an endpoint's.
//!
//! A proxy may strip a prefix, double it or put one of its own in front, add a slash at the end, or
//! escape what needs no escape. A 404 is for ever, so that a path is an endpoint wherever in it an
//! authentic token stands.
//!
//! Others write whole endpoints into a path or a query, because their gateways would send the message on
//! to there: `/ENDPOINT`, `/aesgcm?e=ENDPOINT`, `/generic?e=ENDPOINT`. Here nothing is sent anywhere; these
//! are other names of an endpoint.

use std::{borrow::Cow, ops::RangeInclusive};

use axum::http::Uri;
use memchr::memrchr;
use percent_encoding::percent_decode_str;

use crate::model::endpoint::without_port;

/// The gateways that have the endpoint in their query.
const GATEWAYS: [&str; 2] = ["aesgcm", "generic"];

/// The bytes of a token: a daemon's own have 43 and more, and a path longer than this is none.
const LENGTHS: RangeInclusive<usize> = 36..=2048;

/// So many segments of one path are tried at most: authenticating one costs some microseconds.
const MAX_CANDIDATES: usize = 4;

/// A path without its escapes.
pub fn decoded(path: &str) -> Cow<'_, str> {
    // Hardly any path has escapes, and looking at every byte as at a part of a character is slow.
    if path.contains('%') {
        percent_decode_str(path).decode_utf8_lossy()
    } else {
        Cow::Borrowed(path)
    }
}

/// What names an endpoint: the path or, at a gateway, the URL in its query, as far as its path. None when
/// no token can be in it.
pub fn name(uri: &Uri) -> Option<Cow<'_, str>> {
    let path = decoded(uri.path());
    if candidates(&path).next().is_some() {
        return Some(path);
    }
    gateway(&path)?;
    let mut parameters = uri.query()?.split('&');
    let url = parameters.find_map(|parameter| parameter.strip_prefix("e="))?;
    let mut url = decoded(url).into_owned();
    url.truncate(url.find(['?', '#']).unwrap_or(url.len()));
    candidates(&url).next()?;
    Some(Cow::Owned(url))
}

/// The gateway that a path is of.
pub fn gateway(path: &str) -> Option<&'static str> {
    let (_, last) = path.trim_end_matches('/').rsplit_once('/')?;
    GATEWAYS.into_iter().find(|gateway| *gateway == last)
}

/// The path of a URL, escaped as it is, if the URL is one of http or https and its host is ours.
pub fn path_of_own(url: &str, is_ours: impl Fn(&str) -> bool) -> Option<&str> {
    let (scheme, rest) = url.split_once("://")?;
    let is_http = ["http", "https"]
        .iter()
        .any(|http| scheme.eq_ignore_ascii_case(http));
    let (authority, _) = rest.split_once(['/', '?', '#'])?;
    let path = &rest[authority.len()..];
    let path = &path[..path.find(['?', '#']).unwrap_or(path.len())];
    let is_plain = is_http && !authority.contains('@');
    (is_plain && is_ours(without_port(authority))).then_some(path)
}

/// What `unified-push doctor` asks about instead of a token: a challenge of 32 characters behind this.
pub const PROBE: &str = "probe.";

/// The challenge of a probe, wherever in a [decoded] path it stands.
pub fn probe(path: &str) -> Option<&str> {
    let mut challenges = path.rsplit('/').filter_map(|it| it.strip_prefix(PROBE));
    challenges.find(|it| it.len() == 32 && it.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// Whether a path may be an endpoint's. It tells nothing about whether the token is good.
pub fn is_endpoint(path: &str) -> bool {
    candidates(&decoded(path)).next().is_some()
}

/// The token in a [decoded] path: an authentic one, as long as there is one, else the last that looks
/// like one. None when nothing does.
pub fn token(path: &str, is_authentic: impl Fn(&str) -> bool) -> Option<&str> {
    let mut candidates = candidates(path);
    let last = candidates.next()?;
    // Whoever opens the only one sees for itself whether it is authentic.
    let Some(other) = candidates.next() else {
        return Some(last);
    };
    let mut candidates = [last, other].into_iter().chain(candidates);
    let authentic = candidates.find(|segment| is_authentic(segment));
    Some(authentic.unwrap_or(last))
}

/// What may be tokens, the last one first.
fn candidates(path: &str) -> impl Iterator<Item = &str> {
    let path = path.trim_end_matches('/');
    let mut rest = Some(path);
    let segments = std::iter::from_fn(move || {
        // Over a token this takes a tenth of what rsplit_once does.
        let text = rest?;
        let slash = memrchr(b'/', text.as_bytes())?;
        let (before, segment) = (&text[..slash], &text[slash + 1..]);
        rest = Some(before);
        Some((before, segment))
    });
    let candidates = segments.filter(move |(before, segment)| {
        // Where a token belongs, anything counts as an attempt at one.
        let is_in_place =
            before.ends_with("/push") && before.len() + 1 + segment.len() == path.len();
        is_in_place || looks_like_token(segment)
    });
    candidates.map(|(_, segment)| segment).take(MAX_CANDIDATES)
}

fn looks_like_token(segment: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    LENGTHS.contains(&segment.len()) && segment.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    const BAD: &str = "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB";

    fn find(path: &str) -> Option<String> {
        let path = decoded(&path.replace("GOOD", GOOD).replace("BAD", BAD)).into_owned();
        token(&path, |token| token == GOOD).map(str::to_owned)
    }

    #[test]
    fn a_token_is_found_wherever_it_stands() {
        for path in [
            "/push/GOOD",
            "/GOOD",
            "//push//GOOD",
            "/push/GOOD/",
            "/push/GOOD//",
            "/push/push/GOOD",
            "/base/push/base/push/GOOD",
            "/push/GOOD/index.html",
            "/%70ush/GOOD",
            // Of ejabberd's module.
            "/up/push/GOOD",
            "/up//push/GOOD",
            "/base%2Fpush%2fGOOD",
            "/BAD/push/GOOD",
            "/push/GOOD/BAD",
            "/BAD/BAD/BAD/push/GOOD",
            "/_matrix/push/v1/notify/GOOD",
        ] {
            assert_eq!(find(path).as_deref(), Some(GOOD), "{path}");
        }
        let escaped = format!("/push/v4%2Elocal%2E{}%2D%5F", &GOOD[..30]);
        let token = format!("v4.local.{}-_", &GOOD[..30]);
        assert_eq!(find(&escaped), Some(token));
    }

    #[test]
    fn an_attempt_is_one_where_a_token_belongs_or_when_it_looks_like_one() {
        for (path, token) in [
            ("/push/guess", "guess"),
            ("/push/guess/", "guess"),
            ("/base/push/guess", "guess"),
            ("/BAD", BAD),
            ("/BAD/GOO/BAD/BAD", BAD),
        ] {
            assert_eq!(find(path).as_deref(), Some(token), "{path}");
        }
        let long = format!("/{}", "A".repeat(2049));
        for path in [
            "",
            "/",
            "/push",
            "/push/",
            "/pushes/guess",
            "/message/BwcHBwcHBwcHBwcHBwcHBw",
            "/_matrix/push/v1/notify",
            "/aesgcm",
            "/push/GOOD%20/x",
            &long,
        ] {
            assert_eq!(find(path), None, "{path}");
            assert!(!is_endpoint(path) || path.contains("GOOD"), "{path}");
        }
    }

    #[test]
    fn a_gateways_query_names_the_endpoint() {
        let url = format!("https://up.example.org/push/{GOOD}");
        let escaped = url.replace(':', "%3A").replace('/', "%2F");
        for query in [
            format!("e={url}"),
            format!("e={escaped}"),
            format!("x=1&e={escaped}&y=2"),
            format!("e={escaped}%3Fup%3D1"),
        ] {
            for path in ["/aesgcm", "/aesgcm/", "/base/aesgcm", "/generic/"] {
                let uri: Uri = format!("{path}?{query}").parse().unwrap();
                assert_eq!(name(&uri).as_deref(), Some(&*url), "{uri}");
            }
            let uri: Uri = format!("/elsewhere?{query}").parse().unwrap();
            assert_eq!(name(&uri), None);
        }
        // In a path it is like any other one, whatever a proxy makes of its slashes.
        for path in [&url, &escaped, &url.replace("//", "/")] {
            let uri: Uri = format!("/{path}").parse().unwrap();
            let path = name(&uri).unwrap();
            assert_eq!(token(&path, |_| true), Some(GOOD), "{path}");
        }
        for uri in ["/aesgcm", "/aesgcm?e=", "/aesgcm?e=https://up.example.org/"] {
            assert_eq!(name(&uri.parse().unwrap()), None, "{uri}");
        }
    }

    #[test]
    fn a_url_is_our_own_by_its_host() {
        let path = |url: &'static str| path_of_own(url, |host| host == "up.example.org");
        for url in [
            "https://up.example.org/push/x",
            "HTTP://up.example.org/push/x?up=1",
            "https://up.example.org:8443/push/x#y",
        ] {
            assert_eq!(path(url), Some("/push/x"), "{url}");
        }
        for url in [
            "",
            "/push/x",
            "up.example.org/push/x",
            "https://up.example.org",
            "ftp://up.example.org/push/x",
            "https://other.example/push/x",
            "https://other.example/https://up.example.org/push/x",
            "https://up.example.org@other.example/push/x",
            "https://up.example.org:x@other.example/push/x",
            "https://x@up.example.org/push/x",
            "https://other.example?https://up.example.org/push/x",
            "https://other.example\\up.example.org/push/x",
        ] {
            assert_eq!(path(url), None, "{url}");
        }
    }

    #[test]
    fn a_path_without_escapes_is_not_copied() {
        let path = format!("/push/{GOOD}");
        assert!(matches!(decoded(&path), Cow::Borrowed(_)));
        let never = |_: &str| panic!("the only one need not be authenticated here");
        assert_eq!(token(&path, never), Some(GOOD));
    }

    #[test]
    fn the_work_is_bounded() {
        let tried = std::cell::Cell::new(0);
        let path = format!("/{BAD}").repeat(300);
        let found = token(&path, |_| {
            tried.set(tried.get() + 1);
            false
        });
        assert_eq!((found, tried.get()), (Some(BAD), MAX_CANDIDATES));
    }
}
