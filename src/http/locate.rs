//! Where in a path the token is: the one place that decides whether a path is an endpoint's.
//!
//! A proxy may strip a prefix, double it or put one of its own in front, add a slash at the end, or
//! escape what needs no escape. A 404 is for ever, so that a path is an endpoint wherever in it an
//! authentic token stands.

use std::{borrow::Cow, ops::RangeInclusive};

use percent_encoding::percent_decode_str;

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
        let (before, segment) = rest?.rsplit_once('/')?;
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
