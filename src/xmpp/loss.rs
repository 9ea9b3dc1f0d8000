//! Why there is no link, said so that an administrator knows what to do.

use std::{io, net::SocketAddr, path::PathBuf};

use rustls::{CertificateError, Error as TlsError};

use crate::{
    metrics::LinkState,
    tls::{self, AuthoritiesError},
};

#[derive(Debug, thiserror::Error)]
pub enum Loss {
    #[error("cannot resolve {host:?}: {source}; check component.host")]
    Unresolvable { host: String, source: io::Error },
    #[error(
        "nothing listens on {address}: start the XMPP server, or compare component.host and \
         component.port with its component port (Prosody: component_ports; ejabberd: the listener \
         with ejabberd_service)"
    )]
    Refused { address: SocketAddr },
    #[error("{address} does not answer ({reason}): check component.host and the firewall")]
    Unreachable { address: SocketAddr, reason: String },
    #[error("cannot connect to the socket {}: {source}; {}", .path.display(), socket_remedy(.source))]
    Socket { path: PathBuf, source: io::Error },
    #[error(
        "{address} answers in TLS only: set component.tls = true, or point component.port to a \
         listener without TLS (ejabberd: one without `tls: true`)"
    )]
    OnlyTls { address: SocketAddr },
    #[error(
        "{address} does not speak TLS: set component.tls = false, or give that listener TLS \
         (ejabberd: `tls: true`; Prosody has none for components)"
    )]
    NoTls { address: SocketAddr },
    #[error(
        "{address} did not finish the TLS handshake in time. Is this a port with TLS? If not, set \
         component.tls = false"
    )]
    TlsTimeout { address: SocketAddr },
    #[error("TLS with {address} failed: {error}. {}", tls_remedy(.cause.as_ref()))]
    Tls {
        address: SocketAddr,
        cause: Option<TlsError>,
        error: io::Error,
    },
    #[error(
        "component.tls: {0}. Or name your own authority's certificate in component.tls_ca_file"
    )]
    Authorities(#[from] AuthoritiesError),
    #[error(
        "the server did not finish the handshake in time. Is this its port for components, and not \
         the one for clients or servers?"
    )]
    HandshakeTimeout,
    #[error("the other side does not speak XMPP ({0}): check component.port")]
    NotXmpp(String),
    #[error("{}", stream_error(.condition, .text))]
    StreamError {
        condition: String,
        text: Option<String>,
    },
    #[error("the server closed the connection")]
    Closed,
    #[error("the connection was cut: {0}")]
    Cut(io::Error),
    #[error("the server did not answer a ping")]
    Silent,
    #[error("the server has stopped reading")]
    Stuck,
    #[error("the server sent something that is not XML")]
    NotWellFormed,
}

impl Loss {
    pub fn state(&self) -> LinkState {
        match self {
            Self::Unresolvable { .. } | Self::Unreachable { .. } => LinkState::Unreachable,
            Self::Refused { .. } => LinkState::ConnectionRefused,
            Self::Socket { source, .. } => match source.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                    LinkState::ConnectionRefused
                }
                _ => LinkState::Unreachable,
            },
            Self::OnlyTls { .. }
            | Self::NoTls { .. }
            | Self::TlsTimeout { .. }
            | Self::Tls { .. }
            | Self::Authorities(_) => LinkState::TlsFailed,
            Self::StreamError { condition, .. } => match condition.as_str() {
                "not-authorized" => LinkState::NotAuthorized,
                "host-unknown" | "host-gone" => LinkState::HostUnknown,
                "conflict" => LinkState::Conflict,
                "system-shutdown" => LinkState::ServerShutdown,
                _ => LinkState::StreamError,
            },
            Self::Cut(error) if error.kind() == io::ErrorKind::TimedOut => LinkState::DeadPeer,
            Self::Closed | Self::Cut(_) => LinkState::ServerShutdown,
            Self::HandshakeTimeout | Self::Silent | Self::Stuck => LinkState::DeadPeer,
            Self::NotXmpp(_) | Self::NotWellFormed => LinkState::StreamError,
        }
    }
}

impl Loss {
    /// Whether a port with TLS may have met a handshake without so.
    pub fn may_be_tls(&self) -> bool {
        matches!(
            self,
            Self::HandshakeTimeout | Self::NotXmpp(_) | Self::Closed | Self::Cut(_)
        )
    }
}

fn socket_remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => {
            "start the XMPP server, or compare component.host with its listener (ejabberd: port: \
             \"unix:/...\")"
        }
        io::ErrorKind::ConnectionRefused => "nobody listens there: start the XMPP server",
        io::ErrorKind::PermissionDenied => {
            "let the user who runs unified-push write to it, by the socket's group and mode, and \
             enter its directory"
        }
        _ => "check component.host",
    }
}

fn tls_remedy(cause: Option<&TlsError>) -> &'static str {
    let Some(cause) = cause else {
        return "Is this a port with TLS? If it is ejabberd's, give that listener a certfile; if not, set \
                component.tls = false";
    };
    match cause {
        TlsError::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "Name the certificate of the authority that has signed the server's in \
             component.tls_ca_file"
        }
        TlsError::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "Set component.tls_name to a name that the server's certificate is made out to",
        other => tls::remedy(other).unwrap_or("Correct TLS on one of the two sides"),
    }
}

fn stream_error(condition: &str, text: &Option<String>) -> String {
    let text = match text {
        Some(text) => format!("{condition}, {text:?}"),
        None => condition.to_owned(),
    };
    let remedy = match condition {
        "not-authorized" => {
            "the component secret differs from the server's: compare component.secret with \
             component_secret in Prosody or password in ejabberd, where it may also mean that \
             component.domain is not among the listener's hosts"
        }
        "host-unknown" | "host-gone" => {
            "the server has no such component: compare component.domain with the Component line \
             in Prosody or hosts in ejabberd"
        }
        "conflict" => {
            "another connection holds this component's name, or the server itself does. A standby \
             takes over by itself. If no other daemon runs, wait until the server has noticed \
             that the old connection is dead (Prosody: component_conflict_resolve = \"kick_old\")"
        }
        "system-shutdown" => "the server is shutting down",
        _ => "the server ended the stream",
    };
    format!("{remedy} (stream error {text})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_error_is_told_apart_and_says_what_to_do() {
        for (condition, state, says) in [
            (
                "not-authorized",
                LinkState::NotAuthorized,
                "component.secret",
            ),
            ("host-unknown", LinkState::HostUnknown, "component.domain"),
            ("conflict", LinkState::Conflict, "another connection"),
            (
                "system-shutdown",
                LinkState::ServerShutdown,
                "shutting down",
            ),
            ("invalid-from", LinkState::StreamError, "ended the stream"),
        ] {
            let loss = Loss::StreamError {
                condition: condition.into(),
                text: Some("because".into()),
            };
            assert_eq!(loss.state(), state);
            let message = loss.to_string();
            assert!(message.contains(says), "{message}");
            assert!(message.contains(condition) && message.contains("because"));
        }
    }

    #[test]
    fn the_kernels_verdict_is_a_dead_peer_too() {
        let cut = |kind: io::ErrorKind| Loss::Cut(kind.into()).state();
        assert_eq!(cut(io::ErrorKind::TimedOut), LinkState::DeadPeer);
        assert_eq!(
            cut(io::ErrorKind::ConnectionReset),
            LinkState::ServerShutdown
        );
    }
}
