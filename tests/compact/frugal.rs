//! A compaction takes no more of the disk than it must, and tells all that it takes.
#![forbid(unsafe_code)]

use crate::support::{KIB, MIB, Scratch, bytes};
use drystone::disk::{Call, FaultDisk, OpenOptions, RealDisk};
use drystone::{CompactOptions, Store};
use std::path::Path;

/// Bytes on disk of everything in a directory.
fn disk_usage(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| entry.metadata().unwrap().blocks() * 512).sum()
}

#[test]
fn space_held_back_goes_with_what_the_store_holds() {
    let scratch = Scratch::in_memory();
    let store = scratch.open(Store::options().create(true).segment_bytes(16 * MIB as u64));
    let ids: Vec<_> = (0..64).map(|seed| store.put(&bytes(MIB, seed)).unwrap()).collect();
    let held = store.stats().unwrap().held_back_bytes;
    assert!(held > 8 * MIB as u64, "of 64 MiB {held} are held back");
    for (left, most) in [(16, 5 * MIB as u64), (4, 3 * MIB as u64 / 2), (0, 0)] {
        for id in &ids[left..] {
            store.unpin(id).unwrap();
        }
        let report = store.compact(&CompactOptions::new().all(true)).unwrap();
        assert!(report.held_back_bytes <= most.max(KIB as u64), "{left} are left: {report:?}");
        assert_eq!(store.stats().unwrap().held_back_bytes, report.held_back_bytes);
        let told = report.bytes_after + report.held_back_bytes;
        let used = disk_usage(&scratch.path().join("segments"));
        assert!(used <= told + 64 * KIB as u64, "{left} are left: {used} used, {told} told");
    }
}

#[test]
fn one_compaction_of_all_is_enough() {
    let scratch = Scratch::in_memory();
    let store = scratch.open(Store::options().create(true).segment_bytes(MIB as u64));
    let contents: Vec<Vec<u8>> = (0..20_000).map(|seed| bytes(100, seed)).collect();
    let ids = store.put_many(&contents).unwrap();
    let live = ids.iter().step_by(2).count() as u64;
    ids.iter().skip(1).step_by(2).for_each(|id| assert!(store.unpin(id).unwrap()));
    let report = store.compact(&CompactOptions::new().all(true)).unwrap();
    assert!(report.complete && report.dropped_tombstones == live, "{report:?}");
    // A blob, its pin, and both in a footer; a tombstone would be 128 bytes more.
    let most = live * (192 + 128 + 128) * 11 / 10 + MIB as u64;
    assert!(report.bytes_after < most, "{} bytes, of {most}", report.bytes_after);
    let again = store.compact(&CompactOptions::new().all(true)).unwrap();
    assert!(again.copied_bytes < 64 * KIB as u64 && again.bytes_after <= report.bytes_after);
    for (id, content) in ids.iter().zip(&contents).step_by(2) {
        assert!(*store.get(id).unwrap().unwrap() == content[..]);
    }
}

#[test]
fn a_trace_of_garbage_is_not_worth_another_copy() {
    let scratch = Scratch::in_memory();
    let store = scratch.open(Store::options().create(true).segment_bytes(4 * MIB as u64));
    // Large enough to be aligned to pages: what stands between two of them is no garbage.
    let len = 64 * KIB;
    let ids: Vec<_> = (0..400).map(|seed| store.put(&bytes(len, seed)).unwrap()).collect();
    ids.iter().step_by(2).for_each(|id| assert!(store.unpin(id).unwrap()));
    let all = CompactOptions::new().all(true);
    let report = store.compact(&all).unwrap();
    assert_eq!(report.dropped_tombstones, 200);
    let live = (ids.len() / 2 * len) as u64;
    assert!(report.copied_bytes < live * 11 / 10, "{live} bytes are live: {report:?}");
    let again = store.compact(&all).unwrap();
    assert!(again.copied_bytes < live / 5, "{live} bytes are live: {again:?}");
    ids.iter().skip(1).step_by(2).for_each(|id| assert!(store.get(id).unwrap().is_some()));
}

