//! Fuzzing: the targets of `tests/fuzz` under libFuzzer and the address sanitizer, each for a while.
//!
//! The corpus that is kept is `tests/fuzz/corpus/TARGET`; what is found grows `target/fuzz/corpus/TARGET`,
//! and what fails is left in `target/fuzz/found`. The programs carry the planted bugs, too: each line of
//! `tests/canaries.txt` that says `fuzz` names a target that must find its bug.

use crate::canaries::{self, Build, Canary};
use crate::outcome::Outcome;
use crate::place::Place;
use crate::run::{Ran, capture_for, some_at_a_time};
use crate::sanitized::{self, Built};
use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Seconds for each target, where `DRYSTONE_FUZZ_SECONDS` does not say.
const SECONDS: u64 = 45;
/// Seconds in which a planted bug must be found.
const CANARY_SECONDS: u64 = 120;
/// An input that takes longer hangs.
const INPUT_SECONDS: u64 = 25;
/// What libFuzzer needs to see: which edges are taken, and what is compared with what.
const COVERAGE: &str = "--cfg fuzzing --cfg bug -Ccodegen-units=1 -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares";

/// The suite.
pub fn run(place: &Place) -> io::Result<Outcome> {
    run_targets(place, &[], None)
}

/// Runs these targets, or all and the canaries, for so many seconds each.
pub fn run_targets(place: &Place, names: &[String], seconds: Option<u64>) -> io::Result<Outcome> {
    let asked = env::var("DRYSTONE_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    let seconds = seconds.or(asked).unwrap_or(SECONDS);
    let mut targets = targets(place)?;
    if let Some(name) = names.iter().find(|name| !targets.contains(name)) {
        return Ok(Outcome::failed(format!("there is no target {name}: {}", targets.join(", "))));
    }
    targets.retain(|target| names.is_empty() || names.contains(target));
    let build = sanitized::Build {
        crate_name: "fuzz",
        sanitizer: "address",
        flags: COVERAGE,
        target: "fuzz",
    };
    let programs = match sanitized::build(place, &build)? {
        Built::Programs(programs) => programs,
        Built::Skipped(why) => return Ok(Outcome::skipped(format!("SKIPPED: {why}"))),
        Built::Failed(output) => return Ok(Outcome::check(false, output)),
    };
    let mut outcome = Outcome::default();
    let mut bugs = Vec::new();
    if names.is_empty() {
        match canaries::of(place, Build::Fuzz)? {
            Ok(lines) => bugs = lines,
            Err(why) => outcome.notes.push(why),
        }
    }
    // The bugs last: they are found soon, while the last target has yet to end.
    let jobs: Vec<Job<'_>> =
        targets.iter().map(|name| Job::Target(name)).chain(bugs.iter().map(Job::Bug)).collect();
    let done = some_at_a_time(&jobs, |job| match job {
        Job::Target(target) => fuzz(place, &programs, target, seconds),
        Job::Bug(canary) => look_for(place, &programs, canary),
    })?;
    let is_found = |done: &&Outcome| done.counts.failed == 0;
    let caught = done[targets.len()..].iter().filter(is_found).count();
    done.into_iter().for_each(|done| outcome += done);
    if !bugs.is_empty() {
        outcome.extent.push(format!("{caught} caught of {} planted bugs", bugs.len()));
    }
    Ok(outcome)
}

/// What a program is run for.
enum Job<'a> {
    Target(&'a str),
    Bug(&'a Canary),
}

/// The programs of the crate, by their sources.
fn targets(place: &Place) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(place.root().join("tests/fuzz/src/bin"))? {
        let path = entry?.path();
        names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

/// A program on its kept corpus; `found` is where its own goes.
fn command(
    place: &Place,
    program: &Path,
    target: &str,
    found: &Path,
    seconds: u64,
) -> io::Result<Command> {
    let artifacts = place.target("fuzz").join("found");
    for dir in [found, artifacts.as_path()] {
        fs::create_dir_all(dir)?;
    }
    let mut command = place.command(program);
    command.arg(format!("-max_total_time={seconds}")).arg(format!("-timeout={INPUT_SECONDS}"));
    command.args(["-print_final_stats=1", "-rss_limit_mb=2560", "-max_len=2048"]);
    command.arg(format!("-artifact_prefix={}/{target}-", artifacts.display()));
    if target == "store" {
        // The library keeps what it has for each thread and for the process.
        command.arg("-detect_leaks=0");
    }
    command.arg(found).arg(place.root().join("tests/fuzz/corpus").join(target));
    Ok(command)
}

fn fuzz(place: &Place, programs: &Path, target: &str, seconds: u64) -> io::Result<Outcome> {
    let found = place.target("fuzz").join("corpus").join(target);
    let mut command = command(place, &programs.join(target), target, &found, seconds)?;
    let ran = capture_for(place, &format!("fuzz-{target}"), &mut command, patience(seconds))?;
    Ok(told(target, &programs.join(target), &ran))
}

/// A program notices by itself that its time is up, between two inputs.
fn patience(seconds: u64) -> Duration {
    Duration::from_secs(seconds + 2 * INPUT_SECONDS + 60)
}

fn told(target: &str, program: &Path, ran: &Ran) -> Outcome {
    let executions = stat(&ran.output, "number_of_executed_units").unwrap_or(0);
    let has_held = ran.success() && executions > 0;
    let mut outcome = Outcome::check(has_held, String::new());
    if has_held {
        let covered =
            ran.output.lines().rev().find_map(|line| line.split_once("cov: ")?.1.split_once(' '));
        let covered = covered.map_or("?", |(edges, _)| edges);
        outcome.extent.push(format!("{target}: {executions} executions, {covered} edges"));
        return outcome;
    }
    let input = ran.output.lines().find_map(|line| line.split_once("Test unit written to "));
    let replay = match input {
        Some((_, input)) => format!("replay it: {} {input}", program.display()),
        None => "it left no input: see its output".into(),
    };
    outcome.notes.push(format!("{target} failed; {replay}"));
    outcome.output = format!("== {target}\n{}\n", ending(&ran.output));
    outcome
}

/// The last lines: what comes before are inputs that were new.
fn ending(output: &str) -> String {
    let lines: Vec<&str> = output.lines().filter(|line| !line.starts_with('#')).collect();
    lines[lines.len().saturating_sub(120)..].join("\n")
}

/// A number that libFuzzer prints at its end.
fn stat(output: &str, name: &str) -> Option<u64> {
    let line = output.lines().find_map(|line| line.strip_prefix("stat::")?.strip_prefix(name))?;
    line.strip_prefix(':')?.trim().parse().ok()
}

/// Whether the target comes to its end with that bug, from its kept corpus alone.
fn look_for(place: &Place, programs: &Path, canary: &Canary) -> io::Result<Outcome> {
    let target = canary.test.as_str();
    let found: PathBuf = place.target("fuzz").join("canaries").join(&canary.bug);
    drop(fs::remove_dir_all(&found));
    let mut command = command(place, &programs.join(target), target, &found, CANARY_SECONDS)?;
    command.arg(format!("-artifact_prefix={}/", found.display())).env("DRYSTONE_BUG", &canary.bug);
    let log = format!("fuzz-canary-{}", canary.bug);
    let ran = capture_for(place, &log, &mut command, patience(CANARY_SECONDS))?;
    let is_found =
        !ran.success() && ran.status.is_some() && ran.output.contains("Test unit written to ");
    let mut outcome = Outcome::check(is_found, String::new());
    if !is_found {
        outcome.notes.push(format!("{}: {target} does not find it", canary.bug));
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    fn told(code: i32, output: &str) -> Outcome {
        let status = Some(ExitStatus::from_raw(code << 8));
        super::told("footer", Path::new("/f"), &Ran { status, output: output.into() })
    }

    #[test]
    fn executions_are_told_and_a_failure_says_how_to_replay_it() {
        let fine = told(0, "#12 NEW cov: 454 ft: 8\nstat::number_of_executed_units: 4711\n");
        assert_eq!((fine.counts.passed, fine.counts.failed), (1, 0));
        assert_eq!(fine.extent, ["footer: 4711 executions, 454 edges"]);
        let crashed = told(77, "panicked\nartifact_prefix='x'; Test unit written to /x/crash-1\n");
        assert_eq!((crashed.counts.failed, crashed.notes.len()), (1, 1));
        assert_eq!(crashed.notes[0], "footer failed; replay it: /f /x/crash-1");
    }

    #[test]
    fn a_target_that_ran_nothing_has_failed() {
        assert_eq!(told(0, "stat::number_of_executed_units: 0\n").counts.failed, 1);
        assert_eq!(told(0, "").counts.failed, 1);
    }

    #[test]
    fn every_target_has_a_corpus() {
        let place = Place::find();
        for target in targets(&place).unwrap() {
            let corpus = place.root().join("tests/fuzz/corpus").join(&target);
            assert!(fs::read_dir(&corpus).is_ok_and(|mut dir| dir.next().is_some()), "{target}");
        }
    }
}
