//! The settings of the NixOS module.

use unified_push::config::{Described, Fallback, Kind};

use crate::sections;

/// What the module does by an option of its own (docs/install-nixos.md), or by itself.
const NOT_IN_SETTINGS: &[&str] = &[
    "secret",
    "secret_file",
    "previous_secrets",
    "previous_secrets_file",
    "component.secret",
    "component.secret_file",
    "store.url_file",
    "state_dir",
];

/// What else is to be said of an option there.
const MORE: &[(&str, &str)] = &[
    (
        "import",
        "Use `key_file`: only root has to be able to read the file.",
    ),
    (
        "http.listen",
        "systemd listens there, so any port and any path will do.",
    ),
    (
        "store.url",
        "A URL with a password belongs in the file that {option}`services.unified-push.store.urlFile` \
         names.",
    ),
];

pub fn settings() -> String {
    let mut text = String::new();
    for (section, options) in sections() {
        let ours = |option: &&dyn Described| !NOT_IN_SETTINGS.contains(&option.about().path);
        let options: Vec<_> = options.into_iter().filter(ours).map(option).collect();
        match section {
            "" => text += &options.concat(),
            section => text += &format!("    {section} = {{\n{}    }};\n", options.concat()),
        }
    }
    text
}

fn option(option: &dyn Described) -> String {
    let about = option.about();
    let more = MORE.iter().find(|(path, _)| *path == about.path);
    let more = more.map_or("", |(_, more)| more);
    let (of_type, default, words) = match about.default {
        Fallback::Fixed(literal) => (of_type(&option.kind()), nix(literal), String::new()),
        Fallback::Required => (or_null(option), "null".to_owned(), "Required.".to_owned()),
        Fallback::Derived(words) => (
            or_null(option),
            "null".to_owned(),
            format!("Null stands for {words}."),
        ),
        Fallback::Unset => (or_null(option), "null".to_owned(), String::new()),
    };
    // One of a few words: the type tells them.
    let form = match option.kind() {
        Kind::OneOf(_) | Kind::Flag | Kind::Count(_) => String::new(),
        form => format!("({form})"),
    };
    let indent = if about.section().is_empty() {
        "    "
    } else {
        "      "
    };
    let description = [about.meaning, &words, more, &form];
    let description = description.into_iter().filter(|part| !part.is_empty());
    let description = description.collect::<Vec<_>>().join(" ");
    assert!(
        !description.contains("''") && !description.contains("${"),
        "{description}"
    );
    let description = crate::comment(&format!("{indent} "), &description);
    let name = about.name();
    format!("{indent}{name} = option {of_type} {default} ''\n{description}{indent}'';\n")
}

fn of_type(kind: &Kind) -> String {
    match kind {
        Kind::Acl | Kind::Networks | Kind::Secrets(_) => "(types.listOf types.str)",
        Kind::Imports => "(types.listOf (types.attrsOf types.str))",
        Kind::Count(range) if *range.end() == u64::from(u16::MAX) => "types.port",
        Kind::Count(_) => "types.ints.positive",
        Kind::Duration { .. } | Kind::Size { .. } => "(types.either types.ints.positive types.str)",
        Kind::Flag => "types.bool",
        Kind::OneOf(words) => {
            let words: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
            return format!("(types.enum [ {} ])", words.join(" "));
        }
        Kind::Directory
        | Kind::Domain
        | Kind::File
        | Kind::FileOrNone
        | Kind::Host
        | Kind::Listen
        | Kind::PublicUrl
        | Kind::Rate { .. }
        | Kind::Secret(_)
        | Kind::Server
        | Kind::Store => "types.str",
    }
    .to_owned()
}

fn or_null(option: &dyn Described) -> String {
    format!("(types.nullOr {})", of_type(&option.kind()))
}

/// TOML's lists have commas, Nix's have none; the rest is alike.
fn nix(literal: &str) -> String {
    match literal
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        Some(items) => format!("[ {} ]", items.replace(", ", " ")),
        None => literal.to_owned(),
    }
}
