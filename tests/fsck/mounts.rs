//! Indexes that were built under another mount of the file system, as in another container.

use super::furnished::{Furnished, Hit};
use super::rig::{options, patch, run_dir};
use super::tried::{check, check_clean, deep, of_kind, repair, told};
use drystone::{FindingKind, FsckReport, HashAlgorithm};
use std::path::Path;

/// Where the control page says under which mount it was built (spec/FORMAT.md, section 7).
const MOUNT_AT: u64 = 8 * 4;

/// Makes the run of a store one of another mount.
fn mount_elsewhere(store: &Path) {
    patch(&run_dir(store).join("control"), MOUNT_AT, &0x7777_7777_u64.to_le_bytes());
}

/// Puts a counter of the run behind what it has counted.
fn put_back_counter(store: &Path) {
    patch(&run_dir(store).join("control"), 8 * 24, &3u64.to_le_bytes());
}

#[track_caller]
fn tells_of_mount(report: &FsckReport) -> bool {
    let said = report.findings.iter().filter(|finding| finding.kind == FindingKind::Run);
    let said: Vec<_> = said.map(|finding| &finding.message).collect();
    assert_eq!(said.is_empty(), report.has_run, "{}", told(report));
    !said.is_empty() && said.iter().all(|message| message.contains("another mount"))
}

#[test]
fn an_index_of_another_mount_that_nobody_uses_is_not_checked_and_that_is_told() {
    let made = Furnished::new(HashAlgorithm::Xxh3);
    mount_elsewhere(&made.path());
    put_back_counter(&made.path());
    let report = check_clean(&made.path(), &deep(), "nobody uses it");
    assert!(tells_of_mount(&report) && report.records > 20, "{}", told(&report));
    // Whoever opens it builds another.
    drop(options().open(made.path()).expect("a store"));
    let report = check_clean(&made.path(), &deep(), "opened");
    assert!(!tells_of_mount(&report) && report.keys > 20, "{}", told(&report));
}

#[test]
fn an_index_of_another_mount_that_somebody_uses_is_checked() {
    let made = Furnished::new(HashAlgorithm::Xxh3);
    let store = options().open(made.path()).expect("a store");
    mount_elsewhere(&made.path());
    let report = check_clean(&made.path(), &deep(), "somebody uses it");
    assert!(!tells_of_mount(&report) && report.keys > 20, "{}", told(&report));
    put_back_counter(&made.path());
    let report = check(&made.path(), &deep());
    assert_eq!(of_kind(&report, FindingKind::Counter).len(), 1, "{}", told(&report));
    drop(store);
    assert!(tells_of_mount(&check_clean(&made.path(), &deep(), "nobody uses it any more")));
}

#[test]
fn a_repair_does_not_go_by_an_index_of_another_mount() {
    let made = Furnished::new(HashAlgorithm::Xxh3);
    mount_elsewhere(&made.path());
    put_back_counter(&made.path());
    let report = check_clean(&made.path(), &repair(), "a repair");
    assert!(tells_of_mount(&report) && report.repair.is_none(), "{}", told(&report));
    let store = options().open(made.path()).expect("a store");
    made.check(&store, Hit::Bytes("", &(0..0)), "after a repair");
}
