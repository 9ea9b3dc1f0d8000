//! From a written value to its type. Each function says what is wrong in words that read on from
//! the option's name; what would be right is the option's `form`.
//!
//! Numbers and flags may be written as strings, and lists as comma-separated strings, because the
//! environment knows nothing else.

use std::{
    net::{IpAddr, Ipv6Addr},
    ops::RangeInclusive,
    path::PathBuf,
    time::Duration,
};

use bytesize::ByteSize;
use figment::value::Value;
use ipnet::IpNet;
use jid::BareJid;

use super::{Level, LogFormat};
use crate::{
    model::{
        acl::Acl,
        endpoint::{PublicUrl, PublicUrlError},
        listen::Listen,
        message::Ttl,
        rate::Rate,
    },
    token::Backend,
};

pub type Parsed<T> = Result<T, String>;

/// The value as TOML, on one line: JSON's scalars are TOML's.
pub fn literal(value: &Value) -> String {
    match value {
        Value::Array(_, items) => {
            let items: Vec<String> = items.iter().map(literal).collect();
            format!("[{}]", items.join(", "))
        }
        _ => serde_json::to_string(value).unwrap_or_default(),
    }
}

pub fn text(value: &Value) -> Parsed<String> {
    match value {
        Value::String(_, text) if text.is_empty() => Err("is empty".to_owned()),
        Value::String(_, text) => Ok(text.clone()),
        _ => Err("is not a string; put it in quotes".to_owned()),
    }
}

/// An array of strings, or one string with commas.
pub fn list(value: &Value) -> Parsed<Vec<String>> {
    let fault = || "is not a list of strings".to_owned();
    match value {
        Value::String(_, text) => Ok(text
            .split(',')
            .map(|item| item.trim().to_owned())
            .filter(|item| !item.is_empty())
            .collect()),
        Value::Array(_, items) => items
            .iter()
            .map(|item| item.as_str().map(str::to_owned).ok_or_else(fault))
            .collect(),
        _ => Err(fault()),
    }
}

pub fn flag(value: &Value) -> Parsed<bool> {
    scalar(value)?
        .parse()
        .map_err(|_| "is neither true nor false".to_owned())
}

pub fn number<T: TryFrom<u64>>(range: RangeInclusive<u64>) -> impl Fn(&Value) -> Parsed<T> {
    move |value| {
        let number = scalar(value)?
            .parse()
            .map_err(|_| "is not a whole number".to_owned())?;
        within(&range, &number, u64::to_string)?;
        T::try_from(number).map_err(|_| "is too large".to_owned())
    }
}

pub fn duration(range: RangeInclusive<Duration>) -> impl Fn(&Value) -> Parsed<Duration> {
    move |value| {
        let text = scalar(value)?;
        let duration = match text.parse() {
            Ok(seconds) => Duration::from_secs(seconds),
            Err(_) => {
                humantime::parse_duration(&text).map_err(|_| "is not a duration".to_owned())?
            }
        };
        let show = |limit: &Duration| humantime::format_duration(*limit).to_string();
        within(&range, &duration, show)?;
        Ok(duration)
    }
}

pub fn ttl(value: &Value) -> Parsed<Ttl> {
    let duration = duration(Duration::from_secs(1)..=Duration::MAX)(value)?;
    Ok(Ttl::from_secs(duration.as_secs()))
}

/// Bytes, at least `least`.
pub fn size(least: ByteSize) -> impl Fn(&Value) -> Parsed<u64> {
    move |value| {
        let size: ByteSize = scalar(value)?
            .parse()
            .map_err(|_| "is not a size".to_owned())?;
        within(&(least..=ByteSize(u64::MAX)), &size, ByteSize::to_string)?;
        Ok(size.as_u64())
    }
}

pub fn rate(value: &Value) -> Parsed<Rate> {
    text(value)?
        .parse()
        .map_err(|_| "is not a rate of at least 1".to_owned())
}

pub fn path(value: &Value) -> Parsed<PathBuf> {
    text(value).map(PathBuf::from)
}

pub fn listen(value: &Value) -> Parsed<Listen> {
    let text = text(value)?;
    if let Some(path) = text.strip_prefix("unix:") {
        return match path.starts_with('/') {
            true => Ok(Listen::Unix(path.into())),
            false => Err("is a socket without an absolute path".to_owned()),
        };
    }
    let address = text
        .parse()
        .map_err(|_| "is neither an address with a port nor a unix socket".to_owned())?;
    Ok(Listen::Tcp(address))
}

pub fn domain(value: &Value) -> Parsed<BareJid> {
    match BareJid::new(&text(value)?) {
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

pub fn public_url(value: &Value) -> Parsed<PublicUrl> {
    text(value)?
        .parse()
        .map_err(|e: PublicUrlError| e.to_string())
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

pub fn backend(value: &Value) -> Parsed<Backend> {
    match text(value)?.as_str() {
        "paseto" => Ok(Backend::Paseto),
        "jwt" => Ok(Backend::Jwt),
        "storage" => Ok(Backend::Storage),
        _ => Err("is no token back end".to_owned()),
    }
}

pub fn level(value: &Value) -> Parsed<Level> {
    match text(value)?.as_str() {
        "error" => Ok(Level::Error),
        "warn" => Ok(Level::Warn),
        "info" => Ok(Level::Info),
        "debug" => Ok(Level::Debug),
        "trace" => Ok(Level::Trace),
        _ => Err("is no log level".to_owned()),
    }
}

pub fn log_format(value: &Value) -> Parsed<LogFormat> {
    match text(value)?.as_str() {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("is no log format".to_owned()),
    }
}

/// What may stand without quotes, as text.
fn scalar(value: &Value) -> Parsed<String> {
    match value {
        Value::Num(..) | Value::Bool(..) => Ok(literal(value)),
        _ => text(value),
    }
}

fn within<T: PartialOrd>(
    range: &RangeInclusive<T>,
    value: &T,
    show: impl Fn(&T) -> String,
) -> Parsed<()> {
    if value < range.start() {
        return Err(format!("is less than {}", show(range.start())));
    }
    if value > range.end() {
        return Err(format!("is more than {}", show(range.end())));
    }
    Ok(())
}

fn each<T>(value: &Value, parse: impl Fn(&str) -> Parsed<T>) -> Parsed<Vec<T>> {
    list(value)?
        .iter()
        .map(|item| parse(item).map_err(|fault| format!("has a bad entry: {fault}")))
        .collect()
}
