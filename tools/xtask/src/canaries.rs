//! Canaries: each line of `tests/canaries.txt` names a bug that the code can be built with
//! (`cfg(bug = "...")`) and the test that must then fail.
//!
//! Only the project's own crate is built again for each bug: the flag goes in through a wrapper
//! around the compiler that cargo uses for workspace members, so that the dependencies stay, which
//! are those that the tests and loom are built with. Only the program that holds the test is built,
//! and only that test runs.

use crate::outcome::Outcome;
use crate::place::Place;
use crate::run::{Ran, capture, capture_for};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A planted bug that hangs its test has not made it fail.
const TIME_MAX: Duration = Duration::from_secs(600);

/// With what the bug is to be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Build {
    Std,
    Loom,
}

/// One line of the table.
#[derive(Debug, PartialEq, Eq)]
struct Canary {
    bug: String,
    build: Build,
    /// The file below `tests/` that holds the test; `None` for a unit test.
    target: Option<String>,
    test: String,
}

/// Plants every bug and looks at its test.
pub fn run_table(place: &Place, table: &str) -> io::Result<Outcome> {
    let canaries = match parse(table) {
        Ok(canaries) => canaries,
        Err(why) => return Ok(Outcome::failed(format!("tests/canaries.txt: {why}"))),
    };
    let mut outcome = Outcome::default();
    for canary in &canaries {
        match look_at(place, canary)? {
            Ok(()) => outcome.counts.passed += 1,
            Err((why, output)) => {
                outcome.counts.failed += 1;
                outcome.notes.push(format!("{}: {why}", canary.bug));
                outcome.output.push_str(&format!("== {}\n{output}\n", canary.bug));
            }
        }
    }
    if canaries.is_empty() {
        return Ok(Outcome::failed("tests/canaries.txt names no bug"));
    }
    Ok(outcome)
}

/// The suite.
pub fn run(place: &Place) -> io::Result<Outcome> {
    run_table(place, &fs::read_to_string(place.root().join("tests/canaries.txt"))?)
}

fn parse(table: &str) -> Result<Vec<Canary>, String> {
    let lines = table.lines().map(str::trim_end).enumerate();
    lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(at, line)| parse_line(line).ok_or_else(|| wrong_line(at + 1, line)))
        .collect()
}

fn wrong_line(number: usize, line: &str) -> String {
    format!("line {number}: expected bug<TAB>loom|std<TAB>[file/]test, found {line:?}")
}

fn parse_line(line: &str) -> Option<Canary> {
    let mut fields = line.split('\t');
    let (bug, build, test) = (fields.next()?, fields.next()?, fields.next()?);
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if fields.next().is_some() || bug.is_empty() || !bug.chars().all(is_word) {
        return None;
    }
    let build = match build {
        "std" => Build::Std,
        "loom" => Build::Loom,
        _ => return None,
    };
    let (target, test) = match test.split_once('/') {
        Some((target, test)) => (Some(target.to_string()), test),
        None => (None, test),
    };
    Some(Canary { bug: bug.into(), build, target, test: test.into() })
}

type Verdict = Result<(), (String, String)>;

fn look_at(place: &Place, canary: &Canary) -> io::Result<Verdict> {
    let built = capture(place, "canary-build", &mut build_command(place, canary)?)?;
    let programs = executables(&built.output);
    let [program] = programs.as_slice() else {
        let said = built.output.lines().filter(|line| !line.starts_with("{\"reason\""));
        return Ok(Err(("it does not build".into(), said.collect::<Vec<_>>().join("\n"))));
    };
    let mut test = place.command(program);
    test.args(["--exact", &canary.test, "--nocapture"]);
    Ok(judge(&canary.test, capture_for(place, "canary", &mut test, TIME_MAX)?))
}

/// A canary is caught if its one test ran and did not pass.
fn judge(test: &str, ran: Ran) -> Verdict {
    let ran_it = ran.output.lines().any(|line| line == "running 1 test");
    let fell = ran.was_killed() || ran.output.contains("test result: FAILED. 0 passed; 1 failed");
    let why = match (ran_it, ran.status.is_some()) {
        (true, true) if fell => return Ok(()),
        (true, true) => format!("{test} passes although the bug is there"),
        (true, false) => format!("{test} hangs instead of failing"),
        (false, _) => format!("there is no test {test}"),
    };
    Err((why, ran.output))
}

