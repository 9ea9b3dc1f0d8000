//! What the doctor found, and how it is printed.

use clap::ValueEnum;
use serde_json::{Value, json};

use crate::cli::error::Exit;

/// How findings are printed.
#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    #[default]
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Ok,
    Warning,
    Wrong,
    /// It could not be looked at.
    Unknown,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Wrong => "wrong",
            Self::Unknown => "unknown",
        }
    }
}

/// All that was found. As text each finding is printed at once, because the next may take long.
pub struct Findings {
    format: Format,
    found: Vec<(&'static str, Verdict, String)>,
}

impl Findings {
    pub fn new(format: Format) -> Self {
        Self {
            format,
            found: Vec::new(),
        }
    }

    pub fn ok(&mut self, subject: &'static str, text: impl Into<String>) {
        self.add(subject, Verdict::Ok, text.into());
    }

    /// Works, but should be looked at.
    pub fn warning(&mut self, subject: &'static str, text: impl Into<String>) {
        self.add(subject, Verdict::Warning, text.into());
    }

    /// Pushes do not arrive, or will not. The text says what to do.
    pub fn wrong(&mut self, subject: &'static str, text: impl Into<String>) {
        self.add(subject, Verdict::Wrong, text.into());
    }

    pub fn unknown(&mut self, subject: &'static str, text: impl Into<String>) {
        self.add(subject, Verdict::Unknown, text.into());
    }

    fn add(&mut self, subject: &'static str, verdict: Verdict, text: String) {
        if self.format == Format::Text {
            println!("{:8} {subject}: {text}", verdict.word());
        }
        self.found.push((subject, verdict, text));
    }

    fn count(&self, verdict: Verdict) -> usize {
        let found = self.found.iter();
        found.filter(|(_, found, _)| *found == verdict).count()
    }

    /// Prints the rest; no when something is wrong.
    pub fn finish(self) -> Exit {
        let (wrong, warnings) = (self.count(Verdict::Wrong), self.count(Verdict::Warning));
        match self.format {
            Format::Text => println!("\nwrong: {wrong}, warnings: {warnings}"),
            Format::Json => {
                let findings = self.found.iter().map(|(subject, verdict, text)| {
                    json!({ "subject": subject, "verdict": verdict.word(), "text": text })
                });
                println!("{:#}", Value::from_iter(findings));
            }
        }
        match wrong {
            0 => Exit::Done,
            _ => Exit::No,
        }
    }
}
