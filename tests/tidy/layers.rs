//! The layers of the core: a file imports only from its own layer and from those below, and within
//! a layer no modules import each other in a circle.

use super::rules::parent_of;
use super::source::{Source, Violation};
use std::collections::{BTreeMap, BTreeSet};

/// The layers, from the ground up. A module belongs to the layer that names it.
const LAYERS: [&[&str]; 8] = [
    &["error", "id", "units", "clock", "uuid", "sync", "bug", "step"],
    &["format", "hash", "npy"],
    &["disk"],
    &["process", "control", "segment", "index", "run"],
    &[
        "engine",
        "stream",
        "cut",
        "naming",
        "entry",
        "protocol",
        "publish",
        "put",
        "put_large",
        "put_many",
        "put_reader",
        "get",
        "read_into",
        "blob",
        "draft",
        "refs",
        "walk",
        "stat",
        "whole",
    ],
    &["collect", "compact", "recover", "fsck"],
    &["store"],
    &["cache", "fuzzing", "lib"],
];
/// Modules that do not see each other, although their layer would allow it.
const STRANGERS: [(&str, &str); 2] = [("segment", "index"), ("index", "segment")];
/// Modules without I/O and without atomics, and what would bring those in.
const PURE: [&str; 3] = ["format", "hash", "index/probe"];
const IMPURE: [&str; 5] =
    ["std::fs", "std::net", "crate::disk", "crate::sync", "std::sync::atomic"];

pub fn check(sources: &[Source]) -> Vec<Violation> {
    let shipped = sources.iter().filter(|source| !is_test(source, sources));
    let mut violations = Vec::new();
    let mut beside = BTreeMap::<String, BTreeSet<String>>::new();
    for source in shipped {
        let module = module_of(&source.path);
        let unit = module.split('/').next().unwrap_or_default().to_string();
        let Some(layer) = layer_of(&unit) else {
            violations
                .push(source.violation(0, format!("give {unit} a layer in tests/tidy/layers.rs")));
            continue;
        };
        violations.extend(impurities(source, module));
        for (at, import) in imports(source, module) {
            violations.extend(wrong_import(source, at, (&unit, layer), &import));
            if layer_of(&import) == Some(layer) && import != unit {
                beside.entry(unit.clone()).or_default().insert(import);
            }
        }
    }
    violations.extend(circles(&beside));
    violations
}

fn layer_of(unit: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&unit))
}

/// `src/disk/mod.rs` is `disk`, `src/disk/real.rs` is `disk/real`.
fn module_of(path: &str) -> &str {
    let module = path.trim_start_matches("src/").trim_end_matches(".rs");
    module.strip_suffix("/mod").unwrap_or(module)
}

/// Whether the file is only compiled for tests: its declaration, or that of its folder, says so.
fn is_test(source: &Source, sources: &[Source]) -> bool {
    let Some((parents, name)) = parent_of(&source.path) else { return false };
    let Some(parent) = sources.iter().find(|s| parents.contains(&s.path)) else { return false };
    let declaration = format!("mod {name};");
    let attribute = parent.text.find(&declaration).and_then(|at| {
        let above = parent.text[..at].trim_end().lines().next_back()?;
        let above = if above.trim() == "pub" { "" } else { above };
        above.trim().starts_with("#[cfg(").then(|| above.contains("test"))
    });
    attribute.unwrap_or(false) || is_test(parent, sources)
}

/// The part of the code in front of the file's own tests.
fn shipped_code(source: &Source) -> &str {
    let begin = source.text.match_indices("#[cfg(").map(|(at, _)| at).find(|&at| {
        let line_end = source.text[at..].find('\n').map_or(source.text.len(), |n| at + n);
        let (attribute, next) = source.text[at..].split_at(line_end - at);
        attribute.contains("test") && next.trim_start().starts_with("mod ")
    });
    &source.code[..begin.unwrap_or(source.code.len())]
}

/// The modules of the crate's top level that a file names, and where.
fn imports(source: &Source, module: &str) -> Vec<(usize, String)> {
    let code = shipped_code(source);
    let root = if module == "lib" { 0 } else { module.split('/').count() };
    let up = "super::".repeat(root);
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::").filter(|(at, _)| !code[..*at].ends_with('$')) {
        found.extend(heads(&code[at + "crate::".len()..]).into_iter().map(|head| (at, head)));
    }
    if root > 0 {
        let tops = code.match_indices(&up).filter(|(at, _)| !code[..*at].ends_with("::"));
        for (at, _) in tops {
            let rest = &code[at + up.len()..];
            found.extend(heads(rest).into_iter().map(|head| (at, head)));
        }
    }
    found
}

/// The first names of a path: one, or those of a group.
fn heads(path: &str) -> Vec<String> {
    let word = |text: &str| -> String {
        text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let Some(group) = path.strip_prefix('{') else { return vec![word(path)] };
    let (mut depth, mut begins) = (0, vec![0]);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => begins.push(at + 1),
            _ => {}
        }
    }
    begins.into_iter().map(|at| word(&group[at..])).filter(|head| !head.is_empty()).collect()
}

