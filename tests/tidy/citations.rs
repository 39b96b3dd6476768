//! What comments and documents cite from the specifications exists: the file, and behind its name
//! `section 4.2` or `sections 4 and 5`.

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

/// The numbers in `, section 4.2` or `, sections 4, 5 and 6`, also across lines of comment.
fn sections(behind: &str) -> Vec<String> {
    let is_marker = |word: &&str| !matches!(*word, "//" | "///" | "//!");
    let mut words = behind.split_whitespace().filter(is_marker).take(12);
    let is_section = |word: &str| matches!(word, "section" | "sections");
    let first = words.next();
    let found = first.is_some_and(is_section)
        || matches!(first, Some("," | ":")) && words.next().is_some_and(is_section);
    if !found {
        return Vec::new();
    }
    let mut numbers = Vec::new();
    for word in words {
        let number = word.trim_matches(|c: char| !c.is_ascii_digit());
        if number.is_empty() && word == "and" {
            continue;
        }
        let is_number = |c: char| c.is_ascii_digit() || c == '.';
        if number.is_empty() || !number.chars().all(is_number) {
            break;
        }
        numbers.push(number.to_string());
        if word.contains(['.', ')', ';', ':']) && !word.ends_with(number) && !word.ends_with(',') {
            break;
        }
    }
    numbers
}

/// Whether a heading of the document begins with this number.
fn has_section(document: &str, number: &str) -> bool {
    document.lines().filter(|line| line.starts_with('#')).any(|line| {
        let title = line.trim_start_matches('#').trim_start().trim_start_matches('§');
        title.strip_prefix(number).is_some_and(|rest| {
            let rest = rest.strip_prefix('.').unwrap_or(rest);
            !rest.starts_with(|c: char| c.is_ascii_digit())
        })
    })
}

mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let document = "# Format\n\n## 1. Words\n\n### 1.2 Bytes\n\n## 12. Last\n";
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
    fn a_citation_of_what_is_there_passes() {
        for text in [
            "// spec/FORMAT.md",
            "// (spec/FORMAT.md, section 1)",
            "// spec/FORMAT.md, section 1.2.",
            "// spec/FORMAT.md, sections 1 and 12; see 5",
            "// the section 9 of something else",
            "let path = \"spec/NONE.md\";",
        ] {
            assert!(problems(text).is_empty(), "{text}: {:?}", problems(text));
        }
    }
}