#[test]
fn a_dry_run_tells_about_what_a_real_one_frees() {
    // Of a store that was closed its open segments are nobody's; of one in use they are its own.
    for is_closed in [false, true] {
        let scratch = Scratch::in_memory();
        let mut store = scratch.open(Store::options().create(true).segment_bytes(4 * MIB as u64));
        let ids: Vec<_> = (0..300).map(|seed| store.put(&bytes(50 * KIB, seed)).unwrap()).collect();
        ids.iter().step_by(2).for_each(|id| assert!(store.unpin(id).unwrap()));
        ids.iter().skip(1).step_by(4).for_each(|id| assert!(store.remove(id).unwrap()));
        if is_closed {
            drop(store);
            store = scratch.open(Store::options());
        }
        let told = store.compact(&CompactOptions::new().dry_run(true)).unwrap();
        let done = store.compact(&CompactOptions::new()).unwrap();
        assert_eq!(told.bytes_before, done.bytes_before);
        let [would, did] = [&told, &done].map(|report| report.bytes_before - report.bytes_after);
        assert!(would.abs_diff(did) < did / 5, "{would} told, {did} freed");
        assert_eq!(told.collected_blobs, done.collected_blobs);
        let told = store.compact(&CompactOptions::new().dry_run(true)).unwrap();
        assert!(told.bytes_before - told.bytes_after < 200 * KIB as u64, "{told:?}");
    }
}

#[test]
fn a_dry_run_takes_no_size_class_for_a_size() {
    let scratch = Scratch::in_memory();
    let store = scratch.store();
    (0..3).for_each(|seed| assert!(store.put(&bytes(3_000_000, seed)).is_ok()));
    store.compact(&CompactOptions::new().min_garbage(0.0)).unwrap();
    for options in [CompactOptions::new().all(true), CompactOptions::new()] {
        let told = store.compact(&options.dry_run(true)).unwrap();
        let would = told.bytes_before - told.bytes_after;
        assert!(would < 200 * KIB as u64, "nothing is garbage: {told:?}");
    }
}

#[test]
fn what_goes_is_not_written_to_the_medium_first() {
    let scratch = Scratch::in_memory();
    let how = OpenOptions { writable: true, ..OpenOptions::default() };
    std::fs::create_dir(scratch.path()).unwrap();
    let mode = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o700);
    std::fs::set_permissions(scratch.path(), mode).unwrap();
    let disk = FaultDisk::new(RealDisk::open(&scratch.path(), &how).unwrap());
    let options = Store::options().create(true).segment_bytes(256 << 10).disk(disk.clone());
    let store = scratch.open(options);
    let ids: Vec<_> = (0..200).map(|seed| store.put(&bytes(50 * KIB, seed)).unwrap()).collect();
    store.put(b"what stays").unwrap();
    ids.iter().for_each(|id| assert!(store.unpin(id).unwrap()));
    disk.take_calls();
    let report = store.compact(&CompactOptions::new()).unwrap();
    assert!(report.removed_segments >= 30, "{report:?}");
    let synced = disk.calls(Some(Call::Sync));
    assert!(synced <= 10, "{synced} files synced for {} that went", report.removed_segments);
}

#[test]
fn a_store_that_is_closed_has_nothing_reserved() {
    // On a disk, where space is reserved ahead of what is appended.
    let scratch = Scratch::new();
    let usage = || disk_usage(&scratch.path().join("segments"));
    let store = scratch.open(Store::options().create(true).segment_bytes(64 * MIB as u64));
    let ids: Vec<_> = (0..16).map(|seed| store.put(&bytes(MIB, seed)).unwrap()).collect();
    store.sync().unwrap();
    drop(store);
    let used = usage();
    assert!(used <= 16 * MIB as u64 + 128 * KIB as u64, "{used} bytes of 16 MiB");

    let store = scratch.open(Store::options());
    store.unpin(&ids[7]).unwrap();
    let report = store.compact(&CompactOptions::new().min_garbage(0.0)).unwrap();
    drop(store);
    let told = report.bytes_after + report.held_back_bytes;
    assert!(usage() <= told + 64 * KIB as u64, "{} bytes used, {told} told", usage());
    let store = scratch.open(Store::options());
    for (seed, id) in ids.iter().enumerate().filter(|&(at, _)| at != 7) {
        assert!(*store.get(id).unwrap().unwrap() == bytes(MIB, seed as u64)[..]);
    }
}
