//! Who sent a request: the peer, or whom a trusted proxy names. Only the guess limiter asks.

use std::net::{IpAddr, SocketAddr};

use axum::http::{Extensions, HeaderMap, HeaderName};
use ipnet::IpNet;

static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Ip(IpAddr),
    /// Of a Unix socket: a proxy on this machine, trusted.
    Local,
}

impl Peer {
    /// Who sent a request that the router has. Those that came over no socket of ours share one bucket.
    pub fn of(request: &Extensions) -> Self {
        request.get().copied().unwrap_or(Self::Local)
    }
}

/// What a client's rate is kept by: an IPv4 address, or the /64 network of an IPv6 address, since
/// a whole one is handed to every subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientKey(Option<IpAddr>);

impl ClientKey {
    /// All requests over a Unix socket whose proxy names no client.
    const UNNAMED: Self = Self(None);

    pub fn new(ip: IpAddr) -> Self {
        const NETWORK: u128 = !0 << 64;
        Self(Some(match ip.to_canonical() {
            IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() & NETWORK).into()),
            v4 => v4,
        }))
    }
}

pub fn is_trusted(ip: IpAddr, trusted: &[IpNet]) -> bool {
    let ip = ip.to_canonical();
    trusted.iter().any(|network| network.contains(&ip))
}

/// Walks `X-Forwarded-For` from its end, where our own proxy wrote, as long as trusted proxies
/// vouch for what stands before them. Whatever a client wrote itself is further left.
pub fn client_key(peer: Peer, headers: &HeaderMap, trusted: &[IpNet]) -> ClientKey {
    let mut client = match peer {
        Peer::Ip(ip) if !is_trusted(ip, trusted) => return ClientKey::new(ip),
        Peer::Ip(ip) => ClientKey::new(ip),
        Peer::Local => ClientKey::UNNAMED,
    };
    let entries = headers
        .get_all(&FORWARDED_FOR)
        .iter()
        .rev()
        .flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    for entry in entries {
        let Some(ip) = parse(entry) else { break };
        client = ClientKey::new(ip);
        if !is_trusted(ip, trusted) {
            break;
        }
    }
    client
}

/// An address, which some proxies write with a port, and IPv6 in brackets.
fn parse(entry: &[u8]) -> Option<IpAddr> {
    let entry = std::str::from_utf8(entry).ok()?.trim();
    let bare = entry
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(entry);
    let with_port = || entry.parse().map(|address: SocketAddr| address.ip());
    bare.parse().or_else(|_| with_port()).ok()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn ip(text: &str) -> ClientKey {
        ClientKey::new(text.parse().unwrap())
    }

    fn key(peer: Peer, lines: &[&'static str]) -> ClientKey {
        let trusted = ["127.0.0.0/8", "::1/128", "10.0.0.0/8"].map(|net| net.parse().unwrap());
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("x-forwarded-for", HeaderValue::from_static(line));
        }
        client_key(peer, &headers, &trusted)
    }

    #[test]
    fn a_stranger_is_not_believed() {
        let stranger = Peer::Ip("192.0.2.1".parse().unwrap());
        assert_eq!(key(stranger, &["198.51.100.7"]), ip("192.0.2.1"));
    }

    #[test]
    fn a_trusted_proxys_word_is_walked_from_the_right() {
        let proxy = Peer::Ip("127.0.0.1".parse().unwrap());
        let cases: &[(&[&'static str], &str)] = &[
            (&[], "127.0.0.1"),
            (&["198.51.100.7"], "198.51.100.7"),
            // The client invented the left one.
            (&["203.0.113.9, 198.51.100.7"], "198.51.100.7"),
            (&["203.0.113.9", "198.51.100.7"], "198.51.100.7"),
            (&["203.0.113.9,198.51.100.7, 10.1.2.3"], "198.51.100.7"),
            (
                &["203.0.113.9", "198.51.100.7,10.1.2.3", "::1"],
                "198.51.100.7",
            ),
            // Everything trusted: the leftmost.
            (&["10.0.0.1, 10.0.0.2"], "10.0.0.1"),
            (&["198.51.100.7:4711"], "198.51.100.7"),
            (&["[2001:db8::7]:4711"], "2001:db8::7"),
            (&["[2001:db8::7]"], "2001:db8::7"),
        ];
        for (lines, expected) in cases {
            assert_eq!(key(proxy, lines), ip(expected), "{lines:?}");
        }
    }

    #[test]
    fn garbage_ends_the_walk() {
        let proxy = Peer::Ip("::1".parse().unwrap());
        for garbage in ["unknown", "", "_hidden", "1.2.3", "203.0.113.9 10.0.0.1"] {
            assert_eq!(key(proxy, &[garbage]), ip("::1"), "{garbage:?}");
        }
        assert_eq!(key(proxy, &["203.0.113.9, x, 10.0.0.2"]), ip("10.0.0.2"));
    }

    #[test]
    fn a_unix_sockets_peer_is_trusted() {
        assert_eq!(key(Peer::Local, &["198.51.100.7"]), ip("198.51.100.7"));
        assert_eq!(key(Peer::Local, &[]), ClientKey::UNNAMED);
    }

    #[test]
    fn ipv6_counts_by_network_and_mapped_ipv4_as_ipv4() {
        assert_eq!(ip("2001:db8:0:1::1"), ip("2001:db8:0:1:ffff::2"));
        assert_ne!(ip("2001:db8:0:1::1"), ip("2001:db8:0:2::1"));
        assert_eq!(ip("::ffff:192.0.2.1"), ip("192.0.2.1"));
        assert_ne!(ip("::ffff:192.0.2.1"), ip("::ffff:192.0.2.2"));

        let mapped_proxy = Peer::Ip("::ffff:127.0.0.1".parse().unwrap());
        assert_eq!(key(mapped_proxy, &["198.51.100.7"]), ip("198.51.100.7"));
    }
}
