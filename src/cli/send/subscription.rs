//! To whom a push goes: an endpoint, and the keys of its app if it expects encryption.

use std::{fmt, fs, io};

use serde::Deserialize;

use super::encrypt::{KeyError, Keys};

/// What an app hands to its application server.
pub struct Subscription {
    pub endpoint: String,
    pub keys: Option<Keys>,
}

/// Why there is none. It never shows the content, which is secret.
#[derive(Debug, thiserror::Error)]
pub enum SubscriptionError {
    #[error("cannot read {file}: {source}")]
    File { file: String, source: io::Error },
    #[error(
        "{place}: this is not a subscription as JSON: {{\"endpoint\": \"https://...\", \"keys\": {{\"p256dh\": \"...\", \"auth\": \"...\"}}}}"
    )]
    Json { place: Place },
    #[error("{0}")]
    Key(#[from] KeyError),
}

/// Where in which file.
#[derive(Debug)]
pub struct Place {
    file: String,
    line: usize,
    column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, line {}, column {}",
            self.file, self.line, self.column
        )
    }
}

/// A `PushSubscription` as browsers and apps serialise it (W3C Push API §8).
#[derive(Deserialize)]
struct Json {
    endpoint: String,
    keys: Option<JsonKeys>,
}

#[derive(Deserialize)]
struct JsonKeys {
    p256dh: String,
    auth: String,
}

impl Subscription {
    /// From a file, or from standard input if the file is `-`.
    pub fn read(file: &str) -> Result<Self, SubscriptionError> {
        let (name, text) = match file {
            "-" => ("standard input", io::read_to_string(io::stdin())),
            file => (file, fs::read_to_string(file)),
        };
        let text = text.map_err(|source| SubscriptionError::File {
            file: name.to_owned(),
            source,
        })?;
        Self::parse(&text, name)
    }

    fn parse(text: &str, file: &str) -> Result<Self, SubscriptionError> {
        // serde's own words may quote the text.
        let json: Json = serde_json::from_str(text).map_err(|error| {
            let place = Place {
                file: file.to_owned(),
                line: error.line(),
                column: error.column(),
            };
            SubscriptionError::Json { place }
        })?;
        let keys = json.keys.map(|keys| Keys::parse(&keys.p256dh, &keys.auth));
        Ok(Self {
            endpoint: json.endpoint,
            keys: keys.transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P256DH: &str =
        "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
    const AUTH: &str = "BTBZMqHH6r4Tts7J_aSIgg";

    #[test]
    fn a_subscription_is_read_with_and_without_keys() {
        let endpoint = "https://up.example.org/push/t0ken";
        let bare = format!(r#"{{"endpoint": "{endpoint}"}}"#);
        let keys = format!(r#""keys": {{"auth": "{AUTH}", "p256dh": "{P256DH}"}}"#);
        let full = format!(r#"{{"endpoint":"{endpoint}","expirationTime":null,{keys}}}"#);
        for (text, has_keys) in [(bare, false), (full, true)] {
            let read = Subscription::parse(&text, "a file").unwrap();
            assert_eq!(read.endpoint, endpoint);
            assert_eq!(read.keys.is_some(), has_keys);
        }
    }

    #[test]
    fn what_is_none_is_told_by_its_place_and_not_shown() {
        for (text, said) in [
            ("", "key.json, line 1, column 0: "),
            ("t0ken", "key.json, line 1, column 2: "),
            ("{\n\"endpoint\": 1}", "key.json, line 2, column 13: "),
            (
                r#"{"endpoint": "t0ken", "keys": "t0ken"}"#,
                "key.json, line 1, ",
            ),
            (
                r#"{"endpoint": "t0ken", "keys": {"auth": "t0ken"}}"#,
                "key.json, line 1, ",
            ),
            (
                r#"{"endpoint": "t0ken", "keys": {"p256dh": "t0ken", "auth": ""}}"#,
                "p256dh is not a ",
            ),
        ] {
            let error = Subscription::parse(text, "key.json")
                .err()
                .unwrap()
                .to_string();
            assert!(error.starts_with(said), "{error}");
            assert!(!error.contains("t0ken"), "{error}");
        }
    }
}
