//! Texts as people and servers write them.

use ureq::http::Uri;

use crate::model::vapid;

/// So much of a server's words is shown.
const SHOWN: usize = 500;

/// Base64 of either alphabet, padded or not, as people copy keys.
pub fn base64url(text: &str) -> Option<Vec<u8>> {
    vapid::decode(text.trim().trim_end_matches('='))
}

/// A URL's scheme, host and port, as RFC 6454 §6.2 writes them.
pub fn origin(url: &Uri) -> String {
    let scheme = url.scheme_str().unwrap_or_default();
    let host = url.host().unwrap_or_default().to_ascii_lowercase();
    match (scheme, url.port_u16()) {
        ("https", None | Some(443)) | ("http", None | Some(80)) | (_, None) => {
            format!("{scheme}://{host}")
        }
        (_, Some(port)) => format!("{scheme}://{host}:{port}"),
    }
}

/// What a server says, fit for a terminal: in one line, without the characters that control one, not
/// too long, and without the endpoint's path, which is a secret.
pub fn shown(said: &str, endpoint: &Uri) -> String {
    let secret = endpoint.path().rsplit('/').find(|part| !part.is_empty());
    let said = match secret {
        Some(secret) => said.trim().replace(secret, "…"),
        None => said.trim().to_owned(),
    };
    let mut line = String::new();
    for c in said.chars().take(SHOWN) {
        match c {
            '"' | '\'' | '\\' => line.push(c),
            // Escapes what is not printable, spaces of odd widths and marks of direction among it.
            c => line.extend(c.escape_debug()),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_no_path_and_no_default_port() {
        for (url, expected) in [
            ("https://Up.Example.org/push/x?y", "https://up.example.org"),
            ("https://up.example.org:443/", "https://up.example.org"),
            ("http://up.example.org:80/", "http://up.example.org"),
            ("http://up.example.org:443/", "http://up.example.org:443"),
            ("https://[::1]:8443/x", "https://[::1]:8443"),
        ] {
            assert_eq!(origin(&url.parse().unwrap()), expected);
        }
    }

    #[test]
    fn what_a_server_says_cannot_steer_a_terminal_or_show_the_endpoint() {
        let endpoint = "https://up.example.org/push/t0ken".parse().unwrap();
        for (said, expected) in [
            ("It's \"so\".\n", "It's \"so\"."),
            ("a\nb\r\tc", "a\\nb\\r\\tc"),
            ("\x1b[2J\x07\u{9b}x", "\\u{1b}[2J\\u{7}\\u{9b}x"),
            ("\u{202e}txt\u{200b}", "\\u{202e}txt\\u{200b}"),
            ("no /push/t0ken here", "no /push/… here"),
            ("größer als 4096", "größer als 4096"),
        ] {
            assert_eq!(shown(said, &endpoint), expected);
        }
        assert_eq!(shown(&"x".repeat(1000), &endpoint).len(), SHOWN);
        let root = "https://up.example.org/".parse().unwrap();
        assert_eq!(shown("a/b", &root), "a/b");
    }
}
