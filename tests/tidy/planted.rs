//! Planted bugs: each name in the code has a test that it must make fail, and each line of the table
//! has a bug behind it.

use super::source::{Source, Violation};

/// Compares the bugs that stand in the code with the lines of `tests/canaries.txt`.
pub fn check(sources: &[Source], table: &Source) -> Vec<Violation> {
    let planted: Vec<_> =
        sources.iter().flat_map(|s| names(s).into_iter().map(move |found| (s, found))).collect();
    let lines: Vec<_> = lines(table).collect();
    let nameless = planted.iter().filter(|(_, (_, name))| !lines.iter().any(|(_, l)| l == name));
    let unplanted = lines.iter().filter(|(_, l)| !planted.iter().any(|(_, (_, name))| name == l));
    let mut violations: Vec<_> = nameless
        .map(|(source, (at, name))| {
            source.violation(*at, format!("no line of {} names the bug {name:?}", table.path))
        })
        .collect();
    violations.extend(unplanted.map(|(at, name)| {
        table.violation(*at, format!("there is no bug!({name:?}) in the code: plant it"))
    }));
    violations.extend(sources.iter().flat_map(other_forms));
    violations
}

/// The bugs in a file: where, and their names.
fn names(source: &Source) -> Vec<(usize, &str)> {
    let is_code = |at: usize| source.code[at..].starts_with("bug!(");
    let name = |at: usize| {
        let (_, rest) = source.text[at..].split_once('"')?;
        Some((at, rest.split_once('"')?.0))
    };
    source.words("bug").filter(|at| is_code(*at)).filter_map(name).collect()
}

/// A bug that needs a build of its own would never be built.
fn other_forms(source: &Source) -> Vec<Violation> {
    let named = |at: &usize| source.code[at + "bug".len()..].trim_start().starts_with('=');
    let in_cfg = |at: &usize| source.code[..*at].trim_end().ends_with('(');
    let wrong = source.words("bug").filter(named).filter(in_cfg);
    wrong.map(|at| source.violation(at, "plant it as the expression bug!(\"name\")")).collect()
}

/// The lines of the table: where, and the names that they begin with.
fn lines(table: &Source) -> impl Iterator<Item = (usize, &str)> {
    let begin = |line: &str| line.as_ptr() as usize - table.text.as_ptr() as usize;
    let lines = table.text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(move |line| (begin(line), line.split('\t').next().unwrap_or_default()))
}

mod tests {
    use super::*;

    fn problems(code: &str, table: &str) -> Vec<(usize, String)> {
        let sources = [Source::new("src/a.rs", code)];
        let found = check(&sources, &Source::prose("canaries", table));
        found.into_iter().map(|v| (v.place.1, v.problem)).collect()
    }

    #[test]
    fn a_bug_without_a_line_and_a_line_without_a_bug_are_seen() {
        assert!(
            problems("if bug!(\"a\") || !bug!(\"b\") {}", "# c\na\tstd\tx\nb\tstd\ty\n").is_empty()
        );
        let unnamed = problems("\nbug!(\"a\")", "");
        assert_eq!(unnamed, [(2, "no line of canaries names the bug \"a\"".to_string())]);
        let unplanted = problems("// bug!(\"a\")\nlet b = \"bug!(c)\";", "\na\tstd\tx\n");
        assert_eq!(unplanted, [(2, "there is no bug!(\"a\") in the code: plant it".to_string())]);
    }

    #[test]
    fn a_bug_with_a_build_of_its_own_is_seen() {
        assert_eq!(problems("\nif cfg!(bug = \"a\") {}\n#[cfg(bug = \"b\")]", "").len(), 2);
        assert!(problems("#[cfg(bug)]\nlet bug = 1;", "").is_empty());
    }
}
