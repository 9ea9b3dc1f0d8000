//! What values look like: a form reads a written value into its type, or says what is wrong in words
//! that read on from the option's name. What would be right is the form's [`Kind`], of which the
//! documentation, the chart's schema and the types of the NixOS module are made, too.
//!
//! Numbers and flags may be written as strings, and lists as comma-separated strings, because the
//! environment knows nothing else.

use std::{fmt, ops::RangeInclusive, time::Duration};

use bytesize::ByteSize;
use figment::value::Value;

use crate::token::Peer;

pub type Parsed<T> = Result<T, String>;

/// How the values of an option are written.
pub trait Form {
    type Value;

    fn parse(&self, value: &Value) -> Parsed<Self::Value>;

    fn kind(&self) -> Kind;
}

/// A form as data. Limits are as a person writes them, examples as TOML has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Acl,
    Count(RangeInclusive<u64>),
    Directory,
    Domain,
    Duration {
        such_as: &'static str,
        least: &'static str,
        most: Option<&'static str>,
    },
    File,
    /// Or an empty string.
    FileOrNone,
    Flag,
    Host,
    Imports,
    Listen,
    Networks,
    OneOf(Vec<&'static str>),
    PublicUrl,
    Rate {
        such_as: &'static str,
    },
    /// A string of at least so many bytes.
    Secret(usize),
    /// A list of such strings.
    Secrets(usize),
    /// A host or a Unix socket.
    Server,
    Size {
        such_as: &'static str,
        least: &'static str,
    },
    Store,
}

