//! A repair that dies at any call that changes a file can be done again, and loses nothing.
//!
//! From its n-th changing call on everything fails: to the disk that is as if the process had died there,
//! and it is told so by errors that it cannot do anything about.

use super::furnished::{Furnished, Hit};
use super::rig::{options, patch, say, segment_files};
use super::tried::{check, check_clean, deep, repair, told};
use drystone::disk::{Call, Fault, FaultDisk, FaultKind, OpenOptions, RealDisk};
use drystone::{HashAlgorithm, fsck};
use std::path::Path;
use std::sync::Arc;

/// The calls that change something on the disk.
const CHANGING: [Call; 10] = [
    Call::Create,
    Call::Link,
    Call::Unlink,
    Call::Rename,
    Call::MakeDir,
    Call::RemoveDir,
    Call::SyncDir,
    Call::Write,
    Call::SetLen,
    Call::Sync,
];

fn disk(path: &Path) -> Arc<FaultDisk> {
    let options = OpenOptions { writable: true, ..OpenOptions::default() };
    FaultDisk::new(RealDisk::open(path, &options).expect("a disk"))
}

/// Damage of all kinds: a head, a body, a footer, the index; and what it hits.
fn damage(made: &Furnished) -> std::ops::Range<u64> {
    made.restore();
    let files = segment_files(&made.path());
    patch(&files[1], 8, &[0x33; 8]);
    let hit = made
        .records
        .iter()
        .find(|record| {
            made.path().join(&record.file) == files[0]
                && record.range.end - record.range.start > 1000
        })
        .expect("a record of some length");
    let at = hit.range.start + 200;
    patch(&files[0], at, &[0x77; 50]);
    at..at + 50
}

#[test]
fn a_repair_killed_at_every_change_can_be_done_again() {
    let made = Furnished::new(HashAlgorithm::Xxh3);
    let hit = damage(&made);
    let first = segment_files(&made.path()).remove(0);
    let file = first.strip_prefix(made.path()).expect("a path").to_str().expect("UTF-8").to_owned();
    let counting = disk(&made.path());
    let report = fsck(made.path(), &repair().disk(counting.clone())).expect("a repair");
    assert_eq!(report.repair.as_ref().expect("it").remaining, 0, "{}", told(&report));
    let calls = counting.take_calls();
    let changes = calls.iter().enumerate().filter(|(_, call)| CHANGING.contains(call));
    let points: Vec<usize> = changes.map(|(at, _)| at).collect();
    assert!(points.len() > 40, "{} changes", points.len());
    for &point in &points {
        let when = format!("killed at call {point}, {:?}", calls[point]);
        damage(&made);
        let dying = disk(&made.path());
        // Threads make the order of the calls before the first change vary; what follows a death is what
        // counts, wherever it is.
        dying.inject(Fault::new(FaultKind::Io).nth(point as u64 + 1).forever());
        let _ = fsck(made.path(), &repair().disk(dying));
        // Whoever opens the store now loses no more than was hit before.
        if point % 3 == 0 {
            let store = options().open(made.path()).unwrap_or_else(|e| panic!("{when}: {e}"));
            made.check(&store, Hit::Bytes(&file, &hit), &when);
        }
        let report = check(&made.path(), &repair());
        if let Some(done) = &report.repair {
            assert_eq!(done.remaining, 0, "{when}: {}", told(&report));
        }
        check_clean(&made.path(), &deep(), &when);
        let store = options().boot_id("after").open(made.path()).expect("a store");
        made.check(&store, Hit::Bytes(&file, &hit), &when);
    }
    say(&format!("figure: a repair killed at {} changes of files, and done again", points.len()));
}
