//! The data files of Prosody's `internal` storage: a Lua program that returns one table.
//!
//! ```lua
//! return {
//!     ["exp"] = 1764000000;
//!     ["sub"] = "romeo@example.org/orchard";
//! };
//! ```
//!
//! Only such tables are read: strings in quotation marks, numbers and booleans, nothing in one another.

use std::collections::BTreeMap;

/// By the name of the field.
pub type Table = BTreeMap<String, Value>;

#[derive(Clone, PartialEq)]
pub enum Value {
    Text(Vec<u8>),
    Number(f64),
    Flag(bool),
}

/// Where reading has ended, which tells nothing of what is written there: it may be a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LuaError {
    #[error("it ends in the middle of line {line}")]
    Ends { line: usize },
    #[error("line {line} is not what Prosody writes into such a file")]
    Other { line: usize },
}

pub fn read(text: &[u8]) -> Result<Table, LuaError> {
    let mut reader = Reader { text, at: 0 };
    reader.table().ok_or_else(|| reader.error())
}

struct Reader<'a> {
    text: &'a [u8],
    /// Where what has not been read begins.
    at: usize,
}

impl Reader<'_> {
    fn error(&self) -> LuaError {
        let before = &self.text[..self.at];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        match self.text[self.at..].trim_ascii().is_empty() {
            true => LuaError::Ends { line },
            false => LuaError::Other { line },
        }
    }

    fn table(&mut self) -> Option<Table> {
        let mut table = Table::new();
        self.take(b"return")?;
        self.take(b"{")?;
        while self.take(b"}").is_none() {
            self.take(b"[")?;
            let name = String::from_utf8(self.string()?).ok()?;
            self.take(b"]")?;
            self.take(b"=")?;
            table.insert(name, self.value()?);
            // The last one may lack it.
            if self.take(b";").or_else(|| self.take(b",")).is_none() {
                self.take(b"}")?;
                break;
            }
        }
        let _ = self.take(b";");
        self.text[self.at..]
            .trim_ascii()
            .is_empty()
            .then_some(table)
    }

    fn value(&mut self) -> Option<Value> {
        if self.take(b"true").is_some() {
            return Some(Value::Flag(true));
        }
        if self.take(b"false").is_some() {
            return Some(Value::Flag(false));
        }
        self.skip_blanks();
        if self.text.get(self.at) == Some(&b'"') {
            return self.string().map(Value::Text);
        }
        let rest = &self.text[self.at..];
        let is_digit = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
        let length = rest.iter().take_while(|byte| is_digit(byte)).count();
        let number = str::from_utf8(&rest[..length]).ok()?.parse().ok()?;
        self.at += length;
        Some(Value::Number(number))
    }

    fn string(&mut self) -> Option<Vec<u8>> {
        self.take(b"\"")?;
        let mut string = Vec::new();
        loop {
            match self.byte()? {
                b'"' => return Some(string),
                b'\\' => string.push(self.escaped()?),
                byte => string.push(byte),
            }
        }
    }

    /// After a backslash: a line break, a letter for one, a number of up to three digits, or itself.
    fn escaped(&mut self) -> Option<u8> {
        Some(match self.byte()? {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            digit if digit.is_ascii_digit() => {
                let rest = &self.text[self.at - 1..];
                let digits = rest.iter().take(3).take_while(|byte| byte.is_ascii_digit());
                let length = digits.count();
                self.at += length - 1;
                str::from_utf8(&rest[..length]).ok()?.parse().ok()?
            }
            byte @ (b'"' | b'\'' | b'\\' | b'\n') => byte,
            _ => return None,
        })
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.text.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    /// Takes what must come next, after blanks.
    fn take(&mut self, word: &[u8]) -> Option<()> {
        self.skip_blanks();
        self.text[self.at..]
            .starts_with(word)
            .then(|| self.at += word.len())
    }

    fn skip_blanks(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_ascii_start().len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str) -> Value {
        Value::Text(value.into())
    }

    #[test]
    fn a_table_is_read_as_prosody_writes_it() {
        let table = read(
            b"return {\n\t[\"exp\"] = 1764000000;\n\t[\"sub\"] = \"a\\\"b\\'c\\\\d\\195\\164\\0101\";\n\
              \t[\"a\\\nb\"] = true;\n\t[\"n\"] = -1.5e3;\n};\n",
        )
        .map_err(|error| error.to_string());
        let expected = Table::from([
            ("exp".to_owned(), Value::Number(1_764_000_000.0)),
            ("sub".to_owned(), text("a\"b'c\\d\u{e4}\n1")),
            ("a\nb".to_owned(), Value::Flag(true)),
            ("n".to_owned(), Value::Number(-1500.0)),
        ]);
        assert!(table == Ok(expected));
        assert!(read(b"return {}") == Ok(Table::new()));
        assert!(read(b"return { [\"a\"] = 1 };").is_ok());
    }

    #[test]
    fn what_ends_too_early_is_told_by_its_line() {
        let whole: &[u8] = b"return {\n\t[\"exp\"] = 1764000000;\n\t[\"sub\"] = \"romeo\";\n}";
        assert!(read(whole).is_ok());
        for end in 0..whole.len() {
            let line = 1 + whole[..end].iter().filter(|byte| **byte == b'\n').count();
            let error = read(&whole[..end]).err().unwrap();
            let (LuaError::Ends { line: told } | LuaError::Other { line: told }) = error;
            assert!(told <= line && told + 1 >= line, "{end}: {error:?}");
        }
    }

    #[test]
    fn what_is_no_table_is_told_by_its_line() {
        for (other, line) in [
            ("{\"json\": true}", 1),
            ("return {\n\t[1] = 2;\n}", 2),
            ("return {\n\t[\"a\"] = { };\n}", 2),
            ("return {\n\t[\"a\"] = 2;\n}\nand more", 4),
            ("return {\n\t[\"a\"] = \"\\999\";\n}", 2),
        ] {
            assert!(
                read(other.as_bytes()) == Err(LuaError::Other { line }),
                "{other}"
            );
        }
    }
}
