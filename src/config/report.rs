//! What is wrong with a configuration, all of it at once: where, what, and the remedy. Values of
//! secrets never get here.

use std::fmt::{self, Write};

/// Why a configuration cannot be used.
#[derive(Debug)]
pub struct Report {
    /// Which file was read, or why none.
    pub(super) file: String,
    pub(super) problems: Vec<Problem>,
    /// They may hint at the cause, such as a misspelt variable.
    pub(super) warnings: Vec<String>,
}

#[derive(Debug)]
pub struct Problem {
    /// The option, or the file when it is about none.
    pub subject: String,
    /// Its value, as TOML; None for a secret.
    pub value: Option<String>,
    /// The file with line and column, or the environment variable.
    pub origin: Option<String>,
    /// Reads on from the subject.
    pub what: String,
    pub remedy: String,
}

impl Problem {
    pub fn new(
        subject: impl Into<String>,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            subject: subject.into(),
            value: None,
            origin: None,
            what: what.into(),
            remedy: remedy.into(),
        }
    }

    fn line(&self) -> String {
        format!("{self}; {}", self.remedy)
    }

    pub fn at(self, origin: impl Into<String>) -> Self {
        Self {
            origin: Some(origin.into()),
            ..self
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.subject)?;
        if let Some(value) = &self.value {
            write!(f, " = {value}")?;
        }
        if let Some(origin) = &self.origin {
            write!(f, " ({origin})")?;
        }
        write!(f, ": {}", self.what)
    }
}

impl Report {
    /// Each problem and warning on a line of its own, for the log.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let problems = self.problems.iter().map(Problem::line);
        problems.chain(self.warnings.iter().cloned())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problems = counted(self.problems.len(), "problem");
        let file = &self.file;
        write!(
            f,
            "unified-push: the configuration ({file}) has {problems}\n\n"
        )?;
        for problem in &self.problems {
            write!(f, "  {problem}\n    {}\n", problem.remedy)?;
        }
        f.write_str(&listed(&self.warnings))
    }
}

impl std::error::Error for Report {}

/// What `check-config` says of a valid configuration.
pub fn verdict(file: &str, warnings: &[String]) -> String {
    format!(
        "unified-push: the configuration ({file}) is valid\n{}",
        listed(warnings)
    )
}

/// The candidate that a misspelt name probably means, if one is near.
pub fn nearest<'a>(wrong: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let tolerance = wrong.chars().count() / 4 + 1;
    candidates
        .map(|name| (strsim::damerau_levenshtein(wrong, name), name))
        .filter(|(distance, name)| *distance <= tolerance && *distance < name.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

fn listed(warnings: &[String]) -> String {
    let mut text = String::new();
    if !warnings.is_empty() {
        let _ = write!(text, "\n{}:\n\n", counted(warnings.len(), "warning"));
    }
    for warning in warnings {
        let _ = writeln!(text, "  {warning}");
    }
    text
}

fn counted(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_where_what_and_the_remedy() {
        let listen = Problem {
            value: Some("\"nowhere\"".to_owned()),
            ..Problem::new("http.listen", "is not an address with a port", "write a:1")
        };
        let report = Report {
            file: "config.toml".to_owned(),
            problems: vec![
                Problem::new("component.secret", "is missing", "set it"),
                listen.at("config.toml:12:10"),
            ],
            warnings: vec!["UNIFIED_PUSH_X is not an option".to_owned()],
        };
        assert_eq!(
            report.to_string(),
            "unified-push: the configuration (config.toml) has 2 problems\n\n  \
             component.secret: is missing\n    set it\n  \
             http.listen = \"nowhere\" (config.toml:12:10): is not an address with a port\n    \
             write a:1\n\n1 warning:\n\n  UNIFIED_PUSH_X is not an option\n"
        );
    }
}
