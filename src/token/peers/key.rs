//! Keys as the other servers write them: in their configuration, or in a file of theirs.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{
    Peer,
    lua::{self, LuaError, Value},
};
use crate::model::secret::Secret;

/// What precedes the hex digits in Prosody's file.
const PROSODY_PASETO: &str = "secret-token:paseto.v3.local:";
/// The field of that file.
const PROSODY_FIELD: &str = "paseto_v3_local_key";

/// The option of Prosody's whose value is the key of its JWT.
const PROSODY_JWT: &str = "unified_push_secret";

/// Why a text is no key, in words that read on from its name, and tell nothing of what it says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("is empty")]
    Empty,
    #[error(
        "is neither Prosody's file `%5fprivate.dat` nor the key in it: `{PROSODY_PASETO}` and 64 hex \
         digits"
    )]
    NoProsodyPaseto,
    #[error(
        "is a part of Prosody's configuration; the key is only what stands in quotation marks after \
         `{PROSODY_JWT}`"
    )]
    ProsodyConfiguration,
    #[error("is no whole file of Prosody's: {0}")]
    Lua(#[from] LuaError),
    #[error(
        "is a file of Prosody's without the field `{PROSODY_FIELD}`: its back end is not paseto"
    )]
    NoField,
    #[error(
        "is neither the configuration of `up` (config.json) nor the `sharedSecret` in it: base64 of 32 \
         bytes"
    )]
    NoUp,
    #[error("is JSON without `registration.sharedSecret`: that is not the configuration of `up`")]
    NoSharedSecret,
    #[error(
        "is not a JWK: JSON such as {{\"kty\": \"oct\", \"k\": \"...\"}}, as after `jwk:` in ejabberd.yml"
    )]
    NoJwk,
    /// Which kind, when it is one that has a name.
    #[error(
        "is a JWK of the kind {0:?}; the endpoints of ejabberd's module are signed with one of the kind \"oct\""
    )]
    OtherJwk(String),
    #[error("does not have 32 bytes")]
    Length,
    #[error(
        "is not needed: such endpoints are taken over with `unified-push import prosody-storage`"
    )]
    None,
}

/// The key in a text of the peer's.
pub fn read(peer: Peer, written: &[u8]) -> Result<Secret, KeyError> {
    let key = match peer {
        // Any other text itself is the key.
        Peer::ProsodyJwt if contains(written, PROSODY_JWT) => {
            return Err(KeyError::ProsodyConfiguration);
        }
        Peer::ProsodyJwt => Secret::from_file_content(written),
        Peer::ProsodyPaseto => Secret::new(prosody_paseto(written.trim_ascii())?.to_vec()),
        Peer::Up => Secret::new(up(written.trim_ascii())?.to_vec()),
        Peer::Ejabberd => Secret::new(jwk(written)?.to_vec()),
        Peer::ProsodyStorage => return Err(KeyError::None),
    };
    match key.as_bytes().is_empty() {
        true => Err(KeyError::Empty),
        false => Ok(key),
    }
}

fn contains(text: &[u8], word: &str) -> bool {
    text.windows(word.len()).any(|part| part == word.as_bytes())
}

pub fn exactly_32(bytes: &[u8]) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let bytes = bytes.try_into().map_err(|_| KeyError::Length)?;
    Ok(Zeroizing::new(bytes))
}

fn prosody_paseto(text: &[u8]) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    if text.starts_with(b"return") {
        return match lua::read(text)?.get(PROSODY_FIELD) {
            Some(Value::Text(key)) => prosody_paseto(key),
            Some(_) | None => Err(KeyError::NoField),
        };
    }
    let digits = text.strip_prefix(PROSODY_PASETO.as_bytes());
    let digits = digits.filter(|digits| digits.len() == 64);
    let digits = digits.ok_or(KeyError::NoProsodyPaseto)?;
    let mut key = Zeroizing::new([0; 32]);
    for (byte, pair) in key.iter_mut().zip(digits.chunks(2)) {
        let value = |digit: &u8| char::from(*digit).to_digit(16);
        let pair = value(&pair[0]).zip(value(&pair[1]));
        let (high, low) = pair.ok_or(KeyError::NoProsodyPaseto)?;
        *byte = (high << 4 | low) as u8;
    }
    Ok(key)
}

#[derive(Deserialize)]
struct UpConfig {
    registration: Option<UpRegistration>,
}

#[derive(Deserialize)]
struct UpRegistration {
    #[serde(rename = "sharedSecret")]
    shared_secret: Option<Zeroizing<String>>,
}

