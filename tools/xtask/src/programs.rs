//! The tests that `cargo test` knows: those that a change must pass at once, and the campaigns, which take
//! minutes each and both cores to themselves.

use crate::outcome::{Outcome, said};
use crate::place::Place;
use crate::run::capture;
use crate::system;
use std::io;
use std::process::Command;

/// Test programs that are campaigns.
const CAMPAIGNS: [&str; 4] = ["hostile", "histories", "power", "space"];
/// Needs a build of its own: the suite of that name.
const APART: &str = "deaths";

/// All but the campaigns.
pub fn tests(place: &Place) -> io::Result<Outcome> {
    let mut cargo = place.cargo();
    if system::has_program("cargo-nextest") {
        nextest(&mut cargo).args(["--workspace", "-E"]).arg(format!("not ({})", binaries(true)));
        return figures(place, "tests", &mut cargo);
    }
    cargo.args(["test", "--no-fail-fast", "--workspace", "--exclude", "drystone"]);
    let mut outcome = figures(place, "tests", cargo.args(["--lib", "--bins", "--tests"]))?;
    let mut cargo = place.cargo();
    of_core(place, &mut cargo)?;
    outcome += figures(place, "tests", &mut cargo)?;
    Ok(outcome)
}

/// The arguments for those of the core crate.
pub fn of_core(place: &Place, cargo: &mut Command) -> io::Result<()> {
    cargo.args(["test", "--no-fail-fast", "--package", "drystone", "--lib"]);
    for name in test_programs(place)? {
        if name != APART && !CAMPAIGNS.contains(&name.as_str()) {
            cargo.args(["--test", &name]);
        }
    }
    Ok(())
}

/// The campaigns, one test at a time.
pub fn campaigns(place: &Place) -> io::Result<Outcome> {
    let mut cargo = place.cargo();
    if system::has_program("cargo-nextest") {
        nextest(&mut cargo).args(["--package", "drystone", "--test-threads", "1"]);
        cargo.args(["-E", &binaries(false)]);
    } else {
        cargo.args(["test", "--no-fail-fast", "--package", "drystone"]);
        CAMPAIGNS.iter().for_each(|name| _ = cargo.args(["--test", name]));
        cargo.args(["--", "--test-threads=1", "--show-output"]);
    }
    figures(place, "campaigns", &mut cargo)
}

fn nextest(cargo: &mut Command) -> &mut Command {
    cargo.args(["nextest", "run", "--no-fail-fast", "--color", "never"]);
    cargo.args(["--status-level", "fail", "--final-status-level", "fail"]);
    // For the figures in it.
    cargo.args(["--success-output", "immediate"])
}

/// A filter for the test programs of the campaigns, and for the one that stands apart.
fn binaries(with_apart: bool) -> String {
    let apart = with_apart.then_some(APART);
    let all: Vec<String> =
        CAMPAIGNS.into_iter().chain(apart).map(|name| format!("binary(={name})")).collect();
    all.join(" | ")
}

/// The names of the programs below `tests/`.
fn test_programs(place: &Place) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(place.root().join("tests"))? {
        let path = entry?.path();
        let is_program = path.extension().is_some_and(|extension| extension == "rs")
            || path.join("main.rs").exists();
        let name = path.file_stem().and_then(|stem| stem.to_str());
        names.extend(name.filter(|_| is_program).map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

/// Runs tests and finds the figures that they print.
fn figures(place: &Place, name: &str, command: &mut Command) -> io::Result<Outcome> {
    let ran = capture(place, name, command)?;
    let mut outcome = Outcome::counted(ran.success(), ran.output);
    outcome.extent = said(&outcome.output, "figure");
    let skipped = said(&outcome.output, "SKIPPED").into_iter();
    outcome.notes.extend(skipped.map(|why| format!("SKIPPED: {why}")));
    Ok(outcome)
}
