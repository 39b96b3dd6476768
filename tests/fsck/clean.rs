//! Stores of every shape are clean: empty, full of everything, in use, closed, after a reboot and a
//! recovery, grown, and with what dead processes leave.

use super::furnished::Furnished;
use super::rig::{KIB, MIB, bytes, in_memory, options, segment_file, segment_files};
use super::tried::{check, check_clean, deep, told};
use drystone::{CompactOptions, FindingKind, FsckOptions, HashAlgorithm, Severity, Store};
use std::fs;

const HASHES: [HashAlgorithm; 2] = [HashAlgorithm::Xxh3, HashAlgorithm::Blake3];

#[test]
fn a_store_without_anything_is_clean() {
    let dir = in_memory();
    let path = dir.path().join("store");
    drop(options().create(true).open(&path).expect("a store"));
    for how in [FsckOptions::new(), deep()] {
        let report = check_clean(&path, &how, "an empty store");
        assert!(report.findings.is_empty() && report.has_run, "{}", told(&report));
    }
    fs::remove_dir_all(path.join("run")).expect("a run");
    let report = check_clean(&path, &deep(), "an empty store without a run");
    assert!(report.findings.is_empty() && !report.has_run, "{}", told(&report));
}

#[test]
fn a_store_full_of_everything_is_clean_in_use_closed_rebooted_and_recovered() {
    for hash in HASHES {
        let made = Furnished::new(hash);
        let report = check_clean(&made.path(), &deep(), "closed");
        let bytes: usize = made.blobs.iter().map(|blob| blob.1.len()).sum();
        assert!(report.hashed_bytes >= bytes as u64 && report.keys > 50, "{report:?}");
        assert!(report.dangling > 0, "its blobs were removed, too");
        check_clean(&made.path(), &FsckOptions::new(), "not deep");
        let next = || deep().boot_id("next");
        let report = check_clean(&made.path(), &next(), "after a reboot");
        assert!(!report.has_run);
        let store = options().boot_id("next").open(made.path()).expect("a store");
        check_clean(&made.path(), &next(), "recovered, in use");
        store.sync().expect("a sync");
        check_clean(&made.path(), &next(), "synced");
        drop(store);
        check_clean(&made.path(), &next(), "recovered, closed");
    }
}

#[test]
fn a_grown_index_and_segments_of_all_sizes_are_clean() {
    let dir = in_memory();
    let path = dir.path().join("store");
    let store = options().create(true).segment_bytes(256 << 10).open(&path).expect("a store");
    let small: Vec<Vec<u8>> = (0..3000).map(|at| bytes(40 + at % 300, at as u64)).collect();
    let ids = store.put_many(&small).expect("puts");
    for (at, len) in [65 * KIB, 300 * KIB, 2 * MIB, 2 * MIB + 1, 9 * MIB + 77].iter().enumerate() {
        store.put(&bytes(*len, at as u64)).expect("a put");
    }
    let refs = store.refs("names");
    for (at, id) in ids.iter().enumerate().take(500) {
        refs.set(format!("name {at}"), id).expect("a ref");
        refs.set(format!("name {at}"), b"bytes".to_vec()).expect("a ref");
    }
    refs.set("list", ids[600..700].to_vec()).expect("a ref");
    ids[..100].iter().for_each(|id| assert!(store.remove(id).expect("a removal")));
    ids[100..200].iter().for_each(|id| assert!(store.unpin(id).expect("an unpinning")));
    let mut draft = store.reserve(3 << 20).expect("a draft");
    draft[..100].copy_from_slice(&[7; 100]);
    draft.commit().expect("a commit");
    drop(store.reserve(3 << 20).expect("a draft"));
    let stats = store.stats().expect("stats");
    assert!(stats.index_generation > 0, "it has grown");
    for how in [FsckOptions::new(), deep()] {
        let report = check_clean(&path, &how, "grown");
        assert_eq!(report.keys, stats.blobs + stats.refs + stats.pins);
        assert_eq!(report.dangling, 100, "the pins of what was removed");
    }
    store.refs("names").set("dangling", ids[300]).expect("a ref");
    store.remove(&ids[300]).expect("a removal");
    let report = check_clean(&path, &deep(), "with a ref to a removed blob");
    let dangling: Vec<_> =
        report.findings.iter().filter(|f| f.kind == FindingKind::Dangling).collect();
    let [notice] = dangling[..] else { panic!("one: {}", told(&report)) };
    assert_eq!(notice.severity, Severity::Notice);
    assert_eq!(notice.names, [("names".into(), b"dangling".to_vec())]);
    assert_eq!(notice.blob, Some(ids[300]));
}