fn wrong_import(
    source: &Source,
    at: usize,
    (unit, layer): (&str, usize),
    import: &str,
) -> Option<Violation> {
    if unit == "lib" || unit == import {
        return None;
    }
    let problem = match layer_of(import) {
        None => format!("{unit} imports crate::{import}: name the module that it comes from"),
        Some(above) if above > layer => {
            format!("{unit} (layer {layer}) imports {import} (layer {above}): only from below")
        }
        _ if STRANGERS.contains(&(unit, import)) => {
            format!("{unit} must not see {import}: layer 4 joins them")
        }
        _ => return None,
    };
    Some(source.violation(at, problem))
}

fn impurities(source: &Source, module: &str) -> Vec<Violation> {
    let is_pure = PURE.iter().any(|pure| {
        module.strip_prefix(pure).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    });
    if !is_pure {
        return Vec::new();
    }
    let code = shipped_code(source);
    let found = IMPURE.iter().filter_map(|name| code.find(name).map(|at| (at, name)));
    found.map(|(at, name)| source.violation(at, format!("{module} is pure: no {name}"))).collect()
}

/// One violation for each module that can reach itself within its layer.
fn circles(beside: &BTreeMap<String, BTreeSet<String>>) -> Vec<Violation> {
    let reaches_itself = |start: &&String| {
        let (mut open, mut seen) = (vec![*start], BTreeSet::new());
        while let Some(unit) = open.pop() {
            for next in beside.get(unit).into_iter().flatten() {
                if next == *start {
                    return true;
                }
                if seen.insert(next) {
                    open.push(next);
                }
            }
        }
        false
    };
    let violation = |unit: &String| Violation {
        place: (format!("src/{unit}"), 1),
        problem: format!("{unit} imports itself by way of {:?}", beside[unit]),
    };
    beside.keys().filter(reaches_itself).map(violation).collect()
}

mod tests {
    use super::*;

    fn problems(files: &[(&str, &str)]) -> Vec<String> {
        let sources: Vec<_> = files.iter().map(|(path, text)| Source::new(*path, *text)).collect();
        check(&sources).into_iter().map(|violation| violation.problem).collect()
    }

    #[test]
    fn an_import_from_above_is_seen_however_it_is_written() {
        let wrong = ["put (layer 4) imports store (layer 6): only from below"];
        for text in [
            "use crate::store::Store;",
            "use crate::{id::Key, store::{A, B}};",
            "fn a() { crate::store::b() }",
            "use super::store::Store;",
        ] {
            assert_eq!(problems(&[("src/put.rs", text)]), wrong, "{text}");
        }
        let deep = [("src/disk/real.rs", "use super::super::store::A;")];
        assert_eq!(problems(&deep), ["disk (layer 2) imports store (layer 6): only from below"]);
    }

    #[test]
    fn imports_from_below_pass() {
        for (path, text) in [
            ("src/store/mod.rs", "use crate::put;\nuse crate::{disk::Disk, cell};"),
            ("src/id.rs", "use crate::error::Error;"),
            ("src/disk/real.rs", "use super::map::Map;"),
            ("src/lib.rs", "pub use crate::store::Store;"),
            (
                "src/id.rs",
                "// crate::store\nfn a() {}\n#[cfg(test)]\nmod tests {\n use crate::store; }",
            ),
        ] {
            let allowed = problems(&[(path, &text.replace(", cell", ""))]);
            assert!(allowed.is_empty(), "{path}: {allowed:?}");
        }
        let tests = [
            ("src/id/mod.rs", "#[cfg(test)]\nmod tests;"),
            ("src/id/tests.rs", "use crate::store;"),
        ];
        assert!(problems(&tests).is_empty());
    }

    #[test]
    fn strangers_unknown_names_and_missing_layers_are_seen() {
        let strangers = [("src/index/grow.rs", "use crate::segment::A;")];
        assert_eq!(problems(&strangers), ["index must not see segment: layer 4 joins them"]);
        let unknown = [("src/put.rs", "use crate::Error;")];
        assert_eq!(
            problems(&unknown),
            ["put imports crate::Error: name the module that it comes from"]
        );
        assert_eq!(problems(&[("src/misc.rs", "")]), ["give misc a layer in tests/tidy/layers.rs"]);
    }

    #[test]
    fn circles_within_a_layer_are_seen() {
        let files = [("src/put.rs", "use crate::get::A;"), ("src/get.rs", "use crate::blob::A;")];
        assert!(problems(&files).is_empty());
        let closed = [files[0], files[1], ("src/blob.rs", "use crate::put::A;")];
        assert_eq!(problems(&closed).len(), 3);
    }

    #[test]
    fn input_and_output_in_a_pure_module_is_seen() {
        let found = problems(&[("src/hash/mod.rs", "use std::fs::File;")]);
        assert_eq!(found, ["hash is pure: no std::fs"]);
        assert!(problems(&[("src/format/a.rs", "use crate::id::Key;")]).is_empty());
    }
}
