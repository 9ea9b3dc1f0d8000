//! What the answer to a push means, from this server and from others.

use super::encrypt::OVERHEAD;
use crate::model::payload::MAX_PAYLOAD;

/// The answer, as far as it is looked at.
pub struct Answer<'a> {
    pub status: u16,
    /// The header TTL: for how many seconds the server keeps the message.
    pub ttl: Option<&'a str>,
    /// What the resource of the message answered, if it is on the endpoint's own server.
    pub resource: Option<u16>,
    /// Whether the body is JSON, as ntfy's is.
    pub is_json: bool,
    /// Whether the push was encrypted, and whether it was signed.
    pub was_encrypted: bool,
    pub was_signed: bool,
}

impl Answer<'_> {
    /// Whether the push server has taken the message.
    pub fn is_accepted(&self) -> bool {
        match self.status {
            200 => self.is_json,
            201 | 202 | 204 => true,
            _ => false,
        }
    }

    pub fn meaning(&self) -> String {
        match self.status {
            201 => self.created(),
            413 => self.too_large(),
            _ => self.other().to_owned(),
        }
    }

    /// A 201 of ours means that the phone has the message, unless it is still waiting at its resource.
    fn created(&self) -> String {
        if self.ttl == Some("0") {
            return "sent to the phone, which has not confirmed it; the message is not kept"
                .to_owned();
        }
        match (self.resource, self.ttl) {
            (Some(200), Some(ttl)) => {
                format!("kept for up to {ttl} s; the phone gets it when it is back")
            }
            (Some(404), _) => "accepted: the phone has it".to_owned(),
            _ => "accepted: the phone has it, or gets it when it is back".to_owned(),
        }
    }

    fn too_large(&self) -> String {
        let mut meaning = "the message is larger than 4096 bytes".to_owned();
        if self.was_encrypted {
            let most = MAX_PAYLOAD - OVERHEAD;
            meaning += &format!(", of which encryption takes some: leave it at {most}");
        }
        meaning
    }

    fn other(&self) -> &'static str {
        match self.status {
            200 if self.is_json => {
                "accepted; ntfy answers so, and keeps the message for some hours"
            }
            200 => {
                "a web page answered, not a push server; copy the URL exactly as the app received it"
            }
            202 => {
                "accepted and kept; Mozilla's push server and gateways answer so, and the phone gets \
                 it when it is back"
            }
            204 => "accepted; the server does not say whether the phone has it",
            400 => "the request is malformed; another try would be refused too",
            401 | 403 if self.was_signed => {
                "the signature is not accepted: sign with the key that the app registered with \
                 (--vapid-key). Other push servers answer so to an endpoint that has expired, too"
            }
            401 | 403 => {
                "the server wants a signature: sign with the key that the app registered with \
                 (--vapid-key). ntfy answers 403 if the topic is protected; other push servers answer \
                 so to an endpoint that has expired, too"
            }
            404 | 410 => "this endpoint is unknown, expired or revoked: let the app register again",
            405 => "this URL is not an endpoint; copy it exactly as the app received it",
            429 => {
                "too many requests. This server answers so when too many unknown endpoints have been \
                 tried from this address; others, when too many messages come at once"
            }
            503 => {
                "not accepted at the moment: a limit is reached, the storage fails or, with a TTL of \
                 0, the phone or the XMPP server is away"
            }
            507 => "no phone listens to this topic; ntfy answers so: open its app on the phone",
            502 | 504 => "the reverse proxy cannot reach the daemon",
            500..=599 => "the server failed; its log says why",
            300..=399 => "a redirect, which push senders do not follow: fix the reverse proxy",
            _ => "this is not an answer of a push server; is this URL an endpoint?",
        }
    }
}

/// The header Retry-After is a number of seconds or a date (RFC 9110 §10.2.3).
pub fn retry_after(value: &str) -> String {
    if value.bytes().all(|byte| byte.is_ascii_digit()) {
        format!("try again after {value} s")
    } else {
        format!("try again after {value}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Answer = Answer {
        status: 0,
        ttl: None,
        resource: None,
        is_json: false,
        was_encrypted: false,
        was_signed: false,
    };

    #[test]
    fn every_status_is_told_apart() {
        let (encrypted, signed, json) = (true, true, true);
        for (status, was_encrypted, was_signed, is_json, accepted, words) in [
            (200, false, false, json, true, "ntfy"),
            (200, false, false, false, false, "web page"),
            (201, false, false, false, true, "or gets it when it is back"),
            (202, false, false, false, true, "Mozilla"),
            (204, false, false, false, true, "does not say"),
            (301, false, false, false, false, "redirect"),
            (400, false, false, json, false, "malformed"),
            (401, false, false, false, false, "wants a signature"),
            (
                401,
                false,
                signed,
                false,
                false,
                "the signature is not accepted",
            ),
            (403, false, false, false, false, "topic is protected"),
            (404, false, false, false, false, "register again"),
            (410, false, false, false, false, "register again"),
            (413, encrypted, false, false, false, "leave it at 3993"),
            (429, false, false, false, false, "too many"),
            (503, false, false, false, false, "at the moment"),
            (507, false, false, json, false, "open its app"),
            (504, false, false, false, false, "reverse proxy"),
            (500, false, false, false, false, "its log"),
            (
                418,
                false,
                false,
                false,
                false,
                "not an answer of a push server",
            ),
        ] {
            let answer = Answer {
                status,
                is_json,
                was_encrypted,
                was_signed,
                ..PLAIN
            };
            let meaning = answer.meaning();
            assert!(meaning.contains(words), "{status}: {meaning}");
            assert_eq!(answer.is_accepted(), accepted, "{status}");
        }
    }

    #[test]
    fn when_to_try_again_is_a_number_or_a_date() {
        assert_eq!(retry_after("60"), "try again after 60 s");
        let date = "Sat, 28 Nov 2026 05:00:00 GMT";
        assert_eq!(retry_after(date), format!("try again after {date}"));
    }
}
