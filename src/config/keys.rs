//! The one table of options. It drives what a file and the environment may name, the defaults,
//! `check-config --print`, and the tests of `docs/configuration.md` and
//! `unified-push.example.toml`.

use self::Fallback::{Derived, Fixed, Required, Unset};
use super::report::nearest;

/// One option.
#[derive(Debug)]
pub struct Key {
    /// As in the file, the section before a dot.
    pub path: &'static str,
    /// What a value looks like: the documentation's type, and the remedy for a bad one.
    pub form: &'static str,
    pub fallback: Fallback,
    /// The value is never shown.
    pub secret: bool,
}

/// What holds when no layer sets the option.
#[derive(Debug)]
pub enum Fallback {
    /// The start is refused.
    Required,
    /// Nothing.
    Unset,
    /// This value, as TOML.
    Fixed(&'static str),
    /// Something that depends on other options, in words.
    Derived(&'static str),
}

pub const KEYS: &[Key] = &[
    key(
        "acl",
        r#"list of domains, bare JIDs or `"*"`"#,
        Derived("the parent domain of `component.domain`"),
    ),
    key(
        "backend",
        r#"`"paseto"`, `"jwt"` or `"storage"`"#,
        Fixed(r#""paseto""#),
    ),
    key(
        "registration_ttl",
        r#"duration such as `"7d"`, or seconds; `"1s"` to `"36500d"`"#,
        Fixed(r#""7d""#),
    ),
    secret(
        "secret",
        "string of at least 32 bytes",
        Derived("the file `secret` in `state_dir`"),
    ),
    key("secret_file", "path", Unset),
    secret(
        "previous_secrets",
        "list of strings of at least 32 bytes",
        Unset,
    ),
    key("previous_secrets_file", r#"path, or `""` for none"#, Unset),
    key("state_dir", "path", Fixed(r#""/var/lib/unified-push""#)),
    secret(
        "store.url",
        r#"`"sqlite"` or `"postgres://USER:PASSWORD@HOST/DATABASE"`"#,
        Derived(r#"`"sqlite"`"#),
    ),
    key("store.url_file", "path", Unset),
    key("component.domain", "domain", Required),
    key(
        "component.host",
        "host name or address, without the port",
        Fixed(r#""127.0.0.1""#),
    ),
    key("component.port", "number, 1 to 65535", Fixed("5347")),
    secret("component.secret", "string", Required),
    key("component.secret_file", "path", Unset),
    key(
        "http.listen",
        "`\"ADDRESS:PORT\"` or `\"unix:/PATH\"`",
        Fixed(r#""127.0.0.1:8080""#),
    ),
    key(
        "http.public_url",
        "`https://` URL of at most 200 bytes, without query and fragment",
        Derived("`https://` and `component.domain`"),
    ),
    key("http.require_ttl", "`true` or `false`", Fixed("false")),
    key(
        "http.trusted_proxies",
        r#"list of addresses and networks such as `"10.0.0.0/8"`"#,
        Fixed(r#"["127.0.0.0/8", "::1"]"#),
    ),
    key(
        "admin.listen",
        "`\"ADDRESS:PORT\"` or `\"unix:/PATH\"`",
        Fixed(r#""127.0.0.1:8081""#),
    ),
    key(
        "delivery.ack_timeout",
        r#"duration such as `"800ms"`, or seconds; `"1ms"` to `"5s"`"#,
        Fixed(r#""1s""#),
    ),
    key(
        "delivery.default_ttl",
        r#"duration such as `"1d"`, or seconds; at least `"1s"`"#,
        Fixed(r#""1d""#),
    ),
    key(
        "delivery.max_ttl",
        r#"duration such as `"28d"`, or seconds; at least `"1s"`"#,
        Fixed(r#""28d""#),
    ),
    key(
        "delivery.max_queued_per_endpoint",
        "number, at least 1",
        Fixed("100"),
    ),
    key(
        "delivery.max_queued_per_jid",
        "number, at least 1",
        Fixed("1000"),
    ),
    key(
        "delivery.max_queued_bytes",
        r#"size such as `"1GiB"`, or bytes; at least `"1MiB"`"#,
        Fixed(r#""1GiB""#),
    ),
    key(
        "limits.endpoint_rate",
        r#"rate such as `"5/s, burst 120"` (units: `s`, `min`, `h`, `d`)"#,
        Fixed(r#""5/s, burst 120""#),
    ),
    key(
        "limits.client_guess_rate",
        r#"rate such as `"1/s, burst 30"`"#,
        Fixed(r#""1/s, burst 30""#),
    ),
    key(
        "limits.registrations_per_jid",
        "number, at least 1",
        Fixed("200"),
    ),
    key(
        "limits.registration_rate",
        r#"rate such as `"1/s, burst 60"`"#,
        Fixed(r#""1/s, burst 60""#),
    ),
    key(
        "limits.in_flight_memory",
        r#"size such as `"64MiB"`, or bytes; at least `"64KiB"`"#,
        Fixed(r#""64MiB""#),
    ),
    key("limits.connections", "number, at least 1", Fixed("10000")),
    key(
        "log.level",
        r#"`"error"`, `"warn"`, `"info"`, `"debug"` or `"trace"`"#,
        Fixed(r#""info""#),
    ),
    key("log.format", r#"`"text"` or `"json"`"#, Fixed(r#""text""#)),
];

/// What every environment variable of ours begins with.
pub const PREFIX: &str = "UNIFIED_PUSH_";

impl Key {
    /// The environment variable that sets it.
    pub fn variable(&self) -> String {
        format!("{PREFIX}{}", self.path.replace('.', "__").to_uppercase())
    }

    /// The table it stands in; empty for the top level.
    pub fn section(&self) -> &'static str {
        self.path
            .rsplit_once('.')
            .map_or("", |(section, _)| section)
    }

    /// Its name within its section.
    pub fn name(&self) -> &'static str {
        self.path.rsplit('.').next().unwrap_or(self.path)
    }
}

pub fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

pub fn is_section(path: &str) -> bool {
    KEYS.iter().any(|key| key.section() == path)
}

/// The option or section that a wrong path probably means. An option may be in the wrong section,
/// or have the prefix of mod_unified_push.
pub fn nearest_path(wrong: &str) -> Option<&'static str> {
    let name = wrong.rsplit('.').next().unwrap_or(wrong);
    let name = name.strip_prefix("unified_push_").unwrap_or(name);
    let mut same_name = KEYS.iter().filter(|key| key.name() == name);
    if let (Some(key), None) = (same_name.next(), same_name.next()) {
        return Some(key.path);
    }
    nearest(wrong, KEYS.iter().map(|key| key.path))
}

/// The section that a wrong one probably means.
pub fn nearest_section(wrong: &str) -> Option<&'static str> {
    nearest(wrong, KEYS.iter().map(Key::section))
}

const fn key(path: &'static str, form: &'static str, fallback: Fallback) -> Key {
    Key {
        path,
        form,
        fallback,
        secret: false,
    }
}

const fn secret(path: &'static str, form: &'static str, fallback: Fallback) -> Key {
    Key {
        path,
        form,
        fallback,
        secret: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_nest_with_two_underscores() {
        let variable = |path| find(path).unwrap().variable();
        assert_eq!(variable("acl"), "UNIFIED_PUSH_ACL");
        assert_eq!(
            variable("component.secret_file"),
            "UNIFIED_PUSH_COMPONENT__SECRET_FILE"
        );
    }

    #[test]
    fn a_wrong_path_finds_the_right_one() {
        assert_eq!(nearest_path("bakcend"), Some("backend"));
        assert_eq!(nearest_path("http.require_tll"), Some("http.require_ttl"));
        assert_eq!(nearest_path("port"), Some("component.port"));
        assert_eq!(nearest_path("unified_push_acl"), Some("acl"));
        assert_eq!(nearest_path("database.engine"), None);
        assert_eq!(nearest_section("htpp"), Some("http"));
        assert_eq!(nearest_section("database"), None);
    }
}
