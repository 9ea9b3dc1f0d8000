//! A question that only a daemon with the configured secret answers rightly.

use serde_json::Value;

use crate::{
    config::Config,
    http::PROBE,
    model::{
        random::{SystemRandom, random_array},
        secret::Secret,
    },
    token::proof,
};

/// What asks a daemon for its proof, and the proof that is due. None without the secret.
pub struct Challenge {
    pub path: String,
    proof: Option<String>,
}

impl Challenge {
    pub fn new(config: &Config, secret: Option<&Secret>) -> Self {
        let bytes = u128::from_be_bytes(random_array(&SystemRandom));
        let challenge = format!("{bytes:032x}");
        let base = config.http.public_url.path();
        Self {
            path: format!("{base}/push/{}{challenge}", PROBE),
            proof: secret.map(|secret| proof(secret, &challenge)),
        }
    }

    pub fn judge(&self, body: &str) -> Answer {
        let Ok(json) = serde_json::from_str::<Value>(body) else {
            return Answer::Foreign;
        };
        if json["unifiedpush"]["version"] != 1 {
            return Answer::Foreign;
        }
        match (&self.proof, json["proof"].as_str()) {
            (Some(due), Some(proof)) if due == proof => Answer::Ours,
            (None, Some(_)) => Answer::Unproven,
            _ => Answer::Another,
        }
    }
}

/// Who answered a challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Ours,
    /// It may be ours: the secret is not known here.
    Unproven,
    /// A push server that has another secret, or that does not know the question.
    Another,
    /// No push server.
    Foreign,
}
