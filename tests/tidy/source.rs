//! A source file in three views of the same length: as it is, only its code, only its comments.

use std::fmt;

/// A file, with the views that the rules need. A view keeps the position of every byte.
pub struct Source {
    /// Path from the root of the repository, with `/`.
    pub path: String,
    /// As it is.
    pub text: String,
    /// Comments, and what stands in string and character literals, are blanked.
    pub code: String,
    /// All but comments is blanked.
    pub comments: String,
}

/// A broken rule.
#[derive(Debug, PartialEq, Eq)]
pub struct Violation {
    /// File and line, from 1.
    pub place: (String, usize),
    /// What is wrong and what to do.
    pub problem: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.place.0, self.place.1, self.problem)
    }
}

impl Source {
    /// A Rust file.
    pub fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        let text = text.into();
        let (code, comments) = views(&text);
        Self { path: path.into(), text, code, comments }
    }

    /// A text that is all comment.
    pub fn prose(path: impl Into<String>, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { path: path.into(), code: String::new(), comments: text.clone(), text }
    }

    /// The line of a byte, from 1.
    pub fn line_of(&self, at: usize) -> usize {
        1 + self.text.as_bytes()[..at].iter().filter(|&&b| b == b'\n').count()
    }

    /// A violation at a byte.
    pub fn violation(&self, at: usize, problem: impl Into<String>) -> Violation {
        Violation { place: (self.path.clone(), self.line_of(at)), problem: problem.into() }
    }

    /// The places of a word in the code.
    pub fn words<'a>(&'a self, word: &'a str) -> impl Iterator<Item = usize> + 'a {
        words(&self.code, word)
    }
}

/// The places of a word, not part of a longer one.
pub fn words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    text.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        !is_part(text[..at].chars().next_back()) && !is_part(text[at + word.len()..].chars().next())
    })
}

/// What a stretch of source is.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    Code,
    Literal,
    Comment,
}

fn views(text: &str) -> (String, String) {
    let (mut code, mut comments) = (String::new(), String::new());
    let mut rest = text;
    while !rest.is_empty() {
        let (part, len) = next_part(rest, code.chars().next_back());
        for c in rest[..len].chars() {
            // One blank per byte keeps positions.
            let blank = if c == '\n' { "\n".into() } else { " ".repeat(c.len_utf8()) };
            if part == Part::Code {
                code.push(c)
            } else {
                code.push_str(&blank)
            }
            if part == Part::Comment { comments.push(c) } else { comments.push_str(&blank) }
        }
        rest = &rest[len..];
    }
    (code, comments)
}

/// The part that begins here, and its length in bytes.
fn next_part(rest: &str, before: Option<char>) -> (Part, usize) {
    let after_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if rest.starts_with("//") {
        return (Part::Comment, rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return (Part::Comment, block_comment_len(rest));
    }
    let prefix = ["br", "cr", "r", "b", "c", ""].iter().find(|p| {
        rest.strip_prefix(**p).is_some_and(|r| {
            r.starts_with('"') || (p.ends_with('r') && r.trim_start_matches('#').starts_with('"'))
        })
    });
    match prefix {
        Some(prefix) if prefix.is_empty() || !after_word => {
            (Part::Literal, prefix.len() + string_len(&rest[prefix.len()..], prefix.ends_with('r')))
        }
        _ if rest.starts_with('\'') => match character_len(rest) {
            Some(len) => (Part::Literal, len),
            None => (Part::Code, 1),
        },
        _ => (Part::Code, rest.chars().next().map_or(0, char::len_utf8)),
    }
}

fn block_comment_len(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// The length of a string that begins with `"`, or with `#` if it is raw.
fn string_len(rest: &str, raw: bool) -> usize {
    if raw {
        let hashes = rest.len() - rest.trim_start_matches('#').len();
        let end = format!("\"{}", "#".repeat(hashes));
        return rest[hashes + 1..].find(&end).map_or(rest.len(), |at| hashes + 1 + at + end.len());
    }
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            '"' if !escaped => return at + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    rest.len()
}

/// The length of a character literal; `None` if this is a lifetime.
fn character_len(rest: &str) -> Option<usize> {
    let mut chars = rest.char_indices().skip(1);
    match chars.next()?.1 {
        '\\' => rest[3..].find('\'').map(|at| 3 + at + 1),
        _ => chars.next().filter(|(_, c)| *c == '\'').map(|(at, _)| at + 1),
    }
}

mod tests {
    use super::*;

    #[test]
    fn views_tell_code_from_comments_and_literals() {
        let text = "let a = \"// no \\\" { é\"; // yes { é\nlet b = '{'; let c: &'a str = r#\"}\"\"#;\n/* x /* y */ z */ f(b'\\'', '\\u{1f}')";
        let source = Source::new("a.rs", text);
        assert_eq!((source.code.len(), source.comments.len()), (text.len(), text.len()));
        let squeezed: String = source.code.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(squeezed, "let a = ; let b = ; let c: &'a str = ; f(b , )");
        let comments: Vec<_> = source.comments.split_whitespace().collect();
        assert_eq!(comments.join(" "), "// yes { é /* x /* y */ z */");
    }

    #[test]
    fn words_are_whole_and_lines_are_counted() {
        let source = Source::new("a.rs", "unsafe_code\nunsafe {}\n// unsafe\n");
        let at: Vec<_> = source.words("unsafe").collect();
        assert_eq!((at.len(), source.line_of(at[0])), (1, 2));
    }
}
