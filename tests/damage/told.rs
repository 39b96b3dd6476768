//! What a recovery had to leave out, and what cannot be read, is told by `stats`.

use super::rig::{KIB, bytes, in_memory, options, patch, segment_file};
use drystone::{Stats, Store};
use std::path::Path;

/// Damages a store with a named blob in a segment of its own; what is told in the same run, and after
/// a recovery.
fn told(damage: impl Fn(&Path, u64)) -> [Stats; 2] {
    let dir = in_memory();
    let path = dir.path().join("store");
    let new = options().create(true).segment_bytes(256 * KIB as u64);
    let store = new.open(&path).expect("a store");
    store.put(b"beside it").expect("a put");
    let id = store.put(&bytes(300 * KIB, 1)).expect("a put");
    // Its segment is full, so the name stands in another.
    store.put(&bytes(300 * KIB, 2)).expect("a put");
    store.refs("names").set("it", id).expect("a ref");
    assert!(store.unpin(&id).expect("an answer"));
    let at = store.stat(&id).expect("an answer").expect("it is there");
    drop(store);
    damage(&segment_file(&path, at.segment), at.offset);
    let stats = |store: &Store| store.stats().expect("an answer");
    let store = options().open(&path).expect("the same run");
    assert_eq!(store.recovery(), None, "the index was there");
    let before = stats(&store);
    drop(store);
    let store = options().boot_id("next").open(&path).expect("a recovery");
    let (after, recovery) = (stats(&store), store.recovery().expect("the index was built"));
    let lost_then = [recovery.lost_records, recovery.lost_refs, recovery.damaged_segments];
    assert_eq!(lost_then, lost(&after));
    assert_eq!(recovery.is_whole(), lost(&after) == [0; 3]);
    let read_only = options().boot_id("third").read_only(true).open(&path).expect("in memory");
    assert!(read_only.recovery().is_some(), "its index is its own");
    [before, after]
}

fn lost(stats: &Stats) -> [u64; 3] {
    [stats.lost_records, stats.lost_refs, stats.damaged_segments]
}

#[test]
fn a_store_in_order_has_lost_nothing() {
    for stats in told(|_, _| {}) {
        assert_eq!((lost(&stats), stats.damaged_records), ([0; 3], 0));
        assert_eq!((stats.blobs, stats.refs), (3, 1));
    }
}

#[test]
fn a_damaged_head_is_counted() {
    let [_, after] = told(|segment, _| patch(segment, 9, &[0xEE]));
    assert_eq!(lost(&after), [0, 0, 1]);
    assert_eq!(after.blobs, 3);
}

#[test]
fn a_blob_that_is_not_whole_is_counted_with_the_name_that_it_had() {
    let [before, after] = told(|segment, offset| patch(segment, offset + 64 + 5000, &[1, 2, 3]));
    assert_eq!((lost(&before), before.damaged_records), ([0; 3], 0), "nobody has looked at it");
    assert_eq!(lost(&after), [1, 1, 0]);
    assert_eq!((after.blobs, after.refs), (2, 0));
}

#[test]
fn a_header_that_does_not_check_is_counted_by_who_looks() {
    let [before, after] = told(|segment, offset| patch(segment, offset + 20, &[0xEE]));
    assert_eq!((before.damaged_records, before.blobs), (1, 2));
    assert_eq!((after.damaged_records, after.lost_refs), (0, 1));
}

#[test]
fn a_name_is_counted_whose_segment_is_gone() {
    let [_, after] = told(|segment, _| std::fs::remove_file(segment).expect("a segment"));
    assert_eq!(lost(&after), [0, 1, 0]);
}
