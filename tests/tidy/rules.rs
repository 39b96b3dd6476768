//! Rules about one file at a time: size, names, heads, leftovers; and files that nobody uses.

use super::source::{Source, Violation, words};

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 60;
/// Words that say nothing about what a type is.
const EMPTY_WORDS: [&str; 5] = ["Manager", "Helper", "Util", "Data", "Info"];

pub fn file_length(source: &Source) -> Vec<Violation> {
    let lines = source.text.lines().count();
    let problem = format!("the file has {lines} lines, at most {FILE_LINES_MAX}: split it");
    (lines > FILE_LINES_MAX).then(|| source.violation(0, problem)).into_iter().collect()
}

pub fn function_length(source: &Source) -> Vec<Violation> {
    let long = |(at, lines): (usize, usize)| {
        let problem =
            format!("the function has {lines} lines, at most {FUNCTION_LINES_MAX}: divide it");
        (lines > FUNCTION_LINES_MAX).then(|| source.violation(at, problem))
    };
    functions(source).filter_map(long).collect()
}

/// Where each function with a body begins, and its lines from `fn` to the closing brace.
fn functions(source: &Source) -> impl Iterator<Item = (usize, usize)> + '_ {
    source.words("fn").filter_map(|at| {
        let code = &source.code[at..];
        // `fn(u8) -> u8` is a type; a function has a name.
        let name = code[2..].trim_start();
        name.starts_with(|c: char| c.is_alphabetic() || c == '_').then_some(())?;
        let (mut braces, mut others) = (0, 0);
        for (offset, c) in code.char_indices() {
            match c {
                '(' | '[' => others += 1,
                ')' | ']' => others -= 1,
                ';' if braces == 0 && others == 0 => return None,
                '{' => braces += 1,
                '}' if braces == 1 => {
                    return Some((at, code[..offset].matches('\n').count() + 1));
                }
                '}' => braces -= 1,
                _ => {}
            }
        }
        None
    })
}

pub fn type_names(source: &Source) -> Vec<Violation> {
    let kinds = ["struct", "enum", "trait", "union", "type"];
    let names = kinds.iter().flat_map(|kind| {
        source.words(kind).filter_map(|at| {
            let name = source.code[at + kind.len()..].trim_start();
            let end = name.find(|c: char| !c.is_alphanumeric() && c != '_')?;
            Some((at, &name[..end]))
        })
    });
    names
        .filter(|(_, name)| camel_words(name).any(|word| EMPTY_WORDS.contains(&word)))
        .map(|(at, name)| {
            source.violation(
                at,
                format!("{name} does not say what it is: name it by the field's word"),
            )
        })
        .collect()
}

/// `RunTables` is `Run`, `Tables`.
fn camel_words(name: &str) -> impl Iterator<Item = &str> {
    let begins: Vec<usize> =
        name.char_indices().filter(|(_, c)| c.is_uppercase()).map(|(at, _)| at).collect();
    let ends: Vec<usize> = begins.iter().skip(1).copied().chain([name.len()]).collect();
    begins.into_iter().zip(ends).map(move |(begin, end)| &name[begin..end])
}

pub fn leftovers(source: &Source) -> Vec<Violation> {
    let in_comments = ["TODO", "FIXME", "XXX", "HACK"];
    let in_code = ["todo", "unimplemented", "dbg"];
    let comments = in_comments.iter().flat_map(|word| {
        let say = format!("{word}: do it, or open an issue");
        words(&source.comments, word).map(move |at| source.violation(at, say.as_str()))
    });
    let code = in_code.iter().flat_map(|word| {
        let is_macro = |at: &usize| source.code[at + word.len()..].starts_with('!');
        let say = format!("{word}! does not ship");
        source.words(word).filter(is_macro).map(move |at| source.violation(at, say.as_str()))
    });
    let mut found: Vec<_> = comments.chain(code).collect();
    found.sort_by_key(|violation| violation.place.1);
    found
}

pub fn module_head(source: &Source) -> Vec<Violation> {
    let says = source.text.starts_with("//! ");
    let problem = "the file does not open with `//!` and what it is about";
    (!says).then(|| source.violation(0, problem)).into_iter().collect()
}