fn build_command(place: &Place, canary: &Canary) -> io::Result<Command> {
    let mut cargo = match canary.build {
        Build::Loom => place.cargo_with_flags("loom", "--cfg loom"),
        Build::Std => place.cargo(),
    };
    let wrapper = write_wrapper(&place.target("canaries"), &canary.bug)?;
    cargo.env("RUSTC_WORKSPACE_WRAPPER", wrapper);
    cargo.args(["test", "--no-run", "--message-format", "json-render-diagnostics"]);
    cargo.args(["--package", "drystone"]);
    if canary.build == Build::Loom {
        cargo.arg("--release");
    }
    match &canary.target {
        Some(target) => cargo.args(["--test", target]),
        None => cargo.arg("--lib"),
    };
    Ok(cargo)
}

/// A program that calls the compiler with the bug planted. Its path is part of what cargo tells
/// builds apart by, so each bug has one of its own. It saves what only costs time: who looks for the
/// cause builds anew.
fn write_wrapper(dir: &Path, bug: &str) -> io::Result<PathBuf> {
    fs::create_dir_all(dir)?;
    let path = dir.join(format!("rustc-with-{bug}"));
    let saving = "-C debuginfo=0 -C opt-level=1";
    let script = format!("#!/bin/sh\nexec \"$@\" --cfg 'bug=\"{bug}\"' {saving}\n");
    if fs::read_to_string(&path).ok().as_deref() != Some(script.as_str()) {
        fs::write(&path, script)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(path)
}

/// The test programs that cargo says it built.
fn executables(messages: &str) -> Vec<PathBuf> {
    let of = |line: &str| {
        let (_, rest) = line.split_once("\"executable\":\"")?;
        Some(PathBuf::from(rest.split_once('"')?.0))
    };
    messages.lines().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    #[test]
    fn a_table_is_read_and_a_wrong_line_is_named() {
        let table = "# bugs\n\nno_seal\tloom\tindex::loom::growth\nlate\tstd\tmodel/reopen\n";
        let canaries = parse(table).unwrap();
        assert_eq!(canaries.len(), 2);
        assert_eq!((canaries[0].build, canaries[0].target.as_deref()), (Build::Loom, None));
        assert_eq!(canaries[1].target.as_deref(), Some("model"));
        assert_eq!(canaries[1].test, "reopen");
        for line in ["a\tstd", "a\tmiri\tb", "a b\tstd\tc", "a\tstd\tb\tc", "a'\tstd\tb"] {
            assert!(parse(line).unwrap_err().starts_with("line 1: "), "{line}");
        }
    }

    fn ran(code: Option<i32>, output: &str) -> Ran {
        Ran { status: code.map(ExitStatus::from_raw), output: output.into() }
    }

    #[test]
    fn only_a_test_that_ran_and_fell_has_caught_its_bug() {
        let fell = "running 1 test\ntest a ... FAILED\ntest result: FAILED. 0 passed; 1 failed; 0";
        let passed = "running 1 test\ntest a ... ok\ntest result: ok. 1 passed; 0 failed; 0";
        let absent = "running 0 tests\ntest result: ok. 0 passed; 0 failed; 0";
        assert!(judge("a", ran(Some(101 << 8), fell)).is_ok());
        assert!(judge("a", ran(Some(6), "running 1 test\n")).is_ok(), "an abort is a fall");
        assert!(judge("a", ran(Some(0), passed)).unwrap_err().0.contains("passes although"));
        assert!(judge("a", ran(Some(0), absent)).unwrap_err().0.contains("there is no test"));
        assert!(judge("a", ran(None, "running 1 test\n")).unwrap_err().0.contains("hangs"));
    }

    #[test]
    fn test_programs_are_found_in_what_cargo_prints() {
        let messages = "{\"reason\":\"compiler-artifact\",\"executable\":null}\n\
                        {\"executable\":\"/t/debug/deps/drystone-1\",\"fresh\":false}\n";
        assert_eq!(executables(messages), [PathBuf::from("/t/debug/deps/drystone-1")]);
    }
}
