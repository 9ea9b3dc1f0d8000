//! The languages of the page, and which one a browser prefers (RFC 9110 §12.5.4).

use axum::http::{HeaderMap, header::ACCEPT_LANGUAGE};

/// So many entries of the header are looked at.
const MAX_ENTRIES: usize = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    English,
    German,
    French,
    Spanish,
}

impl Language {
    pub const ALL: [Self; 4] = [Self::English, Self::German, Self::French, Self::Spanish];

    /// The one that is wanted most, or English.
    pub fn of(request: &HeaderMap) -> Self {
        let header = request.get(ACCEPT_LANGUAGE);
        let header = header.and_then(|value| value.to_str().ok());
        let entries = header.unwrap_or_default().split(',').take(MAX_ENTRIES);
        let mut best = (Self::English, 0.0);
        for (language, weight) in entries.filter_map(Self::entry) {
            // Of equal ones the first.
            if weight > best.1 {
                best = (language, weight);
            }
        }
        best.0
    }

    /// Such as `de-AT;q=0.8`.
    fn entry(entry: &str) -> Option<(Self, f32)> {
        let (range, weight) = match entry.split_once(';') {
            None => (entry, 1.0),
            Some((range, weight)) => {
                let weight = weight.trim().strip_prefix("q=")?;
                (range, weight.parse().ok()?)
            }
        };
        let primary = range.trim().split('-').next()?;
        let mut all = Self::ALL.into_iter();
        let language = all.find(|language| primary.eq_ignore_ascii_case(language.tag()))?;
        Some((language, weight))
    }

    /// As in the attribute `lang` (BCP 47).
    pub fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
            Self::French => "fr",
            Self::Spanish => "es",
        }
    }

    /// The words by their names: HTML, with values of the script's in braces.
    pub fn words(self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let text = match self {
            Self::English => include_str!("words/en.txt"),
            Self::German => include_str!("words/de.txt"),
            Self::French => include_str!("words/fr.txt"),
            Self::Spanish => include_str!("words/es.txt"),
        };
        text.lines().filter_map(|line| line.split_once(" = "))
    }

    pub fn word(self, name: &str) -> &'static str {
        let found = self.words().find(|(known, _)| *known == name);
        found.map_or("", |(_, word)| word)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn of(value: &'static str) -> Language {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_LANGUAGE, HeaderValue::from_static(value));
        Language::of(&headers)
    }

    #[test]
    fn the_language_that_is_wanted_most_is_taken() {
        for (value, language) in [
            ("de", Language::German),
            ("DE-at", Language::German),
            (
                "fr-CH, fr;q=0.9, en;q=0.8, de;q=0.7, *;q=0.5",
                Language::French,
            ),
            ("en;q=0.5, es;q=0.8", Language::Spanish),
            ("pl, de;q=0.3", Language::German),
            ("es,de", Language::Spanish),
            ("pl", Language::English),
            ("de;q=0", Language::English),
            ("den", Language::English),
            ("de;q=x", Language::English),
            ("", Language::English),
            ("*", Language::English),
        ] {
            assert_eq!(of(value), language, "{value}");
        }
        assert_eq!(Language::of(&HeaderMap::new()), Language::English);
    }
}
