//! A repair that does not fit on the disk says so, and nothing is lost by it.

use super::furnished::{Furnished, Hit};
use super::rig::{options, patch, refused, segment_files};
use super::tried::{check, check_clean, deep, repair};
use drystone::disk::{Call, Fault, FaultDisk, FaultKind, OpenOptions, RealDisk};
use drystone::{ErrorKind, HashAlgorithm, fsck};

#[test]
fn a_repair_on_a_full_disk_is_refused_and_can_be_done_when_there_is_room() {
    let made = Furnished::new(HashAlgorithm::Xxh3);
    let hits = [Call::Reserve, Call::Write, Call::Create, Call::SetLen];
    for (call, nth) in hits.into_iter().flat_map(|call| [(call, 1), (call, 3), (call, 9)]) {
        made.restore();
        let files = segment_files(&made.path());
        patch(&files[0], 8, &[0x33; 8]);
        patch(&files[2], 8, &[0x33; 8]);
        let how = OpenOptions { writable: true, ..OpenOptions::default() };
        let full = FaultDisk::new(RealDisk::open(&made.path(), &how).expect("a disk"));
        full.inject(Fault::new(FaultKind::NoSpace).on(call).nth(nth).forever());
        let when = format!("no space at {call:?} {nth}");
        let repaired = fsck(made.path(), &repair().disk(full.clone()));
        if full.hits() > 0 {
            refused(repaired.map(drop), ErrorKind::NoSpace, &["space"]);
        }
        let none = Hit::Bytes("", &(0..0));
        made.check(&options().open(made.path()).expect("a store"), none, &when);
        let report = check(&made.path(), &repair());
        assert!(report.repair.is_none_or(|done| done.remaining == 0), "{when}");
        check_clean(&made.path(), &deep(), &when);
        made.check(&options().boot_id("next").open(made.path()).expect("a store"), none, &when);
    }
}
