//! `unified-push manual`: the manual pages and the shells' completions, for packages and for whoever
//! installs the program with cargo.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::CommandFactory;
use clap_complete::{Shell, aot};
use clap_mangen::roff::{Inline, Roff, bold, roman};

use super::{
    Cli,
    error::{CliError, Exit},
};
use crate::config::{Described, Fallback, OPTIONS};

const NAME: &str = "unified-push";

/// Below the directory, where programs look for completions, and under which name.
const COMPLETIONS: [(Shell, &str, &str); 3] = [
    (Shell::Bash, "bash-completion/completions", NAME),
    (Shell::Zsh, "zsh/site-functions", "_unified-push"),
    (
        Shell::Fish,
        "fish/vendor_completions.d",
        "unified-push.fish",
    ),
];

/// Writes them below a directory that is laid out like `/usr/share`.
pub fn run(share: &Path) -> Result<Exit, CliError> {
    write(share).map_err(|(path, source)| CliError::Manual { path, source })?;
    Ok(Exit::Done)
}

fn write(share: &Path) -> Result<(), (PathBuf, io::Error)> {
    let command = Cli::command().disable_help_subcommand(true);
    for (shell, directory, name) in COMPLETIONS {
        let mut text = Vec::new();
        aot::generate(shell, &mut command.clone(), NAME, &mut text);
        file(share.join(directory).join(name), &text)?;
    }
    let text = configuration().render();
    file(
        share.join("man/man5/unified-push-config.5"),
        text.as_bytes(),
    )?;
    // One of the program and one of each subcommand.
    let pages = share.join("man/man1");
    fs::create_dir_all(&pages)
        .and_then(|()| clap_mangen::generate_to(command, &pages))
        .map_err(|source| (pages, source))
}

fn file(path: PathBuf, text: &[u8]) -> Result<(), (PathBuf, io::Error)> {
    let directory = path.parent().unwrap_or(&path);
    fs::create_dir_all(directory)
        .and_then(|()| fs::write(&path, text))
        .map_err(|source| (path, source))
}

/// `unified-push-config(5)`, of the table of options.
fn configuration() -> Roff {
    let mut page = Roff::new();
    page.control("TH", ["unified-push-config", "5"]);
    page.control("SH", ["NAME"]);
    page.text([roman(
        "unified-push-config - the configuration of unified-push",
    )]);
    page.control("SH", ["DESCRIPTION"]);
    page.text(inline(
        "`unified-push` reads its options from a TOML file, and from environment variables, which take \
         precedence. The file is the one that `--config` or `UNIFIED_PUSH_CONFIG` names, or else \
         `/etc/unified-push/config.toml`. `unified-push check-config` reports every problem at once.",
    ));
    page.control("PP", []);
    page.text(inline(
        "An option with a dot in its name stands in a section: `http.listen` is `listen` in `[http]`. An \
         option that takes a restart says so; the others take effect with a reload (SIGHUP).",
    ));
    page.control("SH", ["OPTIONS"]);
    for option in OPTIONS {
        describe(&mut page, *option);
    }
    page.control("SH", ["SEE ALSO"]);
    page.text([bold("unified-push"), roman("(1)")]);
    page
}

fn describe(page: &mut Roff, option: &dyn Described) {
    let about = option.about();
    page.control("TP", []);
    page.text([
        bold(about.path),
        roman(format!(" ({})", option.kind()).replace('`', "")),
    ]);
    let default = match about.default {
        Fallback::Required => "It is required.".to_owned(),
        Fallback::Unset => String::new(),
        Fallback::Fixed(value) => format!("Default: `{value}`."),
        Fallback::Derived(words) => format!("Default: {words}."),
    };
    let restart = if about.needs_restart {
        "A new value takes a restart."
    } else {
        ""
    };
    let variable = format!("Environment: `{}`.", about.variable());
    let sentences = [about.meaning, about.details, &default, &variable, restart];
    let sentences: Vec<_> = sentences.into_iter().filter(|it| !it.is_empty()).collect();
    page.text(inline(&sentences.join(" ")));
}

/// Markdown whose only mark is the backtick.
fn inline(text: &str) -> Vec<Inline> {
    let parts = text.split('`').enumerate();
    parts
        .map(|(index, part)| match index % 2 {
            0 => roman(part),
            _ => bold(part),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_option_is_on_the_page_of_the_configuration() {
        let text = configuration().render();
        for option in OPTIONS {
            let about = option.about();
            let name = about.path.replace('-', r"\-");
            assert!(text.contains(&name), "{}", about.path);
            assert!(text.contains(&about.variable()), "{}", about.path);
        }
        assert!(!text.contains('`'), "{text}");
    }
}
