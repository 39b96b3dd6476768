//! The stress of `tests/stress` under the address sanitizer and under the thread sanitizer, and the planted
//! bugs that each of them must see.
//!
//! The standard library is not instrumented. Where the thread sanitizer cannot see what it does,
//! `tests/stress/tsan.supp` says which reports are passed over, and why.

use crate::canaries::{self, Build, Canary};
use crate::outcome::{Outcome, said};
use crate::place::Place;
use crate::run::{Ran, capture_for, some_at_a_time};
use crate::sanitized::{self, Built};
use std::env;
use std::io;
use std::path::Path;
use std::time::Duration;

/// Seconds of each stress, where `DRYSTONE_STRESS_SECONDS` does not say.
const SECONDS: u64 = 15;
/// What takes so much longer than it should hangs.
const PATIENCE_SECONDS: u64 = 240;

struct Sanitizer {
    name: &'static str,
    /// What its reports are summed up under.
    says: &'static str,
    flags: &'static str,
    target: &'static str,
    /// Which stress: all threads do everything, or one writes and the others read.
    mode: &'static str,
    canaries: Build,
}

const SANITIZERS: [Sanitizer; 2] = [
    Sanitizer {
        name: "address",
        says: "SUMMARY: AddressSanitizer",
        flags: "--cfg bug",
        target: "asan",
        mode: "all",
        canaries: Build::Asan,
    },
    Sanitizer {
        name: "thread",
        says: "SUMMARY: ThreadSanitizer",
        // The epochs of crossbeam have fences otherwise, which this sanitizer does not understand.
        flags: "-Cunsafe-allow-abi-mismatch=sanitizer --cfg crossbeam_sanitize_thread --cfg bug",
        target: "tsan",
        // Two threads that meet at a lock of std would be reported.
        mode: "readers",
        canaries: Build::Tsan,
    },
];

/// The suite.
pub fn run(place: &Place) -> io::Result<Outcome> {
    let mut outcome = Outcome::default();
    for sanitizer in &SANITIZERS {
        let build = sanitized::Build {
            crate_name: "stress",
            sanitizer: sanitizer.name,
            flags: sanitizer.flags,
            target: sanitizer.target,
        };
        match sanitized::build(place, &build)? {
            Built::Programs(programs) => {
                look(place, sanitizer, &programs.join("stress"), &mut outcome)?
            }
            Built::Skipped(why) => {
                outcome.counts.skipped += 1;
                outcome.notes.push(format!("{} SKIPPED: {why}", sanitizer.name));
            }
            Built::Failed(output) => {
                outcome.counts.failed += 1;
                outcome.notes.push(format!("the stress for {} does not build", sanitizer.name));
                outcome.output.push_str(&output);
            }
        }
    }
    Ok(outcome)
}

/// The stress as it is, then with each bug that is planted for this sanitizer.
fn look(
    place: &Place,
    sanitizer: &Sanitizer,
    program: &Path,
    outcome: &mut Outcome,
) -> io::Result<()> {
    let plain = stress(place, sanitizer, program, None)?;
    tell(outcome, sanitizer, &plain);
    let lines = match canaries::of(place, sanitizer.canaries)? {
        Ok(lines) => lines,
        Err(why) => {
            outcome.notes.push(why);
            return Ok(());
        }
    };
    let look = |canary: &Canary| stress(place, sanitizer, program, Some(&canary.bug));
    let ran = some_at_a_time(&lines, look)?;
    let mut caught = 0;
    for (canary, ran) in lines.iter().zip(&ran) {
        let is_caught = !ran.success() && ran.output.contains(sanitizer.says);
        caught += usize::from(is_caught);
        outcome.counts += Outcome::check(is_caught, String::new()).counts;
        if !is_caught {
            outcome
                .notes
                .push(format!("{}: the {} sanitizer does not see it", canary.bug, sanitizer.name));
            outcome.output.push_str(&format!("== {}\n{}\n", canary.bug, ran.output));
        }
    }
    let (name, planted) = (sanitizer.name, lines.len());
    outcome.extent.push(format!("{name}: {caught} caught of {planted} planted bugs"));
    Ok(())
}

fn stress(
    place: &Place,
    sanitizer: &Sanitizer,
    program: &Path,
    bug: Option<&str>,
) -> io::Result<Ran> {
    let asked = env::var("DRYSTONE_STRESS_SECONDS").ok().and_then(|text| text.parse().ok());
    let seconds = asked.unwrap_or(SECONDS);
    let mut command = place.command(program);
    command.arg(sanitizer.mode);
    command.env("DRYSTONE_STRESS_SECONDS", seconds.to_string());
    // What the library keeps for the process and for its threads is no leak.
    command.env("ASAN_OPTIONS", "detect_leaks=0:abort_on_error=0");
    let suppressions = place.root().join("tests/stress/tsan.supp");
    let options = format!("suppressions={}:halt_on_error=1", suppressions.display());
    command.env("TSAN_OPTIONS", options);
    if let Some(bug) = bug {
        command.env("DRYSTONE_BUG", bug);
    }
    let log = format!("{}-{}", sanitizer.target, bug.unwrap_or("plain"));
    capture_for(place, &log, &mut command, Duration::from_secs(seconds + PATIENCE_SECONDS))
}

fn tell(outcome: &mut Outcome, sanitizer: &Sanitizer, ran: &Ran) {
    let figures = said(&ran.output, "figure");
    let has_held = ran.success() && !ran.output.contains(sanitizer.says) && !figures.is_empty();
    outcome.counts += Outcome::check(has_held, String::new()).counts;
    outcome.extent.extend(figures.iter().map(|figure| format!("{}: {figure}", sanitizer.name)));
    if !has_held {
        outcome.notes.push(format!("the {} sanitizer has something to say", sanitizer.name));
        outcome.output.push_str(&ran.output);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    fn told(code: i32, output: &str) -> Outcome {
        let mut outcome = Outcome::default();
        let status = Some(ExitStatus::from_raw(code << 8));
        tell(&mut outcome, &SANITIZERS[1], &Ran { status, output: output.into() });
        outcome
    }

    #[test]
    fn a_stress_holds_if_it_ran_and_nothing_was_reported() {
        assert_eq!(told(0, "figure: 7 steps\n").extent, ["thread: 7 steps"]);
        assert_eq!(told(0, "figure: 7 steps\n").counts.failed, 0);
        assert_eq!(told(0, "").counts.failed, 1, "it did nothing");
        assert_eq!(told(66, "figure: 7 steps\n").counts.failed, 1);
        assert_eq!(
            told(0, "SUMMARY: ThreadSanitizer: data race\nfigure: 7 steps").counts.failed,
            1
        );
    }
}
