//! Figures of repeated runs, and the tables in `docs/performance/`.

use std::{fmt, fs};

/// One file for each part.
const TABLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/performance");

/// The middle one of some figures, with the least and the greatest.
#[derive(Clone, Copy)]
pub struct Spread {
    pub median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Self {
        let mut figures: Vec<f64> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        Self {
            median: figures[figures.len() / 2],
            min: figures[0],
            max: figures[figures.len() - 1],
        }
    }
}

/// With the decimals that are asked for.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.median.fmt(f)?;
        if self.min < self.max {
            f.write_str(" (")?;
            self.min.fmt(f)?;
            f.write_str("-")?;
            self.max.fmt(f)?;
            f.write_str(")")?;
        }
        Ok(())
    }
}

/// A table of Markdown.
pub struct Table(String);

impl Table {
    pub fn new(columns: &[&str]) -> Self {
        let mut table = Self(String::new());
        table.row(columns);
        table.row(&vec!["---"; columns.len()]);
        table
    }

    pub fn row(&mut self, cells: &[impl AsRef<str>]) {
        for cell in cells {
            self.0 += "| ";
            self.0 += cell.as_ref();
            self.0 += " ";
        }
        self.0 += "|\n";
    }

    /// Prints it and, if asked to, writes it into the file of its part, which is named as on the
    /// command line. `docs/performance.md` shows a few of the rows; `tests/docs` fails while they
    /// differ.
    pub fn publish(&self, part: &str, write: bool) {
        println!("{}", self.0);
        if write {
            let page = format!(
                "# Performance: {part}\n\n\
                 `cargo bench --bench performance -- {part} --write` writes this table.\n\
                 [performance.md](../performance.md) explains how it is measured and what the columns \
                 mean.\n\n{}",
                self.0
            );
            fs::write(format!("{TABLES}/{part}.md"), page).unwrap();
        }
    }
}

pub fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