#[test]
fn what_dead_processes_leave_is_told_as_notices() {
    let dir = in_memory();
    let path = dir.path().join("store");
    let store = options().create(true).open(&path).expect("a store");
    store.put(&bytes(999, 1)).expect("a put");
    drop(store);
    // Space that was reserved, and in it a payload without its header, behind the last record.
    let file = segment_files(&path).remove(0);
    let len = fs::metadata(&file).expect("a file").len().next_multiple_of(64);
    super::rig::resize(&file, len + 64 * KIB as u64);
    super::rig::patch(&file, len + 640, &[9; 100]);
    let strays = [
        "stray",
        "segments/stray",
        "segments/00000007.seg.bak",
        "run/new-1-2-3/file",
        "run/old-1-2/file",
        "run/0123456789abcdef0123456789abcdef/control",
        "quarantine/00000003.seg",
    ];
    for stray in strays {
        let at = path.join(stray);
        fs::create_dir_all(at.parent().expect("a directory")).expect("a directory");
        fs::write(at, b"what nobody reads").expect("a file");
    }
    fs::write(path.join("segments/spare-1"), [0; 100]).expect("space held back");
    let report = check_clean(&path, &deep(), "with strays");
    let count = |kind| report.findings.iter().filter(|finding| finding.kind == kind).count();
    assert_eq!((count(FindingKind::Stray), count(FindingKind::Torn)), (7, 1), "{}", told(&report));
    // The payload is passed over, and the store goes on behind it.
    let store = Store::open(&path).expect("a store");
    store.put(&bytes(999, 2)).expect("a put");
    let report = check_clean(&path, &deep(), "with a gap");
    let torn: Vec<_> = report.findings.iter().filter(|f| f.kind == FindingKind::Torn).collect();
    assert_eq!(torn.len(), 1, "{}", told(&report));
}

#[test]
fn a_process_that_dies_between_exchange_and_state_byte_leaves_a_clean_store() {
    let dir = in_memory();
    let path = dir.path().join("store");
    let store = options().create(true).open(&path).expect("a store");
    let id = store.put(&bytes(999, 1)).expect("a put");
    let stat = store.stat(&id).expect("a stat").expect("it is there");
    super::rig::patch(&segment_file(&path, stat.segment), stat.offset + 5, &[0x50]);
    check_clean(&path, &deep(), "a pending record that the index names");
    drop(store);
    let report = check(&path, &super::tried::repair());
    assert!(report.is_clean() && report.repair.is_none());
}

#[test]
fn a_store_that_was_collected_and_compacted_is_clean() {
    let dir = in_memory();
    let path = dir.path().join("store");
    let store = options().create(true).segment_bytes(256 << 10).open(&path).expect("a store");
    let values: Vec<Vec<u8>> = (0..600).map(|at| bytes(3000, at)).collect();
    let ids = store.put_many(&values).expect("puts");
    let refs = store.refs("names");
    for (at, id) in ids.iter().enumerate() {
        match at % 4 {
            0 => assert!(store.remove(id).expect("a removal")),
            1 => assert!(store.unpin(id).expect("an unpinning")),
            2 => assert!(refs.set(format!("{at}"), *id).is_ok()),
            _ => {}
        }
    }
    for round in ["once", "twice", "three times"] {
        store.compact(&CompactOptions::new().all(true)).expect("a compaction");
        check_clean(&path, &deep(), round);
        let report = check_clean(&path, &FsckOptions::new(), round);
        assert_eq!(report.keys, 300 + 450 + 150, "{round}: blobs, pins and refs");
    }
    drop(store);
    check_clean(&path, &deep().boot_id("next"), "after a reboot");
    drop(options().boot_id("next").open(&path).expect("a store"));
    check_clean(&path, &deep().boot_id("next"), "after a recovery");
}
