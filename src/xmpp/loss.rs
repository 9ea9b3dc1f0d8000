//! Why there is no link, said so that an administrator knows what to do.

use std::io;

use crate::metrics::LinkState;

#[derive(Debug, thiserror::Error)]
pub enum Loss {
    #[error("cannot resolve {host:?}: {source}; check component.host")]
    Unresolvable { host: String, source: io::Error },
    #[error(
        "nothing listens on {address}: start the XMPP server, or compare component.host and \
         component.port with its component port (Prosody: component_ports; ejabberd: the listener \
         with ejabberd_service)"
    )]
    Refused { address: String },
    #[error("{address} does not answer ({reason}): check component.host and the firewall")]
    Unreachable { address: String, reason: String },
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
