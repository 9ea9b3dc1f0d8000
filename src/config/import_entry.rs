//! How `[[import]]` is written.

use std::path::PathBuf;

use figment::value::{Dict, Value};
use toml::de::DeValue;

use super::{
    forms::{Parsed, text},
    values::of_toml,
};
use crate::{model::secret::Secret, token::Peer};

/// A table of the list.
pub struct Entry {
    pub peer: Peer,
    pub key: Written,
}

pub enum Written {
    InPlace(Secret),
    InFile(PathBuf),
}

/// The tables or, as the environment has it, their text in TOML.
pub fn parse(value: &Value) -> Parsed<Vec<Entry>> {
    let fault = || "is not a list of tables".to_owned();
    let read;
    let tables = match value {
        Value::Array(_, tables) => tables,
        Value::String(_, text) if text.trim().is_empty() => return Ok(Vec::new()),
        Value::String(_, text) => {
            match DeValue::parse(text).map(|parsed| of_toml(parsed.get_ref())) {
                Ok(Value::Array(_, tables)) => {
                    read = tables;
                    &read
                }
                Ok(_) | Err(_) => return Err(fault()),
            }
        }
        _ => return Err(fault()),
    };
    let entries = tables.iter().zip(1..).map(|(table, number)| {
        let table = table.as_dict().ok_or_else(fault)?;
        entry(table).map_err(|fault| format!("has an entry, number {number}, {fault}"))
    });
    entries.collect()
}

fn entry(table: &Dict) -> Parsed<Entry> {
    let field = |name: &str| {
        let value = table.get(name).map(text).transpose();
        value.map_err(|fault| format!("whose `{name}` {fault}"))
    };
    let kind = field("kind")?.ok_or("without `kind`")?;
    let mut peers = Peer::WITH_KEY.into_iter();
    let peer = peers.find(|peer| peer.to_string() == kind);
    let peer = peer.ok_or_else(|| match &*kind {
        "prosody-storage" => {
            "whose `kind` needs no entry: `unified-push import prosody-storage DIRECTORY` takes such \
             endpoints over"
        }
        _ => "whose `kind` is none that there is",
    })?;
    let key = match (field("key")?, field("key_file")?) {
        (Some(key), None) => Written::InPlace(Secret::new(key)),
        (None, Some(path)) => Written::InFile(path.into()),
        (Some(_), Some(_)) => return Err("with both `key` and `key_file`".to_owned()),
        (None, None) => return Err("without `key_file`".to_owned()),
    };
    let mut names = table.keys().map(String::as_str);
    match names.find(|name| !["kind", "key", "key_file"].contains(name)) {
        Some("path") => {
            Err("with `path`, which is not needed: an endpoint is found in any path".to_owned())
        }
        Some(name) => Err(format!("with `{name}`, which is not known")),
        None => Ok(Entry { peer, key }),
    }
}
