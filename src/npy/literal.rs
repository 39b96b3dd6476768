//! The Python literals of a header, read without evaluating them.
//!
//! One pass, no look-back; nesting ends at [`DEPTH_MAX`], so that no text exhausts the stack.
#![forbid(unsafe_code)]

/// Deepest nesting. NumPy's own nest two levels per level of a structured type.
const DEPTH_MAX: u32 = 32;

/// A literal, and where needed the text that it stands in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Literal<'t> {
    /// What stands between the quotes, escapes and all.
    Text(&'t str),
    Number(u64),
    Bool(bool),
    /// A list, with its source.
    List(Vec<Literal<'t>>, &'t str),
    /// A tuple, with its source.
    Tuple(Vec<Literal<'t>>, &'t str),
    Dict(Vec<(Literal<'t>, Literal<'t>)>),
}

/// The literal that the text is, with blanks around it.
pub(super) fn parse(text: &str) -> Option<Literal<'_>> {
    let mut parser = Parser { text, at: 0, depth: 0 };
    let literal = parser.literal()?;
    parser.skip_blanks();
    (parser.at == text.len()).then_some(literal)
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    depth: u32,
}

impl<'t> Parser<'t> {
    fn literal(&mut self) -> Option<Literal<'t>> {
        self.skip_blanks();
        let start = self.at;
        match self.peek()? {
            quote @ (b'\'' | b'"') => self.text(quote),
            b'0'..=b'9' => self.number(),
            b'[' => {
                let items = self.nested(b']', Self::literal)?.0;
                Some(Literal::List(items, &self.text[start..self.at]))
            }
            b'(' => self.tuple(start),
            b'{' => Some(Literal::Dict(self.nested(b'}', Self::entry)?.0)),
            _ => self.bool(),
        }
    }

    /// `(1)` is a number in brackets, `(1,)` a tuple.
    fn tuple(&mut self, start: usize) -> Option<Literal<'t>> {
        let (mut items, ends_in_comma) = self.nested(b')', Self::literal)?;
        if items.len() == 1 && !ends_in_comma {
            return items.pop();
        }
        Some(Literal::Tuple(items, &self.text[start..self.at]))
    }

    fn entry(&mut self) -> Option<(Literal<'t>, Literal<'t>)> {
        let key = self.literal()?;
        self.skip_blanks();
        if !self.take(b':') {
            return None;
        }
        Some((key, self.literal()?))
    }

    /// Items up to `close`, and whether a comma stands behind the last.
    fn nested<T>(&mut self, close: u8, item: fn(&mut Self) -> Option<T>) -> Option<(Vec<T>, bool)> {
        self.at += 1;
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return None;
        }
        let (mut items, mut ends_in_comma) = (Vec::new(), false);
        loop {
            self.skip_blanks();
            if self.take(close) {
                self.depth -= 1;
                return Some((items, ends_in_comma));
            }
            if !items.is_empty() && !ends_in_comma {
                return None;
            }
            items.push(item(self)?);
            self.skip_blanks();
            ends_in_comma = self.take(b',');
        }
    }

    fn text(&mut self, quote: u8) -> Option<Literal<'t>> {
        let start = self.at + 1;
        self.at = start;
        loop {
            match self.peek()? {
                byte if byte == quote => break,
                // Whatever is escaped is no end; a multi-byte character goes on below.
                b'\\' => self.at += 2,
                b'\n' => return None,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        Some(Literal::Text(&self.text[start..self.at - 1]))
    }

    fn number(&mut self) -> Option<Literal<'t>> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        let value = self.text[start..self.at].parse().ok()?;
        // Python 2 wrote long integers as `3L`.
        self.take(b'L');
        Some(Literal::Number(value))
    }

    fn bool(&mut self) -> Option<Literal<'t>> {
        let rest = &self.text[self.at..];
        let (value, len) = if rest.starts_with("True") {
            (true, 4)
        } else if rest.starts_with("False") {
            (false, 5)
        } else {
            return None;
        };
        self.at += len;
        Some(Literal::Bool(value))
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }
}
