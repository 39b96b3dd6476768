//! What came out of a suite, and how counts are read from what test programs print.

use std::ops::AddAssign;

/// Counts of tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Those that held.
    pub passed: u64,
    /// Those that did not.
    pub failed: u64,
    /// Those that were not run.
    pub skipped: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// The result of one suite.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// How many tests.
    pub counts: Counts,
    /// What a person must know: why it was skipped, what failed.
    pub notes: Vec<String>,
    /// How much it has done.
    pub extent: Vec<String>,
    /// What to show if it failed.
    pub output: String,
}

impl AddAssign for Outcome {
    fn add_assign(&mut self, other: Self) {
        self.counts += other.counts;
        self.notes.extend(other.notes);
        self.extent.extend(other.extent);
        self.output.push_str(&other.output);
    }
}

impl Outcome {
    /// One check that held, or did not.
    pub fn check(held: bool, output: String) -> Self {
        let counts = Counts { passed: held.into(), failed: (!held).into(), skipped: 0 };
        Self { counts, output, ..Self::default() }
    }

    /// A suite that could not be run, and why.
    pub fn skipped(why: impl Into<String>) -> Self {
        let counts = Counts { skipped: 1, ..Counts::default() };
        Self { counts, notes: vec![why.into()], ..Self::default() }
    }

    /// A suite that failed before it could count.
    pub fn failed(why: impl Into<String>) -> Self {
        Self { notes: vec![why.into()], ..Self::check(false, String::new()) }
    }

    /// The outcome of a program that prints its counts. Trust is limited: a program that failed has
    /// at least one failure, and one that ran nothing has failed.
    pub fn counted(success: bool, output: String) -> Self {
        let mut outcome = Self { counts: read_counts(&output), output, ..Self::default() };
        if !success && outcome.counts.failed == 0 {
            outcome.counts.failed = 1;
            outcome.notes.push("it did not get as far as counting: see its output".into());
        } else if outcome.counts == Counts::default() {
            outcome.counts.failed = 1;
            outcome.notes.push("it ran no test at all".into());
        }
        outcome
    }
}

/// The sum of all lines of counts in this output; where nextest sums up, that line alone, because it
/// also shows what the programs of failed tests have printed.
pub fn read_counts(output: &str) -> Counts {
    let lines = || output.lines().map(str::trim);
    let is_sum = |line: &&str| line.starts_with("Summary [");
    if let Some(counts) = lines().rev().find(is_sum).and_then(read_line) {
        return counts;
    }
    let mut sum = Counts::default();
    for line in lines() {
        sum += read_line(line).unwrap_or_default();
    }
    sum
}

/// The counts in one line: libtest's `test result: ok. 3 passed; 0 failed; 1 ignored; ...`,
/// nextest's `Summary [ 0.1s] 4 tests run: 3 passed, 1 failed, 0 skipped`, or `3 passed, 1 failed`.
fn read_line(line: &str) -> Option<Counts> {
    let list = if let Some(rest) = line.strip_prefix("test result: ") {
        rest.split_once(". ")?.1
    } else if line.starts_with("Summary [") {
        line.split_once(" run: ")?.1
    } else if line.starts_with(|c: char| c.is_ascii_digit()) && line.contains(" passed") {
        line
    } else {
        return None;
    };
    let mut counts = Counts::default();
    for item in list.split([',', ';']) {
        let mut words = item.split_whitespace();
        let (number, what) = (words.next()?.parse::<u64>().ok()?, words.next()?);
        match what {
            "passed" => counts.passed += number,
            "failed" | "timed" => counts.failed += number,
            "skipped" | "ignored" => counts.skipped += number,
            _ => break,
        }
    }
    Some(counts)
}

/// What tests have said on lines that begin with this word: `figure` how much they have done, `SKIPPED`
/// what they could not do.
pub fn said(output: &str, word: &str) -> Vec<String> {
    let rest = |line: &str| Some(line.trim().strip_prefix(word)?.strip_prefix(": ")?.to_owned());
    output.lines().filter_map(rest).collect()
}

