//! The repository keeps its own rules: size, names, layers, safety, and what comments promise.
//!
//! Each rule is a pure function of a [`Source`] and has tests that plant violations in strings, so
//! that a rule which no longer sees anything fails.
#![forbid(unsafe_code)]

#[path = "tidy/citations.rs"]
mod citations;
#[path = "tidy/layers.rs"]
mod layers;
#[path = "tidy/planted.rs"]
mod planted;
#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/safety.rs"]
mod safety;
#[path = "tidy/source.rs"]
mod source;

use source::{Source, Violation};
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below `dir` whose names end so, hidden and built ones left out.
fn files(dir: &str, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root().join(dir)];
    while let Some(dir) = open.pop() {
        let Ok(entries) = fs::read_dir(&dir) else { continue };
        for entry in entries {
            let path = entry.expect("a directory entry").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with('.') || name == "target" || name == "node_modules" {
                continue;
            }
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn sources(dirs: &[&str]) -> Vec<Source> {
    let paths = dirs.iter().flat_map(|dir| files(dir, "rs"));
    let load = |path: PathBuf| {
        let name = path.strip_prefix(root()).expect("a path below the root");
        Source::new(name.to_string_lossy(), fs::read_to_string(&path).expect("UTF-8 source"))
    };
    paths.map(load).collect()
}

fn all_rust() -> Vec<Source> {
    sources(&["src", "spec", "tests", "tools", "benches", "bindings"])
}

/// Fails with all violations at once, one per line.
fn demand_none(violations: Vec<Violation>) {
    let lines: Vec<String> = violations.iter().map(Violation::to_string).collect();
    assert!(lines.is_empty(), "{} violations:\n{}", lines.len(), lines.join("\n"));
}

#[test]
fn there_is_something_to_look_at() {
    assert!(sources(&["src"]).len() > 10, "the source is not where it was");
}

#[test]
fn files_and_functions_fit_a_screen() {
    let all = all_rust();
    let mut violations: Vec<_> = all.iter().flat_map(rules::file_length).collect();
    let shipped = all.iter().filter(|s| s.path.starts_with("src/") || s.path.contains("/src/"));
    violations.extend(shipped.flat_map(rules::function_length));
    demand_none(violations);
}

#[test]
fn types_have_the_names_of_the_field() {
    demand_none(all_rust().iter().flat_map(rules::type_names).collect());
}

#[test]
fn nothing_is_left_to_do_in_a_comment() {
    demand_none(all_rust().iter().flat_map(rules::leftovers).collect());
}

#[test]
fn every_module_opens_with_its_idea() {
    demand_none(all_rust().iter().flat_map(rules::module_head).collect());
}

#[test]
fn no_file_is_dead() {
    demand_none(rules::dead_files(&sources(&["src"])));
}

#[test]
fn a_file_imports_only_from_layers_below() {
    demand_none(layers::check(&sources(&["src"])));
}

#[test]
fn unsafe_lives_where_it_is_allowed() {
    demand_none(safety::confinement(&all_rust()));
}

#[test]
fn every_unsafe_has_an_argument() {
    demand_none(all_rust().iter().flat_map(safety::arguments).collect());
}

#[test]
fn the_sections_that_are_cited_exist() {
    let mut texts = all_rust();
    for path in ["spec", "."].iter().flat_map(|dir| files(dir, "md")) {
        let name = path.strip_prefix(root()).expect("a path below the root").to_string_lossy();
        let text = fs::read_to_string(&path).expect("UTF-8 text");
        texts.push(Source::prose(name.trim_start_matches("./"), text));
    }
    let heads = |name: &str| fs::read_to_string(root().join(name)).ok();
    demand_none(texts.iter().flat_map(|text| citations::check(text, &heads)).collect());
}

#[test]
fn each_planted_bug_has_its_test_and_each_line_its_bug() {
    let table = fs::read_to_string(root().join("tests/canaries.txt")).expect("the table");
    let table = Source::prose("tests/canaries.txt", table);
    demand_none(planted::check(&sources(&["src"]), &table));
}
