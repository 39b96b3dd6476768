//! Canaries: each line of `tests/canaries.txt` names a bug that is planted in the code as `bug!("...")`
//! and the test that must then fail.
//!
//! The test programs are built once with all bugs in them (`cfg(bug)`), and once more under loom; the
//! environment variable `DRYSTONE_BUG` then says which bug a process has. Only the project's own crate
//! is built anew: the flag goes in through a wrapper around the compiler that cargo uses for workspace
//! members, so that the dependencies stay, which are those that the tests and loom are built with.

use crate::outcome::Outcome;
use crate::place::Place;
use crate::run::{Ran, capture, capture_for, some_at_a_time};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// A planted bug that hangs its test has not made it fail.
const TIME_MAX: Duration = Duration::from_secs(600);

/// With what the bug is to be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Build {
    /// A test.
    Std,
    /// A test under loom.
    Loom,
    /// A fuzz target: the suite `fuzz` looks at it.
    Fuzz,
    /// A stress under a sanitizer: the suite `sanitizers` looks at it.
    Asan,
    /// The same.
    Tsan,
}

/// One line of the table.
#[derive(Debug, PartialEq, Eq)]
pub struct Canary {
    /// Its name in the code.
    pub bug: String,
    build: Build,
    /// The file below `tests/` that holds the test; `None` for a unit test.
    target: Option<String>,
    /// What must fail.
    pub test: String,
}

/// The suite.
pub fn run(place: &Place) -> io::Result<Outcome> {
    run_named(place, &[])
}

/// Plants these bugs, or all, one after the other, and looks at their tests.
pub fn run_named(place: &Place, names: &[String]) -> io::Result<Outcome> {
    let mut canaries = match read(place)? {
        Ok(canaries) => canaries,
        Err(why) => return Ok(Outcome::failed(why)),
    };
    if let Some(name) = names.iter().find(|name| canaries.iter().all(|c| c.bug != **name)) {
        return Ok(Outcome::failed(format!("tests/canaries.txt has no line for {name}")));
    }
    canaries.retain(|canary| matches!(canary.build, Build::Std | Build::Loom));
    canaries.retain(|canary| names.is_empty() || names.contains(&canary.bug));
    if canaries.is_empty() {
        return Ok(Outcome::failed("tests/canaries.txt names no bug"));
    }
    let begin = Instant::now();
    let mut programs = Programs::new();
    for build in [Build::Std, Build::Loom] {
        programs.extend(build_programs(place, build, &canaries)?);
    }
    let built = begin.elapsed();
    let look = |canary: &Canary| look_at(place, &programs[&canary.program()], canary);
    let verdicts = some_at_a_time(&canaries, look)?;
    let mut outcome = sum_up(&canaries, verdicts);
    let (caught, planted) = (outcome.counts.passed, canaries.len());
    let (build, all) = (built.as_secs_f64(), begin.elapsed().as_secs_f64());
    outcome.extent.push(format!(
        "{caught} caught of {planted} planted bugs in {all:.0} s, of which {build:.0} s built"
    ));
    Ok(outcome)
}

fn sum_up(canaries: &[Canary], verdicts: Vec<Verdict>) -> Outcome {
    let mut outcome = Outcome::default();
    for (canary, verdict) in canaries.iter().zip(verdicts) {
        match verdict {
            Ok(()) => outcome.counts.passed += 1,
            Err((why, output)) => {
                outcome.counts.failed += 1;
                outcome.notes.push(format!("{}: {why}", canary.bug));
                outcome.output.push_str(&format!("== {}\n{output}\n", canary.bug));
            }
        }
    }
    outcome
}

/// The lines of one kind, or what is wrong with the table.
pub fn of(place: &Place, build: Build) -> io::Result<Result<Vec<Canary>, String>> {
    let of_build =
        |canaries: Vec<Canary>| canaries.into_iter().filter(|c| c.build == build).collect();
    Ok(read(place)?.map(of_build))
}

fn read(place: &Place) -> io::Result<Result<Vec<Canary>, String>> {
    let table = fs::read_to_string(place.root().join("tests/canaries.txt"))?;
    Ok(parse(&table).map_err(|why| format!("tests/canaries.txt: {why}")))
}

fn parse(table: &str) -> Result<Vec<Canary>, String> {
    let lines = table.lines().map(str::trim_end).enumerate();
    lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(at, line)| parse_line(line).ok_or_else(|| wrong_line(at + 1, line)))
        .collect()
}

fn wrong_line(number: usize, line: &str) -> String {
    format!(
        "line {number}: expected bug<TAB>std|loom|fuzz|asan|tsan<TAB>[file/]test, found {line:?}"
    )
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
        "fuzz" => Build::Fuzz,
        "asan" => Build::Asan,
        "tsan" => Build::Tsan,
        _ => return None,
    };
    let (target, test) = match test.split_once('/') {
        Some((target, test)) => (Some(target.to_string()), test),
        None => (None, test),
    };
    Some(Canary { bug: bug.into(), build, target, test: test.into() })
}

type Verdict = Result<(), (String, String)>;