/// The output without the lines of tests that passed, and without what nextest shows of those.
pub fn without_successes(output: &str) -> String {
    let (mut kept, mut block) = (String::new(), Vec::new());
    for line in output.lines() {
        // What a test has printed stands behind a rule, and is indented.
        let is_rule =
            line.starts_with("  stdout \u{2500}") || line.starts_with("  stderr \u{2500}");
        if !is_rule && !block.is_empty() && (line.is_empty() || line.starts_with("    ")) {
            block.push(line);
            continue;
        }
        keep_failure(&mut kept, &mut block);
        if is_rule {
            block.push(line);
        } else if !is_success(line) {
            kept.extend([line, "\n"]);
        }
    }
    keep_failure(&mut kept, &mut block);
    kept
}

fn is_success(line: &str) -> bool {
    let line = line.trim();
    line.starts_with("test ") && (line.ends_with("... ok") || line.ends_with("... ignored"))
        || line.starts_with("PASS [")
}

/// Keeps what a test has printed, unless that is all well. What it has printed as errors comes in a block
/// of its own, in which the panic stands.
fn keep_failure(kept: &mut String, block: &mut Vec<&str>) {
    let is_failure =
        |line: &&str| ["FAILED", "panicked", "error", "SIG"].iter().any(|w| line.contains(w));
    if block.iter().any(is_failure) {
        kept.extend(block.iter().flat_map(|line| [*line, "\n"]));
    }
    block.clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(passed: u64, failed: u64, skipped: u64) -> Counts {
        Counts { passed, failed, skipped }
    }

    #[test]
    fn counts_are_read_from_every_kind_of_program() {
        let libtest = "test a ... ok\n\ntest result: FAILED. 12 passed; 2 failed; 1 ignored; 0 \
                       measured; 3 filtered out; finished in 0.00s\n";
        assert_eq!(read_counts(libtest), counts(12, 2, 1));
        let nextest = "     Summary [   0.012s] 6 tests run: 3 passed (1 slow), 2 failed, 1 timed out, 4 skipped";
        assert_eq!(read_counts(nextest), counts(3, 3, 4));
        assert_eq!(read_counts(&format!("{libtest}{nextest}")), counts(3, 3, 4), "not twice");
        assert_eq!(
            read_counts("7 passed, 0 failed\n8 passed, 1 failed, 2 skipped"),
            counts(15, 1, 2)
        );
        assert_eq!(read_counts("3 apples passed by\npassed\n"), counts(0, 0, 0));
    }

    #[test]
    fn a_program_that_fails_or_runs_nothing_is_a_failure() {
        assert_eq!(Outcome::counted(false, "error: cannot compile".into()).counts.failed, 1);
        assert_eq!(Outcome::counted(true, String::new()).counts.failed, 1);
        let fine = Outcome::counted(true, "test result: ok. 1 passed; 0 failed; 0 ignored".into());
        assert_eq!((fine.counts, fine.notes.len()), (counts(1, 0, 0), 0));
    }

    #[test]
    fn successes_are_dull() {
        let output = "test a ... ok\ntest b ... FAILED\n  PASS [ 0.01s] c\nwhy\n";
        assert_eq!(without_successes(output), "test b ... FAILED\nwhy\n");
        let rule = |name: &str| format!("  {name} \u{2500}\u{2500}\n");
        let nextest = format!(
            "{}\n    test a ... ok\n{}    figure: 7 flips\n  PASS [ 1s] a\n{}    thread 'b' panicked\n    why\nend\n",
            rule("stdout"),
            rule("stderr"),
            rule("stderr")
        );
        let failure = format!("{}    thread 'b' panicked\n    why\nend\n", rule("stderr"));
        assert_eq!(without_successes(&nextest), failure);
        assert_eq!(said(&nextest, "figure"), ["7 flips"]);
    }
}
