//! The URLs that we hand out.

use std::{fmt, str::FromStr};

use super::message::MessageId;

/// The longest base of endpoints, in bytes: a whole endpoint must stay within 1000.
const MAX_BYTES: usize = 200;

/// Some senders take no longer endpoint, in bytes: Matrix servers 512, a PHP library 500.
pub const LONG_ENDPOINT: usize = 500;

/// What every endpoint starts with: http or https, without a trailing slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl(String);

/// Why a text is no public URL, in words that read on from its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublicUrlError {
    #[error("has a query or a fragment")]
    Query,
    #[error("is not a URL")]
    NoUrl,
    #[error("does not start with https:// or http://")]
    Scheme,
    #[error("has a user name")]
    UserName,
    #[error("has no host, or a bad port")]
    Host,
    #[error("is longer than {MAX_BYTES} bytes")]
    TooLong,
}

impl PublicUrl {
    /// The endpoint of a token: where application servers send their messages.
    pub fn endpoint(&self, token: &str) -> String {
        [&self.0, "/push/", token].concat()
    }

    /// How many bytes the endpoint of a token of so many bytes has.
    pub fn endpoint_length(&self, token: usize) -> usize {
        self.endpoint("").len() + token
    }

    /// The message resource of a message (RFC 8030 §5).
    pub fn message(&self, id: MessageId) -> String {
        let mut url = String::with_capacity(self.0.len() + "/message/".len() + MessageId::LENGTH);
        url.push_str(&self.0);
        url.push_str("/message/");
        id.write(&mut url);
        url
    }

    pub fn is_encrypted(&self) -> bool {
        self.0.starts_with("https://")
    }

    /// The name or address in it, without a port.
    pub fn host(&self) -> &str {
        let (_, rest) = self.0.split_once("://").unwrap_or_default();
        let authority = &rest[..rest.find('/').unwrap_or(rest.len())];
        without_port(authority)
    }

    /// The path that all routes start with: empty, or with a slash in front and none at its end.
    pub fn path(&self) -> &str {
        let rest = self.0.split_once("://").map_or(&*self.0, |(_, rest)| rest);
        rest.find('/').map_or("", |start| &rest[start..])
    }
}

/// The host of an authority; an IPv6 address is in brackets.
pub fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => host,
        _ => authority,
    }
}

impl FromStr for PublicUrl {
    type Err = PublicUrlError;

    fn from_str(text: &str) -> Result<Self, PublicUrlError> {
        let url = text.trim_end_matches('/');
        // `Uri` drops a fragment silently.
        if url.contains(['?', '#']) {
            return Err(PublicUrlError::Query);
        }
        let uri: http::Uri = url.parse().map_err(|_| PublicUrlError::NoUrl)?;
        let (Some("http" | "https"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(PublicUrlError::Scheme);
        };
        let port = authority.as_str().strip_prefix(authority.host());
        let port = port.ok_or(PublicUrlError::UserName)?;
        if authority.host().is_empty() || (!port.is_empty() && uri.port_u16().is_none()) {
            return Err(PublicUrlError::Host);
        }
        if url.len() > MAX_BYTES {
            return Err(PublicUrlError::TooLong);
        }
        Ok(Self(url.to_owned()))
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_of_it_has_no_slash_too_many() {
        let url: PublicUrl = "https://up.example.org/base/".parse().unwrap();
        assert_eq!(url.to_string(), "https://up.example.org/base");
        assert_eq!(url.path(), "/base");
        assert_eq!(
            url.endpoint("token"),
            "https://up.example.org/base/push/token"
        );
        assert_eq!(url.endpoint_length(5), url.endpoint("token").len());
        let root: PublicUrl = "https://up.example.org".parse().unwrap();
        assert_eq!(root.path(), "");
        for (url, host) in [
            ("https://up.example.org", "up.example.org"),
            ("http://up.example.org:8443/base:1", "up.example.org"),
            ("http://[::1]:8080", "[::1]"),
            ("http://[::1]/base", "[::1]"),
        ] {
            let url: PublicUrl = url.parse().unwrap();
            assert_eq!(url.host(), host);
        }
    }
}
