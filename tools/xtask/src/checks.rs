//! The suites of `cargo xtask test`, and the table at its end.

use crate::canaries;
use crate::deaths;
use crate::fuzz;
use crate::interpreted;
use crate::outcome::{Counts, Outcome, without_successes};
use crate::place::Place;
use crate::programs;
use crate::python;
use crate::run::{Ran, capture, processor_seconds};
use crate::sanitizers;
use crate::schedules;
use crate::system;

use std::fs;
use std::io;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

/// One suite.
pub struct Suite {
    /// Its word on the command line.
    pub name: &'static str,
    /// What it is, for the help.
    pub what: &'static str,
    /// Whether `--quick` runs it.
    pub quick: bool,
    run: fn(&Place) -> io::Result<Outcome>,
}

impl Suite {
    /// Whether a run that names no suites has this one.
    pub fn is_due(&self, is_quick: bool) -> bool {
        !is_quick || self.quick
    }
}

/// All suites, in the order in which they run: what fails fast comes first.
pub const SUITES: &[Suite] = &[
    Suite { name: "fmt", what: "the format of the code", quick: true, run: fmt },
    Suite { name: "clippy", what: "lints, warnings denied", quick: true, run: clippy },
    Suite { name: "tests", what: "unit and integration tests", quick: true, run: programs::tests },
    Suite {
        name: "doctests",
        what: "the examples in the documentation",
        quick: true,
        run: doctests,
    },
    Suite {
        name: "docs",
        what: "the documentation builds, warnings denied",
        quick: false,
        run: docs,
    },
    Suite {
        name: "loom",
        what: "the shared-memory protocols, model-checked",
        quick: false,
        run: schedules::run,
    },
    Suite {
        name: "model",
        what: "a model of the protocol, with kills and power losses, searched to the end",
        quick: false,
        run: model,
    },
    Suite {
        name: "canaries",
        what: "each planted bug makes its test fail",
        quick: false,
        run: canaries::run,
    },
    Suite {
        name: "campaigns",
        what: "hostile files, histories, power cuts, full disks",
        quick: false,
        run: programs::campaigns,
    },
    Suite {
        name: "deaths",
        what: "death at every step and system call, kills, oddities",
        quick: false,
        run: deaths::run,
    },
    Suite {
        name: "fuzz",
        what: "each fuzz target for 45 s under the address sanitizer",
        quick: false,
        run: fuzz::run,
    },
    Suite {
        name: "sanitizers",
        what: "threads that use one store in every way, under the address and thread sanitizers",
        quick: false,
        run: sanitizers::run,
    },
    Suite {
        name: "miri",
        what: "the pure layers and the index under Miri, where there is one",
        quick: false,
        run: interpreted::miri,
    },
    Suite {
        name: "memcheck",
        what: "unit tests of the lower layers under valgrind",
        quick: false,
        run: interpreted::memcheck,
    },
    Suite {
        name: "vectors",
        what: "digests against independent implementations (Python)",
        quick: false,
        run: vectors,
    },
    Suite {
        name: "python",
        what: "the Python package from its wheel, beside the oldest and the newest NumPy",
        quick: false,
        run: python::run,
    },
    Suite {
        name: "deny",
        what: "licenses and advisories of dependencies",
        quick: false,
        run: deny,
    },
];

/// The suite of this name, which must exist.
pub fn named(name: &str) -> &'static Suite {
    SUITES.iter().find(|suite| suite.name == name).expect("a name from the list above")
}

struct Row {
    name: &'static str,
    outcome: Outcome,
    time: Duration,
    /// Seconds of processor time.
    busy: f64,
}

/// Runs suites, prints what comes out, and ends with the closing line.
pub fn run(place: &Place, suites: &[&Suite]) -> ExitCode {
    for line in system::prepare(place) {
        println!("!! {line}");
    }
    let rows: Vec<Row> =
        suites.iter().map(|suite| run_row(suite.name, || (suite.run)(place))).collect();
    close(&rows)
}

/// Runs one suite in a way of its own.
pub fn run_one(name: &'static str, suite: impl FnOnce() -> io::Result<Outcome>) -> ExitCode {
    close(&[run_row(name, suite)])
}

fn run_row(name: &'static str, suite: impl FnOnce() -> io::Result<Outcome>) -> Row {
    let (begin, busy) = (Instant::now(), processor_seconds());
    let outcome =
        suite().unwrap_or_else(|error| Outcome::failed(format!("cannot be run: {error}")));
    let busy = processor_seconds() - busy;
    let row = Row { name, outcome, time: begin.elapsed(), busy };
    print_row(&row);
    if row.outcome.counts.failed > 0 {
        println!("---- output of {} ----", row.name);
        println!("{}", without_successes(&row.outcome.output));
        println!("---- end of {} ----", row.name);
    }
    row
}

/// The table and the closing line.
fn close(rows: &[Row]) -> ExitCode {
    let mut sum = Counts::default();
    println!(
        "\n{:<10} {:>7} {:>7} {:>8} {:>9} {:>7}",
        "suite", "passed", "failed", "skipped", "time", "cores"
    );
    for Row { name, outcome: Outcome { counts, .. }, time, busy } in rows {
        let Counts { passed, failed, skipped } = *counts;
        let seconds = time.as_secs_f64();
        let cores = busy / seconds.max(0.001);
        println!("{name:<10} {passed:>7} {failed:>7} {skipped:>8} {seconds:>7.1} s {cores:>7.1}");
        sum += *counts;
    }
    println!("\n{}", closing_line(sum));
    ExitCode::from(u8::from(sum.failed > 0))
}

