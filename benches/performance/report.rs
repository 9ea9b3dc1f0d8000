//! Figures of repeated runs, and the tables of `docs/performance.md`.

use std::{fmt, fs};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/performance.md");

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

    /// Prints it and, if asked to, puts it in place of the one of that name.
    pub fn publish(&self, name: &str, write: bool) {
        println!("{}", self.0);
        if !write {
            return;
        }
        let page = fs::read_to_string(PAGE).unwrap();
        let (start, end) = (
            format!("<!-- {name} -->\n"),
            format!("<!-- end of {name} -->"),
        );
        let (before, rest) = page.split_once(&start).expect("the marker is there");
        let (_, after) = rest.split_once(&end).expect("the end's marker is there");
        fs::write(PAGE, format!("{before}{start}{}{end}{after}", self.0)).unwrap();
    }
}

pub fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
