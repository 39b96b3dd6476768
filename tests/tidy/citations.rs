//! What comments and documents cite from the specifications exists: the file, and behind its name
//! `section 4.2`, `sections 4 and 5`, `S7`, or a title in quotes.

use super::source::{Source, Violation};

/// Checks a text; `read` gives the text of a file of the repository.
pub fn check(source: &Source, read: &dyn Fn(&str) -> Option<String>) -> Vec<Violation> {
    let cited = source.comments.match_indices("spec/").filter_map(|(at, _)| {
        let rest = &source.comments[at..];
        let end = rest.find(".md")? + ".md".len();
        let is_path = |c: char| c.is_alphanumeric() || "/._-".contains(c);
        rest[..end].chars().all(is_path).then(|| (at, &rest[..end], &rest[end..]))
    });
    let mut violations = Vec::new();
    for (at, name, behind) in cited {
        let Some(document) = read(name) else {
            violations.push(source.violation(at, format!("there is no {name}")));
            continue;
        };
        for section in sections(behind).into_iter().filter(|s| !has_section(&document, s)) {
            violations.push(source.violation(at, format!("{name} has no section {section}")));
        }
    }
    violations
}

/// The labels in `, section 4.2`, `, sections 4, 5 and 6`, `, S7` or `, "A title"`, also across lines
/// of comment.
fn sections(behind: &str) -> Vec<String> {
    let is_marker = |word: &&str| !matches!(*word, "//" | "///" | "//!");
    let text = behind.split_whitespace().filter(is_marker).take(20).collect::<Vec<_>>().join(" ");
    let Some(text) = text.strip_prefix([',', ':']).map(str::trim_start) else { return Vec::new() };
    let after_word = text.strip_prefix("sections ").or(text.strip_prefix("section "));
    let quoted = after_word.unwrap_or(text).strip_prefix('"').and_then(|rest| rest.split_once('"'));
    match (quoted, after_word) {
        (Some((title, _)), _) => vec![title.to_string()],
        (None, Some(list)) => numbers(list),
        (None, None) => text.split_whitespace().next().and_then(article).into_iter().collect(),
    }
}

/// `S7`, whatever stands behind it.
fn article(word: &str) -> Option<String> {
    let digits = word.strip_prefix('S')?;
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    (end > 0).then(|| format!("S{}", &digits[..end]))
}

/// The numbers at the head of `4, 5.1 and 6; more`.
fn numbers(list: &str) -> Vec<String> {
    let mut numbers = Vec::new();
    for word in list.split_whitespace().filter(|word| *word != "and") {
        let number = word.trim_matches(|c: char| !c.is_ascii_digit());
        let is_number = |c: char| c.is_ascii_digit() || c == '.';
        if number.is_empty() || !number.chars().all(is_number) {
            break;
        }
        numbers.push(number.to_string());
        let ends_list = word.contains(['.', ')', ';', ':']) && !word.ends_with(number);
        if ends_list && !word.ends_with(',') {
            break;
        }
    }
    numbers
}

/// Whether a heading of the document is this section: by its number, its letter and number, or its
/// title with or without a number in front.
fn has_section(document: &str, label: &str) -> bool {
    let continues = |rest: &str| {
        let rest = rest.strip_prefix('.').unwrap_or(rest);
        rest.starts_with(|c: char| c.is_alphanumeric())
    };
    document.lines().filter(|line| line.starts_with('#')).any(|line| {
        let heading = line.trim_start_matches('#').trim_start();
        let title = heading.trim_start_matches(|c: char| c.is_ascii_digit() || ". ".contains(c));
        [heading, title]
            .iter()
            .any(|text| text.strip_prefix(label).is_some_and(|rest| !continues(rest)))
    })
}

mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let document =
            "# Format\n\n## 1. Words\n\n### 1.2 Bytes\n\n## 12. Last one\n## S7. Forks\n";
        let read = |name: &str| (name == "spec/FORMAT.md").then(|| document.to_string());
        let found = check(&Source::new("src/a.rs", text), &read);
        found.into_iter().map(|violation| violation.problem).collect()
    }

    #[test]
    fn a_citation_of_nothing_is_seen() {
        assert_eq!(problems("// spec/NONE.md says so"), ["there is no spec/NONE.md"]);
        let none = ["spec/FORMAT.md has no section 2"];
        assert_eq!(problems("//! See (spec/FORMAT.md, section 2)."), none);
        assert_eq!(problems("/// (spec/FORMAT.md,\n    /// section 2) and more"), none);
        assert_eq!(problems("// spec/FORMAT.md, sections 1 and 2, and on"), none);
        assert_eq!(
            problems("// spec/FORMAT.md, sections 1, 12 and 1.3."),
            ["spec/FORMAT.md has no section 1.3"]
        );
    }

    #[test]
    fn a_citation_of_no_title_is_seen() {
        let none = ["spec/FORMAT.md has no section S1"];
        assert_eq!(problems("// SAFETY: all is well (spec/FORMAT.md, S1)."), none);
        let none = ["spec/FORMAT.md has no section First"];
        assert_eq!(problems("//! (spec/FORMAT.md, section \"First\")"), none);
        assert_eq!(problems("//! spec/FORMAT.md, \"First\""), none);
    }

    #[test]
    fn a_citation_of_what_is_there_passes() {
        for text in [
            "// spec/FORMAT.md",
            "// (spec/FORMAT.md, section 1)",
            "// spec/FORMAT.md, section 1.2.",
            "// spec/FORMAT.md, sections 1 and 12; see 5",
            "// the section 9 of something else",
            "// (spec/FORMAT.md, S7)",
            "//! (spec/FORMAT.md, section \"Words\")",
            "//! (spec/FORMAT.md,\n//! \"Last one\").",
            "// spec/FORMAT.md, and \"so on\"",
            "let path = \"spec/NONE.md\";",
        ] {
            assert!(problems(text).is_empty(), "{text}: {:?}", problems(text));
        }
    }
}
