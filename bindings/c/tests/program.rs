//! A C program, compiled against the header and the static library, runs through every call.

use std::path::{Path, PathBuf};
use std::process::Command;

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed:\n{stderr}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Where cargo puts the libraries: beside the directory of the test itself.
fn library() -> PathBuf {
    let test = std::env::current_exe().expect("the test has a path");
    let profile = test.ancestors().nth(2).expect("it lies two levels down");
    profile.join("libdrystone_c.a")
}

#[test]
fn a_c_program_uses_every_call() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    // Integration tests do not build a crate's static library by themselves.
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    run(Command::new(env!("CARGO")).args([
        "build",
        "--quiet",
        "--profile",
        profile,
        "--package",
        "drystone-c",
    ]));
    let dir = tempfile::tempdir().expect("a temporary directory");
    let program = dir.path().join("store");
    run(Command::new("gcc")
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-I"])
        .arg(here.join("include"))
        .arg(here.join("tests/store.c"))
        .arg(library())
        .args(["-lpthread", "-ldl", "-lm", "-o"])
        .arg(&program));
    assert_eq!(run(Command::new(&program).arg(dir.path().join("s"))), "ok\n");
}

#[test]
fn the_header_and_the_code_agree_on_every_status() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let header = std::fs::read_to_string(here.join("include/drystone.h")).expect("the header");
    let source = std::fs::read_to_string(here.join("src/status.rs")).expect("the table");
    let consts = [("MISSING", 1), ("INVALID_INPUT", 15), ("TIMED_OUT", 18)];
    let mut checked = 0;
    for line in source.lines().filter_map(|line| line.trim().strip_prefix("ErrorKind::")) {
        let (kind, value) = line.trim_end_matches(',').split_once(" => ").expect("kind => code");
        let named = consts.iter().find(|(name, _)| *name == value).map(|(_, code)| *code);
        let code: i32 = named.unwrap_or_else(|| value.parse().expect("a number"));
        let mut name = String::from("DRY");
        for letter in kind.chars() {
            if letter.is_uppercase() {
                name.push('_');
            }
            name.push(letter.to_ascii_uppercase());
        }
        assert!(header.contains(&format!("#define {name} {code}\n")), "{name} {code}");
        checked += 1;
    }
    assert_eq!(checked, 18);
}
