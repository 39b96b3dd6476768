//! Checks as the tests ask for them.

use drystone::{Finding, FindingKind, FsckOptions, FsckReport, fsck};
use std::path::Path;

/// A deep check by two threads.
pub fn deep() -> FsckOptions {
    FsckOptions::new().deep(true).threads(2)
}

/// A repair by two threads.
pub fn repair() -> FsckOptions {
    FsckOptions::new().repair(true).threads(2)
}

/// Checks, which must be possible.
#[track_caller]
pub fn check(path: &Path, options: &FsckOptions) -> FsckReport {
    fsck(path, options).unwrap_or_else(|error| panic!("a check: {error:?}"))
}

/// Checks, and nothing must be damaged.
#[track_caller]
pub fn check_clean(path: &Path, options: &FsckOptions, when: &str) -> FsckReport {
    let report = check(path, options);
    assert!(report.is_clean(), "{when}: {}", told(&report));
    report
}

/// All findings, a line each.
pub fn told(report: &FsckReport) -> String {
    let line = |finding: &Finding| format!("{:?} {:?}: {finding}", finding.severity, finding.kind);
    report.findings.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The damage of a kind.
pub fn of_kind(report: &FsckReport, kind: FindingKind) -> Vec<&Finding> {
    report.damaged().filter(|finding| finding.kind == kind).collect()
}