/// The test programs by build and name, or what the compiler said instead.
type Programs = BTreeMap<(Build, String), Result<PathBuf, String>>;

/// The library's unit tests go by its name.
const LIBRARY: &str = "drystone";

impl Canary {
    fn program(&self) -> (Build, String) {
        (self.build, self.target.clone().unwrap_or_else(|| LIBRARY.into()))
    }
}

fn look_at(
    place: &Place,
    program: &Result<PathBuf, String>,
    canary: &Canary,
) -> io::Result<Verdict> {
    let program = match program {
        Ok(program) => program,
        Err(said) => return Ok(Err(("it does not build".into(), said.clone()))),
    };
    let mut test = place.command(program);
    test.args(["--exact", &canary.test, "--nocapture"]).env("DRYSTONE_BUG", &canary.bug);
    let log = format!("canary-{}", canary.bug);
    Ok(judge(&canary.test, capture_for(place, &log, &mut test, TIME_MAX)?))
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

/// Builds the programs that these canaries need of one build.
fn build_programs(place: &Place, build: Build, canaries: &[Canary]) -> io::Result<Programs> {
    let of_build = canaries.iter().map(Canary::program).filter(|(of, _)| *of == build);
    let names: BTreeSet<String> = of_build.map(|(_, name)| name).collect();
    if names.is_empty() {
        return Ok(Programs::new());
    }
    let built = capture(place, "canary-build", &mut build_command(place, build, &names)?)?;
    let mut found: BTreeMap<_, _> = executables(&built.output).into_iter().collect();
    let said: Vec<_> = built.output.lines().filter(|line| !line.starts_with('{')).collect();
    let program = |name: String| {
        let path = found.remove(&name).ok_or_else(|| said.join("\n"));
        ((build, name), path)
    };
    Ok(names.into_iter().map(program).collect())
}

/// A test program of the library, built with all bugs in it, or what the compiler said instead.
pub fn build_with_bugs(place: &Place, name: &str) -> io::Result<Result<PathBuf, String>> {
    let names = BTreeSet::from([name.to_string()]);
    let built = capture(place, name, &mut build_command(place, Build::Std, &names)?)?;
    let program = executables(&built.output).into_iter().find(|(found, _)| found == name);
    Ok(program.map(|(_, path)| path).ok_or(built.output))
}

fn build_command(place: &Place, build: Build, names: &BTreeSet<String>) -> io::Result<Command> {
    let mut cargo = match build {
        Build::Loom => place.cargo_with_flags("loom", "--cfg loom"),
        _ => place.cargo(),
    };
    cargo.env("RUSTC_WORKSPACE_WRAPPER", write_wrapper(&place.target("canaries"))?);
    cargo.args([
        "test",
        "--no-run",
        "--message-format",
        "json-render-diagnostics",
        "--package",
        "drystone",
    ]);
    if build == Build::Loom {
        cargo.arg("--release");
    }
    for name in names {
        match name.as_str() {
            LIBRARY => cargo.arg("--lib"),
            test => cargo.args(["--test", test]),
        };
    }
    Ok(cargo)
}

/// A program that calls the compiler with the bugs planted. Its path is part of what cargo tells builds
/// apart by. It saves what only costs time: who looks for the cause builds anew.
fn write_wrapper(dir: &Path) -> io::Result<PathBuf> {
    fs::create_dir_all(dir)?;
    let path = dir.join("rustc-with-bugs");
    let script = "#!/bin/sh\nexec \"$@\" --cfg bug -C debuginfo=0 -C opt-level=1\n";
    if fs::read_to_string(&path).ok().as_deref() != Some(script) {
        fs::write(&path, script)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(path)
}

/// The names and paths of the test programs that cargo says it built.
pub fn executables(messages: &str) -> Vec<(String, PathBuf)> {
    let quoted = |text: &str, key: &str| {
        let (_, rest) = text.split_once(key)?;
        Some(rest.split_once('"')?.0.to_string())
    };
    let of = |line: &str| {
        let path = quoted(line, "\"executable\":\"")?;
        let (_, target) = line.split_once("\"target\":{")?;
        Some((quoted(target, "\"name\":\"")?, path.into()))
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
                        {\"target\":{\"kind\":[\"lib\"],\"name\":\"drystone\"},\
                        \"executable\":\"/t/debug/deps/drystone-1\",\"fresh\":false}\n";
        let found = [("drystone".to_string(), PathBuf::from("/t/debug/deps/drystone-1"))];
        assert_eq!(executables(messages), found);
    }

    #[test]
    fn each_canary_has_its_own_verdict() {
        let canaries = parse("a\tstd\tx\nb\tstd\ty\n").unwrap();
        let verdicts = vec![Ok(()), Err(("y passes".to_string(), "said".to_string()))];
        let outcome = sum_up(&canaries, verdicts);
        assert_eq!((outcome.counts.passed, outcome.counts.failed), (1, 1));
        assert_eq!(
            (outcome.notes, outcome.output),
            (vec!["b: y passes".into()], "== b\nsaid\n".into())
        );
    }
}