/// The documentation's type, and the remedy for a bad value. In Markdown.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Acl => f.write_str(r#"list of domains, `"*.example.org"`, bare JIDs or `"*"`"#),
            // What nobody reaches needs no word.
            Self::Count(range) if *range.end() >= u32::MAX.into() => {
                write!(f, "number, at least {}", range.start())
            }
            Self::Count(range) => write!(f, "number from {} to {}", range.start(), range.end()),
            Self::Directory | Self::File => f.write_str("path"),
            Self::Domain => f.write_str("domain"),
            Self::Duration {
                such_as,
                least,
                most,
            } => {
                write!(f, "duration such as `{such_as}`, or a number of seconds; ")?;
                match most {
                    Some(most) => write!(f, "from `\"{least}\"` to `\"{most}\"`"),
                    None => write!(f, "at least `\"{least}\"`"),
                }
            }
            Self::FileOrNone => f.write_str(r#"path, or `""` for none"#),
            Self::Flag => f.write_str("`true` or `false`"),
            Self::Host => f.write_str("host name or address, without the port"),
            Self::Imports => {
                let peers = Peer::WITH_KEY.map(|peer| format!("`\"{peer}\"`"));
                write!(
                    f,
                    "list of tables with `kind` ({}) and `key_file` or `key`",
                    peers.join(", ")
                )
            }
            Self::Listen => f.write_str(r#"`"ADDRESS:PORT"` or `"unix:/PATH"`"#),
            Self::Networks => {
                f.write_str(r#"list of addresses and networks such as `"10.0.0.0/8"`"#)
            }
            Self::OneOf(words) => {
                for (index, word) in words.iter().enumerate() {
                    let separator = match index {
                        0 => "",
                        _ if index + 1 == words.len() => " or ",
                        _ => ", ",
                    };
                    write!(f, "{separator}`\"{word}\"`")?;
                }
                Ok(())
            }
            Self::PublicUrl => f.write_str(
                "`https://` URL of at most 200 bytes, in ASCII, without a query or fragment",
            ),
            Self::Rate { such_as } => {
                write!(
                    f,
                    "rate such as `{such_as}`, with the unit `s`, `min`, `h` or `d`"
                )
            }
            Self::Secret(1) => f.write_str("string"),
            Self::Secret(least) => write!(f, "string of at least {least} bytes"),
            Self::Secrets(least) => write!(f, "list of strings of at least {least} bytes"),
            Self::Server => {
                f.write_str(r#"host name or address, without the port, or `"unix:/PATH"`"#)
            }
            Self::Size { such_as, least } => write!(
                f,
                "size such as `{such_as}`, or a number of bytes; at least `\"{least}\"`"
            ),
            Self::Store => {
                f.write_str(r#"`"sqlite"` or `"postgres://USER:PASSWORD@HOST/DATABASE"`"#)
            }
        }
    }
}

/// Whole numbers.
pub struct Count(pub RangeInclusive<u64>);

/// Lengths of time, as humantime writes them, or in seconds.
pub struct Span {
    pub such_as: &'static str,
    pub least: &'static str,
    pub most: Option<&'static str>,
}

/// Numbers of bytes.
pub struct Size {
    pub such_as: &'static str,
    pub least: &'static str,
}

/// One of a few words.
pub struct OneOf<T: 'static>(pub &'static [(&'static str, T)]);

/// A form that no other option shares the limits of.
pub struct As<T> {
    pub kind: Kind,
    pub parse: fn(&Value) -> Parsed<T>,
}

impl Form for Count {
    type Value = u64;

    fn parse(&self, value: &Value) -> Parsed<u64> {
        let number = scalar(value)?
            .parse()
            .map_err(|_| "is not a whole number".to_owned())?;
        if number < *self.0.start() {
            return Err(format!("is less than {}", self.0.start()));
        }
        if number > *self.0.end() {
            return Err(format!("is more than {}", self.0.end()));
        }
        Ok(number)
    }

    fn kind(&self) -> Kind {
        Kind::Count(self.0.clone())
    }
}

impl Form for Span {
    type Value = Duration;

    fn parse(&self, value: &Value) -> Parsed<Duration> {
        let text = scalar(value)?;
        let duration = match text.parse() {
            Ok(seconds) => Duration::from_secs(seconds),
            Err(_) => {
                humantime::parse_duration(&text).map_err(|_| "is not a duration".to_owned())?
            }
        };
        let limit = |text| humantime::parse_duration(text).expect("the limits are durations");
        if duration < limit(self.least) {
            return Err(format!("is less than {}", self.least));
        }
        match self.most {
            Some(most) if duration > limit(most) => Err(format!("is more than {most}")),
            Some(_) | None => Ok(duration),
        }
    }

    fn kind(&self) -> Kind {
        Kind::Duration {
            such_as: self.such_as,
            least: self.least,
            most: self.most,
        }
    }
}

impl Form for Size {
    type Value = u64;

    fn parse(&self, value: &Value) -> Parsed<u64> {
        let size: ByteSize = scalar(value)?
            .parse()
            .map_err(|_| "is not a size".to_owned())?;
        let least: ByteSize = self.least.parse().expect("the limit is a size");
        match size < least {
            true => Err(format!("is less than {}", self.least)),
            false => Ok(size.as_u64()),
        }
    }

    fn kind(&self) -> Kind {
        Kind::Size {
            such_as: self.such_as,
            least: self.least,
        }
    }
}

impl<T: Copy> Form for OneOf<T> {
    type Value = T;

    fn parse(&self, value: &Value) -> Parsed<T> {
        let text = text(value)?;
        let mut words = self.0.iter();
        let found = words.find(|(word, _)| *word == text);
        found
            .map(|(_, meant)| *meant)
            .ok_or_else(|| "is none of the words that it may be".to_owned())
    }

    fn kind(&self) -> Kind {
        Kind::OneOf(self.0.iter().map(|(word, _)| *word).collect())
    }
}

impl<T> Form for As<T> {
    type Value = T;

    fn parse(&self, value: &Value) -> Parsed<T> {
        (self.parse)(value)
    }

    fn kind(&self) -> Kind {
        self.kind.clone()
    }
}

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

/// What may stand without quotes, as text.
pub fn scalar(value: &Value) -> Parsed<String> {
    match value {
        Value::Num(..) | Value::Bool(..) => Ok(literal(value)),
        _ => text(value),
    }
}
