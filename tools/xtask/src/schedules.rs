//! The models under loom, each in a process of its own: loom makes and unmakes a stack for every thread of
//! every schedule, and two models in one process would wait for each other in the kernel (a third of the
//! time).

use crate::canaries::executables;
use crate::outcome::Outcome;
use crate::place::Place;
use crate::run::{capture, some_at_a_time};
use std::io;

/// What the names of these tests have in them; others use atomics outside of a model.
const MODELS: &[&str] = &["loom", "schedules"];
/// Those of the index are run once more with buckets of two slots, which only they tell apart from buckets
/// of one, where every key meets every other.
const OF_INDEX: &[&str] = &["index::tests::schedules"];
/// These take longest, and so begin first.
const LONG: &str = "index::";

/// The suite.
pub fn run(place: &Place) -> io::Result<Outcome> {
    let mut sum = Outcome::default();
    for (target, flags, models) in
        [("loom", "--cfg loom", MODELS), ("loom-2", "--cfg loom --cfg loom_slots=\"2\"", OF_INDEX)]
    {
        sum += run_build(place, target, flags, models)?;
    }
    Ok(sum)
}

/// Builds the library and runs its models, a few at a time.
fn run_build(place: &Place, target: &str, flags: &str, models: &[&str]) -> io::Result<Outcome> {
    let mut cargo = place.cargo_with_flags(target, flags);
    cargo.args(["test", "--release", "--package", "drystone", "--lib", "--no-run"]);
    cargo.args(["--message-format", "json-render-diagnostics"]);
    let built = capture(place, &format!("{target}-build"), &mut cargo)?;
    let programs = executables(&built.output);
    let [(_, program)] = programs.as_slice() else {
        return Ok(Outcome::check(false, built.output));
    };
    let mut list = place.command(program);
    let listed = capture(place, &format!("{target}-list"), list.args(models).arg("--list"))?;
    let tests = longest_first(tests_of(&listed.output));
    if tests.is_empty() || !listed.success() {
        return Ok(Outcome::counted(false, listed.output));
    }
    let ran = some_at_a_time(&tests, |test| {
        let mut command = place.command(program);
        command.args([test, "--exact", "--show-output"]);
        capture(place, &format!("{target}-{}", test.replace("::", "-")), &mut command)
    })?;
    let mut sum = Outcome::default();
    for (test, ran) in tests.iter().zip(ran) {
        let mut outcome = Outcome::counted(ran.success(), ran.output);
        let explored = outcome.output.lines().filter(|line| line.contains(" schedules of "));
        outcome.extent = explored.map(|line| format!("{target}: {line}")).collect();
        outcome.notes.iter_mut().for_each(|note| *note = format!("{test}: {note}"));
        sum += outcome;
    }
    Ok(sum)
}

/// The names in what a test program lists.
fn tests_of(list: &str) -> Vec<String> {
    list.lines().filter_map(|line| Some(line.strip_suffix(": test")?.to_owned())).collect()
}

fn longest_first(mut tests: Vec<String>) -> Vec<String> {
    tests.sort_by_key(|test| !test.starts_with(LONG));
    tests
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_test_program_lists_is_read_and_the_long_ones_come_first() {
        let list = "control::a: test\nindex::tests::b: test\nindex::c: benchmark\n\n2 tests, 1 benchmark\n";
        assert_eq!(longest_first(tests_of(list)), ["index::tests::b", "control::a"]);
    }
}
