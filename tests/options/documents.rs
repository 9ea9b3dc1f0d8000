//! The example file and the documentation.

use unified_push::config::{Described, Fallback, OPTIONS};

use crate::{comment, literal, sections};

const HEAD: &str = "\
# Configuration of unified-push, a UnifiedPush push server for XMPP. Every option is here with its
# default, or with an example where it has none. Two must be set: component.domain and
# component.secret_file. docs/configuration.md says more.
#
# Each option can also be set in the environment: [http] listen is UNIFIED_PUSH_HTTP__LISTEN.
#
# Made from src/config/options.rs by tests/options.
";

/// What stands above each section of the example.
const SECTIONS: &[(&str, &str)] = &[
    ("store", "The store of what must survive a crash."),
    (
        "component",
        "The link to the XMPP server (XEP-0114), as in the server's configuration.",
    ),
    ("http", "The listener for application servers."),
    ("admin", "The listener for monitoring."),
    ("delivery", "How long messages wait, and how many of them."),
    (
        "limits",
        "Limits on what accounts, senders and clients can use.",
    ),
    ("log", "The log."),
];

pub fn example() -> String {
    let mut text = HEAD.to_owned();
    for (section, options) in sections() {
        if !section.is_empty() {
            let about = SECTIONS.iter().find(|(name, _)| *name == section);
            let (_, about) = about.unwrap_or_else(|| panic!("what is [{section}] about?"));
            text += &format!("\n# {about}\n[{section}]\n");
        }
        for option in options {
            let about = option.about();
            let default = match about.default {
                Fallback::Required if about.is_secret => "Required, unless in a file.".to_owned(),
                Fallback::Required => "Required.".to_owned(),
                Fallback::Derived(words) => format!("Default: {words}."),
                Fallback::Unset | Fallback::Fixed(_) => String::new(),
            };
            let form = option.kind();
            text += "\n";
            text += &comment(
                "#",
                &format!("{} {default} ({form})", about.meaning).replace('`', ""),
            );
            text += &format!("#{} = {}\n", about.name(), literal(about));
        }
    }
    text
}

/// The rows of a table stand between its head and the next empty line. A comment above names the
/// sections that it is of: `<!-- options: http admin -->`; `.` is the top level.
pub fn tables(text: &str) -> String {
    const MARKER: &str = "<!-- options: ";
    let mut parts = text.split(MARKER);
    let mut made = parts.next().unwrap_or_default().to_owned();
    let mut told = Vec::new();
    for part in parts {
        let (names, rest) = part.split_once(" -->\n").expect("the marker ends");
        let tail = rest.split_once("\n\n").map(|(_, tail)| tail);
        made += &format!("{MARKER}{names} -->\n");
        made += "| option | environment | type | default | new value with | meaning |\n";
        made += "|---|---|---|---|---|---|\n";
        for name in names.split(' ') {
            let name = if name == "." { "" } else { name };
            let ours = OPTIONS
                .iter()
                .filter(|option| option.about().section() == name);
            made.extend(ours.map(|option| row(*option)));
            told.push(name);
        }
        made.extend(tail.map(|tail| format!("\n{tail}")));
    }
    for (section, _) in sections() {
        assert!(
            told.contains(&section),
            "docs/configuration.md has no table of [{section}]"
        );
    }
    made
}

fn row(option: &dyn Described) -> String {
    let about = option.about();
    let default = match about.default {
        Fallback::Required => "required".to_owned(),
        Fallback::Unset => "none".to_owned(),
        Fallback::Fixed(literal) => format!("`{literal}`"),
        Fallback::Derived(words) => words.to_owned(),
    };
    let change = if about.needs_restart {
        "restart"
    } else {
        "reload"
    };
    let details = match about.details {
        "" => String::new(),
        details => format!(" {details}"),
    };
    format!(
        "| `{}` | `{}` | {} | {default} | {change} | {}{details} |\n",
        about.path,
        about.variable(),
        option.kind(),
        about.meaning,
    )
}