/// Files of the crate that no module declares.
pub fn dead_files(sources: &[Source]) -> Vec<Violation> {
    let is_dead = |source: &&Source| {
        let Some((parent, name)) = parent_of(&source.path) else { return false };
        let declares = |head: &Source| {
            parent.contains(&head.path)
                && head.words("mod").any(|at| {
                    head.code[at + 3..]
                        .trim_start()
                        .strip_prefix(name)
                        .is_some_and(|rest| rest.trim_start().starts_with(';'))
                })
        };
        !sources.iter().any(declares)
    };
    let dead = sources.iter().filter(is_dead);
    dead.map(|source| source.violation(0, "no module declares this file: use it or delete it"))
        .collect()
}

/// The files that may declare this one, and its name there; `None` for the root of the crate.
pub fn parent_of(path: &str) -> Option<([String; 2], &str)> {
    let module = path.strip_suffix(".rs")?;
    let module = module.strip_suffix("/mod").unwrap_or(module);
    let (dir, name) = module.rsplit_once('/')?;
    match (dir, name) {
        ("src", "lib" | "main") => None,
        ("src", _) => Some((["src/lib.rs".into(), "src/main.rs".into()], name)),
        _ => Some(([format!("{dir}.rs"), format!("{dir}/mod.rs")], name)),
    }
}

mod tests {
    use super::*;

    fn lines(violations: Vec<Violation>) -> Vec<usize> {
        violations.into_iter().map(|violation| violation.place.1).collect()
    }

    fn rust(text: &str) -> Source {
        Source::new("src/a.rs", text)
    }

    #[test]
    fn a_long_file_is_seen() {
        assert_eq!(lines(file_length(&rust(&"\n".repeat(601)))), [1]);
        assert!(file_length(&rust(&"\n".repeat(600))).is_empty());
    }

    #[test]
    fn a_long_function_is_seen_wherever_it_hides() {
        let body = |lines: usize| "    x();\n".repeat(lines);
        let long = |n| format!("// fn a() {{\nfn f(a: [u8; 2]) -> fn(u8) {{\n{}}}\n", body(n));
        assert!(function_length(&rust(&long(58))).is_empty());
        assert_eq!(lines(function_length(&rust(&long(59)))), [2]);
        let nested = format!("impl A {{\n    fn g() {{ let s = \"}}\"; {} }}\n}}", "\n".repeat(60));
        assert_eq!(lines(function_length(&rust(&nested))), [2]);
        let declared = format!("trait T {{\n fn a(&self);\n{}}}", "\n".repeat(90));
        assert!(function_length(&rust(&declared)).is_empty());
    }

    #[test]
    fn an_empty_name_is_seen() {
        for name in
            ["struct BlobManager;", "pub enum Info {", "trait DataSource {", "type PathUtil ="]
        {
            assert_eq!(lines(type_names(&rust(name))), [1], "{name}");
        }
        for name in ["struct Database;", "enum Metadata {", "trait Records {", "// struct Data "] {
            assert!(type_names(&rust(name)).is_empty(), "{name}");
        }
    }

    #[test]
    fn what_is_left_to_do_is_seen() {
        assert_eq!(lines(leftovers(&rust("a();\n// TODO: b\ndbg!(c);\ntodo!()"))), [2, 3, 4]);
        assert!(leftovers(&rust("let s = \"TODO\"; // the TODOS table\nlet dbg = 1;")).is_empty());
    }

    #[test]
    fn a_file_without_a_head_is_seen() {
        assert_eq!(lines(module_head(&rust("use a;"))), [1]);
        assert!(module_head(&rust("//! Idea.\n")).is_empty());
    }

    #[test]
    fn a_file_that_nobody_declares_is_seen() {
        let files = [
            Source::new("src/lib.rs", "mod a; // mod c;\nmod b;"),
            Source::new("src/a.rs", ""),
            Source::new("src/b/mod.rs", "pub mod d;"),
            Source::new("src/b/d.rs", ""),
            Source::new("src/b/e.rs", ""),
            Source::new("src/c.rs", ""),
        ];
        let dead: Vec<_> = dead_files(&files).into_iter().map(|v| v.place.0).collect();
        assert_eq!(dead, ["src/b/e.rs", "src/c.rs"]);
    }
}
