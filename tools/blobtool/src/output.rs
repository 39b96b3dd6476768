//! What a verb prints: lines for a person, or versioned JSON documents.

use crate::exit::Outcome;
use serde::Serialize;
use std::io::{self, BufWriter, StdoutLock, Write};

/// The version of all JSON documents.
const VERSION: u32 = 1;

/// Standard output, in one of the two forms.
pub struct Output {
    json: bool,
    stdout: BufWriter<StdoutLock<'static>>,
}

#[derive(Serialize)]
struct Document<'a, T> {
    version: u32,
    #[serde(flatten)]
    body: &'a T,
}

impl Output {
    /// Standard output.
    pub fn new(json: bool) -> Self {
        Self { json, stdout: BufWriter::new(io::stdout().lock()) }
    }

    /// Prints a line: the text, or the document.
    pub fn line<T: Serialize>(&mut self, text: impl FnOnce() -> String, body: &T) -> Outcome {
        if self.json {
            let document = Document { version: VERSION, body };
            serde_json::to_writer(&mut self.stdout, &document).map_err(io::Error::from)?;
            writeln!(self.stdout)?;
        } else {
            writeln!(self.stdout, "{}", text())?;
        }
        Ok(())
    }

    /// Hands over what was printed so far.
    pub fn flush(&mut self) -> Outcome {
        Ok(self.stdout.flush()?)
    }

    /// Prints the line and hands it over: what it tells has happened.
    pub fn line_now<T: Serialize>(&mut self, text: impl FnOnce() -> String, body: &T) -> Outcome {
        self.line(text, body)?;
        self.flush()
    }
}

/// A name or path, which may be any bytes. `name_hex` is there when `name` does not say it all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Name {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name_hex: Option<String>,
}

impl Name {
    /// For JSON.
    pub fn new(bytes: &[u8]) -> Self {
        let hex = || bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let name_hex = std::str::from_utf8(bytes).is_err().then(hex);
        Self { name: String::from_utf8_lossy(bytes).into_owned(), name_hex }
    }
}

/// A name for a person, on one line: control characters and what is not UTF-8 are escaped.
pub fn printable(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() { text.extend(c.escape_default()) } else { text.push(c) }
        }
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_any_bytes_stay_on_one_line_and_are_not_lost() {
        let name = b"a\xff\n\xc3\xa9";
        assert_eq!(printable(name), "a\\xff\\né");
        let json = serde_json::to_string(&Name::new(name)).unwrap();
        assert_eq!(json, "{\"name\":\"a\u{fffd}\\né\",\"name_hex\":\"61ff0ac3a9\"}");
        assert_eq!(serde_json::to_string(&Name::new(b"a")).unwrap(), "{\"name\":\"a\"}");
    }

    #[test]
    fn documents_open_with_their_version() {
        let document = Document { version: VERSION, body: &Name::new(b"a") };
        assert_eq!(serde_json::to_string(&document).unwrap(), "{\"version\":1,\"name\":\"a\"}");
    }
}
