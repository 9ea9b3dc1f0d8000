//! Readers of the values that have a form of their own.

use std::{
    net::{IpAddr, Ipv6Addr},
    path::PathBuf,
};

use figment::value::{Dict, Value};
use ipnet::IpNet;
use jid::BareJid;
use toml::de::DeValue;

use super::forms::{Parsed, list, scalar, text};
use crate::model::{
    acl::Acl,
    endpoint::{PublicUrl, PublicUrlError},
    host::Host,
    listen::Listen,
    rate::Rate,
};

pub fn flag(value: &Value) -> Parsed<bool> {
    scalar(value)?
        .parse()
        .map_err(|_| "is neither true nor false".to_owned())
}

pub fn rate(value: &Value) -> Parsed<Rate> {
    text(value)?
        .parse()
        .map_err(|_| "is not a rate of at least 1".to_owned())
}

pub fn path(value: &Value) -> Parsed<PathBuf> {
    text(value).map(PathBuf::from)
}

/// None: an empty string, for no file.
pub fn path_or_none(value: &Value) -> Parsed<Option<PathBuf>> {
    match value.as_str() {
        Some("") => Ok(None),
        _ => path(value).map(Some),
    }
}

pub fn listen(value: &Value) -> Parsed<Listen> {
    let text = text(value)?;
    if let Some(path) = text.strip_prefix("unix:") {
        return socket(path).map(Listen::Unix);
    }
    let address = text
        .parse()
        .map_err(|_| "is neither an address with a port nor a Unix socket".to_owned())?;
    Ok(Listen::Tcp(address))
}

pub fn domain(value: &Value) -> Parsed<BareJid> {
    let text = text(value)?;
    if let Some(frame) = frame(text.as_bytes()) {
        return Err(format!("{frame}, which does not belong to a domain"));
    }
    match BareJid::new(&text) {
        Ok(jid) if jid.node().is_none() => Ok(jid),
        Ok(_) | Err(_) => Err("is not a domain".to_owned()),
    }
}

pub fn host(value: &Value) -> Parsed<String> {
    let text = text(value)?;
    let in_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if text.parse::<Ipv6Addr>().is_ok() || text.chars().all(in_name) {
        return Ok(text);
    }
    Err(match text.contains(':') {
        true => "is neither a name nor an address (the port has its own option)".to_owned(),
        false => "is neither a name nor an address".to_owned(),
    })
}

pub fn server(value: &Value) -> Parsed<Host> {
    match text(value)?.strip_prefix("unix:") {
        Some(path) => socket(path).map(Host::Unix),
        None => host(value).map(Host::Network),
    }
}

fn socket(path: &str) -> Parsed<PathBuf> {
    match path.starts_with('/') {
        true => Ok(path.into()),
        false => Err("is a Unix socket without an absolute path".to_owned()),
    }
}

pub fn public_url(value: &Value) -> Parsed<PublicUrl> {
    let text = text(value)?;
    if !text.is_ascii() {
        return Err(match ascii_host(&text) {
            Some(ascii) => format!("is not in ASCII; write it as {ascii:?}"),
            None => "is not in ASCII".to_owned(),
        });
    }
    text.parse().map_err(|e: PublicUrlError| e.to_string())
}

/// The same URL with an internationalized domain name as DNS has it.
fn ascii_host(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let end = rest.find(['/', ':']).unwrap_or(rest.len());
    let host = idna::domain_to_ascii(&rest[..end]).ok()?;
    let ascii = format!("{scheme}://{host}{}", &rest[end..]);
    ascii.is_ascii().then_some(ascii)
}

pub fn acl(value: &Value) -> Parsed<Acl> {
    each(value, |item| item.parse().map_err(|e| format!("{e}"))).map(Acl::new)
}

/// An address alone is a network of one.
pub fn networks(value: &Value) -> Parsed<Vec<IpNet>> {
    each(value, |item| {
        let address = item.parse::<IpAddr>().map(IpNet::from);
        address
            .or_else(|_| item.parse())
            .map_err(|_| format!("{item:?} is neither an address nor a network"))
    })
}

fn each<T>(value: &Value, parse: impl Fn(&str) -> Parsed<T>) -> Parsed<Vec<T>> {
    list(value)?
        .iter()
        .map(|item| parse(item).map_err(|fault| format!("has a bad entry: {fault}")))
        .collect()
}

/// What surrounds a text that was pasted with more than was meant, in words that read on from its
/// name. It tells nothing of what is between.
pub fn frame(text: &[u8]) -> Option<&'static str> {
    const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
    let is_quote = |byte: &u8| matches!(byte, b'"' | b'\'' | b'`');
    match text {
        _ if text.starts_with(BYTE_ORDER_MARK) => Some("begins with a byte order mark"),
        [first, .., last] if first == last && is_quote(first) => Some("is in quotation marks"),
        [first, ..] if first.is_ascii_whitespace() => Some("begins with a blank"),
        [.., b'\n' | b'\r'] => Some("ends with an empty line"),
        [.., last] if last.is_ascii_whitespace() => Some("ends with a blank"),
        _ => None,
    }
}

/// Nothing is parsed further before the option's type is known.
pub fn of_toml(item: &DeValue<'_>) -> Value {
    match item {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Integer(number) => match i128::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Value::from(number),
            // Too large for any option, but still a number.
            Err(_) => Value::from(number.as_str().parse().unwrap_or(f64::MAX)),
        },
        DeValue::Float(number) => Value::from(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(flag) => Value::from(*flag),
        // No option is a date, so its text serves to complain of it.
        DeValue::Datetime(date) => Value::from(date.to_string()),
        DeValue::Array(items) => items
            .iter()
            .map(|item| of_toml(item.get_ref()))
            .collect::<Vec<_>>()
            .into(),
        DeValue::Table(table) => table
            .iter()
            .map(|(name, item)| (name.get_ref().to_string(), of_toml(item.get_ref())))
            .collect::<Dict>()
            .into(),
    }
}