fn up(text: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    if text.starts_with(b"{") {
        let config: UpConfig = serde_json::from_slice(text).map_err(|_| KeyError::NoUp)?;
        let secret = config.registration.and_then(|part| part.shared_secret);
        return up(secret.ok_or(KeyError::NoSharedSecret)?.as_bytes());
    }
    let key = Zeroizing::new(STANDARD.decode(text).map_err(|_| KeyError::NoUp)?);
    match key.len() {
        32 => Ok(key),
        _ => Err(KeyError::NoUp),
    }
}

#[derive(Deserialize)]
struct Jwk {
    kty: Option<String>,
    k: Option<Zeroizing<String>>,
}

fn jwk(text: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let Jwk { kty, k } = serde_json::from_slice(text).map_err(|_| KeyError::NoJwk)?;
    match (kty.as_deref(), k) {
        (Some("oct"), Some(k)) => {
            let key = URL_SAFE_NO_PAD.decode(k.trim_end_matches('='));
            Ok(Zeroizing::new(key.map_err(|_| KeyError::NoJwk)?))
        }
        // A secret may stand in the wrong place, and is not repeated.
        (Some(other @ ("RSA" | "EC" | "OKP" | "AKP")), _) => {
            Err(KeyError::OtherJwk(other.to_owned()))
        }
        _ => Err(KeyError::NoJwk),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(peer: Peer, text: &str) -> Result<Vec<u8>, KeyError> {
        read(peer, text.as_bytes()).map(|key| key.as_bytes().to_vec())
    }

    #[test]
    fn a_key_is_read_as_its_server_writes_it() {
        let hex = format!("{PROSODY_PASETO}{}", "0aF1".repeat(16));
        let bytes = [0x0a, 0xf1].repeat(16);
        let base64 = STANDARD.encode(&bytes);
        for (peer, text) in [
            (Peer::ProsodyPaseto, format!("{hex}\n")),
            (
                Peer::ProsodyPaseto,
                format!("return {{\n\t[\"{PROSODY_FIELD}\"] = \"{hex}\";\n}};\n"),
            ),
            (Peer::Up, base64.clone()),
            (
                Peer::Up,
                format!(
                    r#"{{"component": {{}}, "registration": {{"sharedSecret": "{base64}", "x": 1}}}}"#
                ),
            ),
            (
                Peer::Ejabberd,
                format!(
                    r#"{{"k": "{}", "kty": "oct"}}"#,
                    URL_SAFE_NO_PAD.encode(&bytes)
                ),
            ),
        ] {
            assert_eq!(key(peer, &text), Ok(bytes.clone()), "{peer}: {text}");
        }
        let text = "short, with \"quotes\" ";
        let prosody = key(Peer::ProsodyJwt, &format!("{text}\n"));
        assert_eq!(prosody, Ok(text.as_bytes().to_vec()));
    }

    #[test]
    fn what_is_no_key_is_told_without_its_content() {
        let hex = "a7".repeat(32);
        for (peer, text, error) in [
            (Peer::ProsodyJwt, "\n", KeyError::Empty),
            (
                Peer::ProsodyJwt,
                "unified_push_secret = \"a7a7\"\n",
                KeyError::ProsodyConfiguration,
            ),
            (Peer::ProsodyPaseto, &*hex, KeyError::NoProsodyPaseto),
            (
                Peer::ProsodyPaseto,
                &format!("{PROSODY_PASETO}{}", &hex[1..]),
                KeyError::NoProsodyPaseto,
            ),
            (
                Peer::ProsodyPaseto,
                &format!("{PROSODY_PASETO}{}zz", &hex[2..]),
                KeyError::NoProsodyPaseto,
            ),
            (
                Peer::ProsodyPaseto,
                "return {\n\t[\"sub\"] = \"a7a7\";\n};",
                KeyError::NoField,
            ),
            (
                Peer::ProsodyPaseto,
                "return {\n\t[\"paseto_v3_local_key\"] = \"a7a7",
                KeyError::Lua(LuaError::Ends { line: 2 }),
            ),
            (Peer::Up, &*hex, KeyError::NoUp),
            (Peer::Up, "{\"registration\":", KeyError::NoUp),
            (Peer::Up, "{\"component\":{}}", KeyError::NoSharedSecret),
            (Peer::Ejabberd, &*hex, KeyError::NoJwk),
            (Peer::Ejabberd, "{\"kty\":\"oct\"}", KeyError::NoJwk),
            (
                Peer::Ejabberd,
                "{\"kty\":\"oct\",\"k\":\"\"}",
                KeyError::Empty,
            ),
            (
                Peer::Ejabberd,
                "{\"kty\":\"EC\",\"crv\":\"P-256\"}",
                KeyError::OtherJwk("EC".to_owned()),
            ),
        ] {
            let told = key(peer, text);
            assert_eq!(told, Err(error), "{peer}: {text}");
            let told = told.unwrap_err().to_string();
            assert!(!told.contains("a7a7"), "{told}");
        }
    }
}
