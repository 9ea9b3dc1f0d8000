//! The chart's values and their schema.

use unified_push::config::{Described, Fallback, Kind};
use unified_push::token::Peer;

use crate::{comment, sections};

/// Where the chart has another default than the daemon, as YAML, or more to say.
const CHART: &[(&str, Option<&str>, &str)] = &[
    (
        "secret",
        None,
        "By default, the chart generates one and keeps it across upgrades.",
    ),
    ("secret_file", None, "Mount the file with extraVolumes."),
    (
        "previous_secrets_file",
        None,
        "Mount the file with extraVolumes.",
    ),
    (
        "import",
        None,
        "Each has a kind and a key_file, which you mount with extraVolumes.",
    ),
    ("state_dir", None, "The volume is mounted there."),
    ("store.url", Some("\"sqlite\""), ""),
    ("store.url_file", None, "Mount the file with extraVolumes."),
    // No server runs in the pod.
    (
        "component.host",
        Some("\"\""),
        "Required: the name of its Service.",
    ),
    (
        "component.tls_ca_file",
        None,
        "Mount the file with extraVolumes.",
    ),
    (
        "component.secret",
        None,
        "By default, the chart generates one and keeps it across upgrades.",
    ),
    (
        "component.secret_file",
        None,
        "Mount the file with extraVolumes.",
    ),
    // Others reach the pod from outside.
    (
        "http.listen",
        Some("\"0.0.0.0:8080\""),
        "For IPv6, use `[::]:8080`.",
    ),
    ("admin.listen", Some("\"0.0.0.0:8081\""), ""),
    // The proxy is another pod.
    (
        "http.trusted_proxies",
        Some(r#"["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"]"#),
        "Default: private networks, where the ingress controller's pods are.",
    ),
    (
        "delivery.max_queued_bytes",
        None,
        "With the embedded store, keep it below persistence.size.",
    ),
    (
        "limits.in_flight_memory",
        None,
        "Keep it well below resources.limits.memory.",
    ),
];

pub fn values() -> String {
    let mut text = String::new();
    for (section, options) in sections() {
        let indent = match section {
            "" => "  ",
            section => {
                text += &format!("\n  {section}:\n");
                "    "
            }
        };
        for option in options {
            let about = option.about();
            let special = CHART.iter().find(|(path, ..)| *path == about.path);
            let (value, more) = special.map_or((None, ""), |(_, value, more)| (*value, more));
            let value = value.unwrap_or_else(|| default(option));
            let default = match about.default {
                Fallback::Required if more.is_empty() => "Required.".to_owned(),
                Fallback::Derived(words) if more.is_empty() => format!("Default: {words}."),
                _ => more.to_owned(),
            };
            let words = match option.kind() {
                Kind::OneOf(words) => format!("({})", words.join(", ")),
                _ => String::new(),
            };
            let meaning = format!("{} {default} {words}", about.meaning);
            text += &comment(&format!("{indent}#"), &meaning);
            text += &format!("{indent}{}: {value}\n", about.name());
        }
    }
    text
}

/// As YAML, which takes what TOML and JSON have in common. What is empty is left to the daemon.
fn default(option: &dyn Described) -> &'static str {
    match (&option.about().default, option.kind()) {
        (Fallback::Fixed(literal), _) => literal,
        (_, Kind::Acl | Kind::Imports | Kind::Secrets(_)) => "[]",
        _ => "\"\"",
    }
}

/// JSON has no comments: what is made stands between `"config": {` and the brace that closes it.
pub fn schema(text: &str) -> String {
    let start = "    \"config\": {\n";
    let (head, rest) = text
        .split_once(start)
        .expect("the schema of the configuration");
    let (_, tail) = rest.split_once("\n    },\n").expect("its end");
    let mut parts = Vec::new();
    for (section, options) in sections() {
        let indent = if section.is_empty() { "" } else { "    " };
        let options = options.into_iter().map(|option| {
            let (name, check) = (option.about().name(), check(option));
            format!("        {indent}\"{name}\": {check}")
        });
        let options: Vec<_> = options.collect();
        parts.push(match section {
            "" => options.join(",\n"),
            section => format!(
                "        \"{section}\": {{\n          \"type\": \"object\",\n          \
                 \"additionalProperties\": false,\n          \"properties\": {{\n{}\n          }}\n        }}",
                options.join(",\n")
            ),
        });
    }
    format!(
        "{head}{start}      \"$comment\": \"Made from src/config/options.rs by tests/options.\",\n      \
         \"type\": \"object\",\n      \"additionalProperties\": false,\n      \"properties\": {{\n{}\n      \
         }}\n    }},\n{tail}",
        parts.join(",\n")
    )
}

/// Finds at once what cannot be right; the daemon's own check finds the rest.
fn check(option: &dyn Described) -> String {
    let defined = |name| format!("{{\"$ref\": \"#/definitions/{name}\"}}");
    match option.kind() {
        Kind::Acl => r#"{"type": "array", "items": {"type": "string", "minLength": 1}}"#.to_owned(),
        Kind::Count(range) if *range.end() >= u32::MAX.into() => defined("count"),
        Kind::Count(_) => defined("port"),
        Kind::Directory => r#"{"type": "string", "pattern": "^/.+$"}"#.to_owned(),
        Kind::Domain => r#"{"type": "string", "pattern": "^[^/@:\\s]*$"}"#.to_owned(),
        Kind::Duration { .. } => defined("duration"),
        Kind::File | Kind::FileOrNone => defined("file"),
        Kind::Flag => r#"{"type": "boolean"}"#.to_owned(),
        Kind::Host => {
            r#"{"type": "string", "pattern": "^(\\[?[0-9a-fA-F:]+\\]?|[^/@:\\s]*)$"}"#.to_owned()
        }
        Kind::Imports => {
            let peers = Peer::WITH_KEY.map(|peer| format!("\"{peer}\""));
            format!(
                "{{\"type\": \"array\", \"items\": {{\"type\": \"object\", \"additionalProperties\": false, \
                 \"required\": [\"kind\", \"key_file\"], \"properties\": {{\"kind\": {{\"enum\": [{}]}}, \
                 \"key_file\": {}}}}}}}",
                peers.join(", "),
                defined("file")
            )
        }
        Kind::Listen => defined("listen"),
        Kind::Server => {
            r#"{"type": "string", "pattern": "^(unix:/.+|\\[?[0-9a-fA-F:]+\\]?|[^/@:\\s]*)$"}"#
                .to_owned()
        }
        Kind::Networks => defined("networks"),
        Kind::OneOf(words) => {
            let words: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
            format!("{{\"enum\": [{}]}}", words.join(", "))
        }
        Kind::PublicUrl => {
            r#"{"type": "string", "pattern": "^(https?://[^?#\\s]+)?$", "maxLength": 200}"#
                .to_owned()
        }
        Kind::Rate { .. } => defined("rate"),
        Kind::Secret(1) => r#"{"type": "string"}"#.to_owned(),
        // Empty: the chart makes one.
        Kind::Secret(least) => {
            format!(
                r#"{{"type": "string", "anyOf": [{{"maxLength": 0}}, {{"minLength": {least}}}]}}"#
            )
        }
        Kind::Secrets(least) => {
            format!(r#"{{"type": "array", "items": {{"type": "string", "minLength": {least}}}}}"#)
        }
        Kind::Size { .. } => defined("size"),
        Kind::Store => r#"{"type": "string", "minLength": 1}"#.to_owned(),
    }
}
