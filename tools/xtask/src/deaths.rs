//! Death at every step and system call, kills at random, and oddities: the tests in `tests/deaths`, in
//! the build that can count steps (`cfg(bug)`), one at a time because they measure how long others wait.

use crate::canaries::build_with_bugs;
use crate::outcome::Outcome;
use crate::place::Place;
use crate::run::capture;
use std::io;

/// The suite.
pub fn run(place: &Place) -> io::Result<Outcome> {
    let program = match build_with_bugs(place, "deaths")? {
        Ok(program) => program,
        Err(said) => return Ok(Outcome { output: said, ..Outcome::failed("it does not build") }),
    };
    let mut tests = place.command(program);
    tests.args(["--test-threads=1", "--show-output"]);
    let ran = capture(place, "deaths", &mut tests)?;
    let mut outcome = Outcome::counted(ran.success(), ran.output);
    let figures = outcome.output.lines().filter_map(|line| line.trim().strip_prefix("figure: "));
    outcome.extent = figures.map(str::to_owned).collect();
    let skipped = outcome.output.lines().filter(|line| line.contains("SKIPPED"));
    outcome.notes.extend(skipped.map(str::to_owned).collect::<Vec<_>>());
    Ok(outcome)
}