fn closing_line(sum: Counts) -> String {
    let Counts { passed, failed, skipped } = sum;
    match skipped {
        0 => format!("{passed} passed, {failed} failed"),
        _ => format!("{passed} passed, {failed} failed, {skipped} skipped"),
    }
}

fn print_row(row: &Row) {
    let Counts { passed, failed, skipped } = row.outcome.counts;
    let word = match (passed, failed, skipped) {
        (_, 1.., _) => "FAILED",
        (0, 0, _) => "SKIPPED",
        _ => "ok",
    };
    let counts = closing_line(row.outcome.counts);
    println!("{:<10} {word:<8} {counts}, {:.1} s", row.name, row.time.as_secs_f64());
    for line in &row.outcome.extent {
        println!("   {line}");
    }
    for note in &row.outcome.notes {
        println!("!! {}: {note}", row.name);
    }
}

fn check(place: &Place, name: &str, command: &mut Command) -> io::Result<Outcome> {
    let ran = capture(place, name, command)?;
    Ok(Outcome::check(ran.success(), ran.output))
}

fn count(place: &Place, name: &str, command: &mut Command) -> io::Result<Outcome> {
    let ran = capture(place, name, command)?;
    Ok(Outcome::counted(ran.success(), ran.output))
}

/// Crates below `tests/` that are no members of the workspace.
const OWN_WORKSPACES: &[&str] = &["fuzz", "stress"];

fn fmt(place: &Place) -> io::Result<Outcome> {
    let mut all = check(place, "fmt", place.cargo().args(["fmt", "--all", "--check"]))?;
    for name in OWN_WORKSPACES {
        let manifest = format!("tests/{name}/Cargo.toml");
        let mut cargo = place.cargo();
        all += check(place, "fmt", cargo.args(["fmt", "--check", "--manifest-path", &manifest]))?;
    }
    Ok(all)
}

fn clippy(place: &Place) -> io::Result<Outcome> {
    let mut cargo = place.cargo();
    cargo.args(["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]);
    check(place, "clippy", &mut cargo)
}

fn doctests(place: &Place) -> io::Result<Outcome> {
    count(place, "doctests", place.cargo().args(["test", "--workspace", "--doc"]))
}

fn docs(place: &Place) -> io::Result<Outcome> {
    let mut cargo = place.cargo();
    cargo.args(["doc", "--workspace", "--no-deps", "--quiet"]).env("RUSTDOCFLAGS", "-D warnings");
    check(place, "docs", &mut cargo)
}

/// Every scenario of `spec/model` with all rules, and for each rule one without it.
fn model(place: &Place) -> io::Result<Outcome> {
    let mut cargo = place.cargo();
    cargo.args(["run", "--release", "--quiet", "--package", "protocol-model"]);
    let mut outcome = count(place, "model", &mut cargo)?;
    // What was thought of, a line each, and the sum; the rest only if it is not as it should be.
    let is_usual = |line: &&str| line.contains(": caught; ") || line.starts_with("after ");
    let is_extent = |line: &&str| line.contains(" states") && !is_usual(line);
    outcome.extent.extend(outcome.output.lines().filter(is_extent).map(str::to_string));
    Ok(outcome)
}

/// What the script of the vectors exits with if its packages cannot be had.
const VECTORS_SKIPPED: i32 = 77;

fn vectors(place: &Place) -> io::Result<Outcome> {
    if !system::has_program("python3") {
        return Ok(Outcome::skipped("there is no python3"));
    }
    let venv = place.target("xtask").join("vectors-venv");
    let check = || {
        let mut python = place.command("python3");
        python.arg("spec/vectors/check.py").arg("--venv").arg(&venv);
        capture(place, "vectors", &mut python)
    };
    let is_skipped = |ran: &Ran| ran.status.and_then(|s| s.code()) == Some(VECTORS_SKIPPED);
    let mut ran = check()?;
    if is_skipped(&ran) {
        // Half an environment is worse than none; and Debian's Python makes none without a package.
        drop(fs::remove_dir_all(&venv));
        system::install(place, &["python3-venv"]);
        ran = check()?;
    }
    if is_skipped(&ran) {
        let why = ran.output.lines().next_back().unwrap_or("its packages cannot be had");
        return Ok(Outcome::skipped(why));
    }
    Ok(Outcome::check(ran.success(), ran.output))
}

fn deny(place: &Place) -> io::Result<Outcome> {
    if !system::has_program("cargo-deny") {
        return Ok(Outcome::skipped("cargo-deny is not installed (cargo install cargo-deny)"));
    }
    let deny = |what: &[&str]| {
        let mut cargo = place.cargo();
        capture(place, "deny", cargo.args(["deny", "--workspace", "check"]).args(what))
    };
    let here = deny(&["bans", "licenses", "sources"])?;
    let advisories = deny(&["advisories"])?;
    let mut outcome = Outcome::check(here.success(), here.output);
    if advisories.output.contains("failed to fetch advisory database") {
        outcome.counts.skipped += 1;
        outcome.notes.push("advisories SKIPPED: their database cannot be had here".into());
    } else {
        outcome.counts += Outcome::check(advisories.success(), String::new()).counts;
        outcome.output.push_str(&advisories.output);
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closing_line_stands_alone_and_names_skips_only_if_there_are_any() {
        let mut sum = Counts { passed: 3, failed: 0, skipped: 0 };
        assert_eq!(closing_line(sum), "3 passed, 0 failed");
        sum += Counts { passed: 1, failed: 2, skipped: 4 };
        assert_eq!(closing_line(sum), "4 passed, 2 failed, 4 skipped");
    }

    #[test]
    fn chores_that_are_suites_exist() {
        assert_eq!((named("loom").name, named("canaries").name), ("loom", "canaries"));
    }
}
