//! `compact` gives up what nothing names and says what came of it.

use crate::tool::Tool;
use drystone::disk::{Access, Disk, LockKind, OpenOptions, RealDisk};

fn half_garbage() -> (Tool, String) {
    let tool = Tool::new();
    tool.file("kept", "kept ".repeat(50_000));
    tool.file("gone", "gone ".repeat(60_000));
    let kept = tool.ok(["put", "kept"]);
    let gone = tool.ok(["put", "gone"]);
    tool.ok(["rm", "--yes", &gone]);
    (tool, kept)
}

#[test]
fn what_nothing_names_goes_and_the_rest_stays() {
    let (tool, kept) = half_garbage();
    let said = tool.ok(["compact"]);
    assert!(
        said.starts_with("1 blobs that nothing names given up, 0 expired names removed"),
        "{said}"
    );
    assert_eq!(tool.ok(["ls"]).lines().count(), 1);
    assert!(tool.ok(["get", &kept]) == "kept ".repeat(50_000).trim_end());
}

#[test]
fn a_dry_run_only_tells() {
    let (tool, _) = half_garbage();
    let said = tool.ok(["compact", "--dry-run", "--all"]);
    assert!(said.contains("1 blobs that nothing names would be given up"), "{said}");
    assert_eq!(tool.ok(["ls"]).lines().count(), 2);
}

#[test]
fn the_document_has_its_fields() {
    let (tool, _) = half_garbage();
    let said = tool.ok(["compact", "--json", "--min-garbage", "20%", "--rate", "1G"]);
    let document: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(document["version"], 1);
    assert_eq!((&document["collected_blobs"], &document["busy"]), (&1.into(), &false.into()));
    assert!(document["bytes_after"].as_u64() < document["bytes_before"].as_u64());
}

#[test]
fn a_rate_of_nothing_is_refused() {
    let (tool, _) = half_garbage();
    for rate in ["0", "0M", "fast"] {
        let ran = tool.run(["compact", "--rate", rate]);
        assert!(ran.code == Some(2) && ran.err.contains("expected"), "{}", ran.err);
    }
}

#[test]
fn one_beside_another_says_so_and_counts_nothing() {
    let (tool, _) = half_garbage();
    let disk = RealDisk::open(&tool.store(), &OpenOptions { writable: true, ..Default::default() });
    let locks = disk.unwrap().open("locks", Access::Write).unwrap().expect("the file of the locks");
    // The byte of whoever collects (spec/CONCURRENCY.md).
    assert!(locks.try_lock(1, 1, LockKind::Exclusive).unwrap());
    let ran = tool.run(["compact", "--json"]);
    assert_eq!(ran.code, Some(11), "{}", ran.err);
    let document: serde_json::Value = serde_json::from_slice(&ran.out).unwrap();
    let mut keys: Vec<_> = document.as_object().unwrap().keys().collect();
    keys.sort_unstable();
    assert_eq!(keys, ["busy", "dry_run", "version"]);
    assert_eq!(document["busy"], true);
    locks.unlock(1, 1).unwrap();
    tool.ok(["compact"]);
}

#[test]
fn a_limit_on_file_sizes_is_told_as_that() {
    let tool = Tool::new();
    tool.file("kept", "kept ".repeat(600_000));
    tool.file("gone", "gone ".repeat(600_000));
    let (_, gone) = (tool.ok(["put", "kept"]), tool.ok(["put", "gone"]));
    tool.ok(["rm", "--yes", &gone]);
    let ran = tool.shell("ulimit -f 1000; \"$T\" compact --min-garbage 0");
    let said = ran.failed(14);
    assert!(said.contains("ulimit -f"), "{said}");
    tool.ok(["compact", "--min-garbage", "0"]);
    assert!(tool.ok(["fsck", "--deep"]).contains(": clean"));
}

#[test]
fn a_share_that_is_none_is_refused() {
    let (tool, _) = half_garbage();
    for share in ["1.5", "-1", "150%", "much", "NaN"] {
        let ran = tool.run(["compact", &format!("--min-garbage={share}")]);
        assert!(ran.code == Some(2) && ran.err.contains("expected a share"), "{}", ran.err);
    }
}
